/**
 * The safetensors format (https://huggingface.co/docs/safetensors): a 64-bit little-endian header length, a JSON header
 * `{name: {dtype, shape, data_offsets: [begin, end]}, __metadata__: {key: text}}`, then the tensors' bytes with no gaps.
 * This file works on bytes in memory and opens no file; decoded tensors are views of those bytes. For files larger than
 * memory see safetensors_file.ts.
 *
 * Our files have two more metadata keys. `crc32c` is a JSON object from tensor name to the CRC32C of the tensor's bytes;
 * `crc32c_metadata` is the CRC32C of all other metadata. Both are eight hexadecimal digits, and are verified if present.
 */
import { crc32c } from '../core/crc32c.js';
import { FormatError, ShapeError } from '../core/errors.js';
import { fromHalfBits } from '../core/half.js';
import { formatShape } from '../core/shape.js';
import type { Fail } from './json.js';
import {
  type DType,
  ELEMENT_BYTES,
  planHeader,
  readHeader,
  type TensorInfo,
  verifyChecksums,
} from './safetensors_header.js';

export type { DType, TensorInfo };

/** `bytes` are row-major and little-endian, `numel(shape)` elements long. */
export interface TensorData extends TensorInfo {
  readonly bytes: Uint8Array;
}

/** The contents of a safetensors file: tensors by name, and texts by key. */
export interface Safetensors {
  readonly tensors: Map<string, TensorData>;
  readonly metadata: Record<string, string>;
}

/**
 * The bytes of a file: tensors in map order, data starting at a multiple of 8 bytes. Throws a ShapeError if a tensor's bytes
 * do not fit its shape.
 */
export function encodeSafetensors(
  tensors: Map<string, TensorData>,
  metadata: Record<string, string>,
): Uint8Array<ArrayBuffer> {
  const plan = planHeader(tensors, metadata);
  const dataOf = (name: string): Uint8Array => (tensors.get(name) as TensorData).bytes;
  for (const { name, dtype, shape, begin, end } of plan.placed)
    if (dataOf(name).length !== end - begin)
      throw new ShapeError(
        'safetensors',
        `${name} is ${dtype} ${formatShape(shape)}, ${end - begin} bytes, not ${dataOf(name).length}.`,
      );
  const file = new Uint8Array(plan.bytes);
  file.set(plan.encode((name) => crc32c(dataOf(name))));
  for (const { name, begin } of plan.placed) file.set(dataOf(name), plan.start + begin);
  return file;
}

/**
 * Decodes a whole file. Throws a FormatError that names `file` and the field or tensor that is wrong. It verifies that
 * shapes are non-negative integers, that the tensors cover the data without gap or overlap, and the checksums.
 */
export function decodeSafetensors(file: string, bytes: Uint8Array): Safetensors {
  const fail: Fail = (sentence) => {
    throw new FormatError(file, sentence);
  };
  const header = readHeader(bytes.length, (at, length) => bytes.subarray(at, at + length), fail);
  const data = bytes.subarray(header.start);
  verifyChecksums(header, ({ begin, end }) => crc32c(data.subarray(begin, end)), fail);
  const tensors = new Map<string, TensorData>();
  for (const { name, dtype, shape, begin, end } of header.placed)
    tensors.set(name, { dtype, shape, bytes: data.subarray(begin, end) });
  return { tensors, metadata: header.metadata };
}

/** A float32 tensor for a file; shares the memory of `values`. */
export const fromFloat32 = (shape: readonly number[], values: Float32Array): TensorData => ({
  dtype: 'F32',
  shape,
  bytes: bytesOf(values),
});

/** The same memory, as bytes. */
export const bytesOf = (values: Float32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/**
 * A floating-point tensor's values as float32. F32 is a view if its bytes are 4-byte aligned, else a copy; F16 and BF16
 * convert exactly, F64 rounds to nearest. Throws a ShapeError for any other dtype.
 */
export function asFloat32({ dtype, bytes }: Pick<TensorData, 'dtype' | 'bytes'>): Float32Array {
  // Not bytes.slice(): on a Node Buffer, which is also a Uint8Array, slice() does not copy.
  const aligned = bytes.byteOffset % ELEMENT_BYTES[dtype] === 0 ? bytes : new Uint8Array(bytes);
  const { buffer, byteOffset, length } = aligned;
  switch (dtype) {
    case 'F32':
      return new Float32Array(buffer, byteOffset, length / 4);
    case 'F64':
      return Float32Array.from(new Float64Array(buffer, byteOffset, length / 8));
    case 'F16':
      return Float32Array.from(new Uint16Array(buffer, byteOffset, length / 2), fromHalfBits);
    case 'BF16':
      return new Float32Array(
        Uint32Array.from(new Uint16Array(buffer, byteOffset, length / 2), (h) => h << 16).buffer,
      );
    default:
      throw new ShapeError('safetensors', `a tensor of dtype ${dtype} cannot be read as float32.`);
  }
}
