/**
 * The safetensors format (https://huggingface.co/docs/safetensors): a 64-bit little-endian header length, a JSON header
 * `{name: {dtype, shape, data_offsets: [begin, end]}, __metadata__: {key: text}}`, then the tensors' bytes with no gaps.
 * Bytes in, meaning out: no file is opened here, and tensors stay views of the bytes they came from. What is too large for
 * memory goes through safetensors_file.ts.
 *
 * Ours carry two metadata keys more. `crc32c` is a JSON object from tensor name to the CRC32C of its bytes, `crc32c_metadata`
 * is that of all other metadata; both as eight hexadecimal digits. Where they are present they are verified.
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

export interface Safetensors {
  readonly tensors: Map<string, TensorData>;
  readonly metadata: Record<string, string>;
}

/**
 * One file, tensors in map order, data starting at a multiple of 8 bytes.
 * Throws a ShapeError where a tensor's bytes do not fit its shape.
 */
export function encodeSafetensors(
  tensors: Map<string, TensorData>,
  metadata: Record<string, string>,
): Uint8Array {
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
 * Everything in the file, or a FormatError that names `file` and the field or tensor that is wrong. Whatever passes can be
 * trusted: shapes are non-negative integers, tensors lie inside the file and tile its data, checksums hold.
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

/** `values` as a tensor of the file, without a copy. */
export const fromFloat32 = (shape: readonly number[], values: Float32Array): TensorData => ({
  dtype: 'F32',
  shape,
  bytes: bytesOf(values),
});

/** The same memory, as bytes. */
export const bytesOf = (values: Float32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/**
 * A floating-point tensor's values. F32 is a view where the bytes are aligned to 4 and a copy where they are not;
 * F16 and BF16 convert exactly, F64 rounds to nearest. Any other dtype is a ShapeError.
 */
export function asFloat32({ dtype, bytes }: Pick<TensorData, 'dtype' | 'bytes'>): Float32Array {
  // Not slice(): that of Node's Buffer, a Uint8Array too, copies nothing.
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
