/**
 * The safetensors format (https://huggingface.co/docs/safetensors): a 64-bit little-endian header length, a JSON header
 * `{name: {dtype, shape, data_offsets: [begin, end]}, __metadata__: {key: text}}`, then the tensors' bytes with no gaps.
 * Bytes in, meaning out: no file is opened here, and tensors stay views of the bytes they came from.
 *
 * Ours carry two metadata keys more. `crc32c` is a JSON object from tensor name to the CRC32C of its bytes, `crc32c_metadata`
 * is that of all other metadata; both as eight hexadecimal digits. Where they are present they are verified.
 */
import { crc32c } from '../core/crc32c.js';
import { FormatError, ShapeError } from '../core/errors.js';
import { fromHalfBits } from '../core/half.js';
import { formatShape, numel } from '../core/shape.js';
import { type Fail, isObject, parseJson } from './json.js';

/** Bytes of one element. */
// biome-ignore format: one row a size
const ELEMENT_BYTES = {
  BOOL: 1, U8: 1, I8: 1, F8_E4M3: 1, F8_E5M2: 1,
  U16: 2, I16: 2, F16: 2, BF16: 2,
  U32: 4, I32: 4, F32: 4,
  U64: 8, I64: 8, F64: 8,
} as const;

export type DType = keyof typeof ELEMENT_BYTES;

/** `bytes` are row-major and little-endian, `numel(shape)` elements long. */
export interface TensorData {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

export interface Safetensors {
  readonly tensors: Map<string, TensorData>;
  readonly metadata: Record<string, string>;
}

/**
 * Room for 65,536 tensors. The reference implementation allows 100 MB; but JSON made for the purpose takes twenty times
 * its own length when it is parsed.
 */
const LARGEST_HEADER = 8 << 20;
const METADATA = '__metadata__';

const hex = (crc: number): string => crc.toString(16).padStart(8, '0');

/** Independent of key order, which other tools do not keep. */
const metadataChecksum = (metadata: Record<string, string>): string =>
  hex(
    crc32c(
      new TextEncoder().encode(JSON.stringify(Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1)))),
    ),
  );

/**
 * One file, tensors in map order, data starting at a multiple of 8 bytes.
 * Throws a ShapeError where a tensor's bytes do not fit its shape.
 */
export function encodeSafetensors(
  tensors: Map<string, TensorData>,
  metadata: Record<string, string>,
): Uint8Array {
  if (Object.hasOwn(metadata, '__proto__'))
    throw new ShapeError('safetensors', 'a field of the metadata cannot be named __proto__.');
  const entries: [string, unknown][] = [];
  const checksums: [string, string][] = [];
  let end = 0;
  for (const [name, { dtype, shape, bytes }] of tensors) {
    if (name === METADATA || name === '__proto__')
      throw new ShapeError('safetensors', `a tensor cannot be named ${name}.`);
    const expected = numel(shape) * ELEMENT_BYTES[dtype];
    if (bytes.length !== expected)
      throw new ShapeError(
        'safetensors',
        `${name} is ${dtype} ${formatShape(shape)}, ${expected} bytes, not ${bytes.length}.`,
      );
    entries.push([name, { dtype, shape, data_offsets: [end, end + bytes.length] }]);
    checksums.push([name, hex(crc32c(bytes))]);
    end += bytes.length;
  }
  const protectedMetadata = { ...metadata, crc32c: JSON.stringify(Object.fromEntries(checksums)) };
  const allMetadata = { ...protectedMetadata, crc32c_metadata: metadataChecksum(protectedMetadata) };
  const header = new TextEncoder().encode(
    JSON.stringify(Object.fromEntries([[METADATA, allMetadata], ...entries])),
  );
  const start = Math.ceil((8 + header.length) / 8) * 8;
  const file = new Uint8Array(start + end);
  new DataView(file.buffer).setBigUint64(0, BigInt(start - 8), true);
  file.set(header, 8);
  file.fill(0x20, 8 + header.length, start);
  let at = start;
  for (const { bytes } of tensors.values()) {
    file.set(bytes, at);
    at += bytes.length;
  }
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
  const header = parseHeader(bytes, fail);
  const metadata = readMetadata(header.entries, fail);
  const data = bytes.subarray(header.end);
  const placed = Object.entries(header.entries)
    .filter(([name]) => name !== METADATA)
    .map(([name, entry]) => readEntry(name, entry, data.length, fail));

  let end = 0;
  for (const { name, begin, end: next } of [...placed].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (begin < end) fail(`the data of tensor ${name} overlap those of another tensor at byte ${begin}.`);
    if (begin > end) fail(`there is a hole of ${begin - end} bytes before the data of tensor ${name}.`);
    end = next;
  }
  if (end !== data.length)
    fail(`${data.length - end} bytes follow the data of the last tensor in the header.`);

  const tensors = new Map<string, TensorData>();
  for (const { name, dtype, shape, begin, end } of placed)
    tensors.set(name, { dtype, shape, bytes: data.subarray(begin, end) });
  verifyChecksums(tensors, metadata, fail);
  return { tensors, metadata };
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function parseHeader(bytes: Uint8Array, fail: Fail): { entries: Record<string, unknown>; end: number } {
  if (bytes.length < 8) fail(`a safetensors file has at least 8 bytes, not ${bytes.length}.`);
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (length === 0) fail('the header length is 0.');
  if (length > LARGEST_HEADER)
    fail(`the header length is ${length}, more than the ${LARGEST_HEADER} bytes that are allowed.`);
  if (length > bytes.length - 8)
    fail(`the header length is ${length}, but only ${bytes.length - 8} bytes follow it.`);
  const entries = parseJson(bytes.subarray(8, 8 + length), 'the header', fail);
  if (!isObject(entries)) fail('the header is not a JSON object.');
  return { entries, end: 8 + length };
}

function readMetadata(entries: Record<string, unknown>, fail: Fail): Record<string, string> {
  const metadata = METADATA in entries ? entries[METADATA] : {};
  if (!isObject(metadata)) fail(`${METADATA} is not a JSON object.`);
  for (const [key, value] of Object.entries(metadata))
    if (typeof value !== 'string') fail(`${METADATA}.${key} is not a string.`);
  return metadata as Record<string, string>;
}

interface Placed extends Omit<TensorData, 'bytes'> {
  readonly name: string;
  readonly begin: number;
  readonly end: number;
}

function readEntry(name: string, entry: unknown, dataBytes: number, fail: Fail): Placed {
  if (!isObject(entry)) fail(`the header entry of tensor ${name} is not a JSON object.`);
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== 'string' || !Object.hasOwn(ELEMENT_BYTES, dtype))
    fail(
      `tensor ${name} has dtype ${JSON.stringify(dtype)}, not one of ${Object.keys(ELEMENT_BYTES).join(', ')}.`,
    );
  if (!Array.isArray(shape) || !shape.every(isSize))
    fail(`tensor ${name} has shape ${JSON.stringify(shape)}, not an array of non-negative integers.`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize))
    fail(`tensor ${name} has data_offsets ${JSON.stringify(offsets)}, not two non-negative integers.`);
  const [begin, end] = offsets as [number, number];
  if (end < begin) fail(`tensor ${name} ends at byte ${end}, before it begins at byte ${begin}.`);
  if (end > dataBytes) fail(`tensor ${name} ends at byte ${end} of ${dataBytes} bytes of data.`);
  // A product that is not exact is past any file's length, so inexact arithmetic cannot make it equal.
  const expected = numel(shape) * ELEMENT_BYTES[dtype as DType];
  if (expected !== end - begin)
    fail(
      `tensor ${name} is ${dtype} ${formatShape(shape)}, ${expected} bytes, but its data_offsets span ${end - begin}.`,
    );
  return { name, dtype: dtype as DType, shape, begin, end };
}

function verifyChecksums(
  tensors: Map<string, TensorData>,
  metadata: Record<string, string>,
  fail: Fail,
): void {
  const { crc32c_metadata: ofMetadata, ...rest } = metadata;
  if (ofMetadata !== undefined && metadataChecksum(rest) !== ofMetadata)
    fail(`${METADATA} is damaged: its checksum is ${metadataChecksum(rest)}, not ${ofMetadata}.`);
  if (metadata.crc32c === undefined) return;
  let checksums: unknown;
  try {
    checksums = JSON.parse(metadata.crc32c);
  } catch {
    // Not an object, which the next line says.
  }
  if (!isObject(checksums)) fail(`${METADATA}.crc32c is not a JSON object.`);
  for (const name of Object.keys(checksums))
    if (!tensors.has(name)) fail(`${METADATA}.crc32c names tensor ${name}, which is not in the file.`);
  for (const [name, { bytes }] of tensors) {
    const expected = Object.hasOwn(checksums, name) ? checksums[name] : undefined;
    if (expected === undefined) fail(`${METADATA}.crc32c lacks tensor ${name}.`);
    const actual = hex(crc32c(bytes));
    if (actual !== expected) fail(`tensor ${name} is damaged: its checksum is ${actual}, not ${expected}.`);
  }
  // Its name damaged by a bit, it would pass for one that never was.
  if (ofMetadata === undefined) fail(`${METADATA} lacks crc32c_metadata, the checksum of what else it says.`);
}

/** `values` as a tensor of the file, without a copy. */
export const fromFloat32 = (shape: readonly number[], values: Float32Array): TensorData => ({
  dtype: 'F32',
  shape,
  bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
});

/**
 * A floating-point tensor's values. F32 is a view where the bytes are aligned to 4 and a copy where they are not;
 * F16 and BF16 convert exactly, F64 rounds to nearest. Any other dtype is a ShapeError.
 */
export function asFloat32({ dtype, bytes }: TensorData): Float32Array {
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
