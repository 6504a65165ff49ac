/**
 * The header of a safetensors file: checks for reading, and the layout of a new file. It does not matter here if the
 * tensors' bytes are in memory or in a file.
 */
import { crc32c } from '../core/crc32c.js';
import { ShapeError } from '../core/errors.js';
import { formatShape, numel } from '../core/shape.js';
import { type Fail, isObject, parseJson } from './json.js';

/** Bytes of one element. */
// biome-ignore format: one row a size
export const ELEMENT_BYTES = {
  BOOL: 1, U8: 1, I8: 1, F8_E4M3: 1, F8_E5M2: 1,
  U16: 2, I16: 2, F16: 2, BF16: 2,
  U32: 4, I32: 4, F32: 4,
  U64: 8, I64: 8, F64: 8,
} as const;

export type DType = keyof typeof ELEMENT_BYTES;

/** The dtype and shape of a tensor in a file. */
export interface TensorInfo {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** A tensor and its place, in bytes from the start of the data. */
export interface PlacedTensor extends TensorInfo {
  readonly name: string;
  readonly begin: number;
  readonly end: number;
}

export interface Header {
  readonly metadata: Record<string, string>;
  /** In the header's order. */
  readonly placed: readonly PlacedTensor[];
  /** Offset of the data in the file, in bytes. */
  readonly start: number;
}

/**
 * Enough for 65,536 tensors. The reference implementation allows 100 MB, but malicious JSON takes twenty times its length
 * in memory when it is parsed.
 */
const LARGEST_HEADER = 8 << 20;
const METADATA = '__metadata__';

const hex = (crc: number): string => crc.toString(16).padStart(8, '0');

/** Does not depend on the order of keys, because other tools change it. */
const metadataChecksum = (metadata: Record<string, string>): string =>
  hex(
    crc32c(
      new TextEncoder().encode(JSON.stringify(Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1)))),
    ),
  );

/** The layout of a new file. The header's length does not depend on the checksums, so the data can be written first. */
export interface HeaderPlan {
  /** Offset of the data in the file, in bytes; a multiple of 8. */
  readonly start: number;
  /** Size of the file in bytes. */
  readonly bytes: number;
  readonly placed: readonly PlacedTensor[];
  /** All bytes before the data, given the checksum of each tensor's bytes. */
  readonly encode: (checksumOf: (name: string) => number) => Uint8Array;
}

/** The layout of a file with `tensors` in map order. Throws a ShapeError if a name cannot be written. */
export function planHeader(
  tensors: ReadonlyMap<string, TensorInfo>,
  metadata: Record<string, string>,
): HeaderPlan {
  if (Object.hasOwn(metadata, '__proto__'))
    throw new ShapeError('safetensors', 'a field of the metadata cannot be named __proto__.');
  const placed: PlacedTensor[] = [];
  let end = 0;
  for (const [name, { dtype, shape }] of tensors) {
    if (name === METADATA || name === '__proto__')
      throw new ShapeError('safetensors', `a tensor cannot be named ${name}.`);
    const begin = end;
    end += numel(shape) * ELEMENT_BYTES[dtype];
    placed.push({ name, dtype, shape, begin, end });
  }
  const entries = placed.map(({ name, dtype, shape, begin, end: to }) => [
    name,
    { dtype, shape, data_offsets: [begin, to] },
  ]);
  const json = (checksumOf: (name: string) => number): Uint8Array => {
    const checksums = Object.fromEntries(placed.map(({ name }) => [name, hex(checksumOf(name))]));
    const protectedMetadata = { ...metadata, crc32c: JSON.stringify(checksums) };
    const all = { ...protectedMetadata, crc32c_metadata: metadataChecksum(protectedMetadata) };
    return new TextEncoder().encode(JSON.stringify(Object.fromEntries([[METADATA, all], ...entries])));
  };
  const start = Math.ceil((8 + json(() => 0).length) / 8) * 8;
  const encode = (checksumOf: (name: string) => number): Uint8Array => {
    const bytes = new Uint8Array(start).fill(0x20);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(start - 8), true);
    bytes.set(json(checksumOf), 8);
    return bytes;
  };
  return { start, bytes: start + end, placed, encode };
}

/**
 * Reads the header of a file of `size` bytes. Verifies that shapes are non-negative integers and that the tensors cover the
 * data without gap or overlap. `read` returns the bytes of a range.
 */
export function readHeader(
  size: number,
  read: (at: number, length: number) => Uint8Array,
  fail: Fail,
): Header {
  if (size < 8) fail(`a safetensors file has at least 8 bytes, not ${size}.`);
  const prefix = read(0, 8);
  const length = Number(new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true));
  if (length === 0) fail('the header length is 0.');
  if (length > LARGEST_HEADER)
    fail(`the header length is ${length}, more than the ${LARGEST_HEADER} bytes that are allowed.`);
  if (length > size - 8) fail(`the header length is ${length}, but only ${size - 8} bytes follow it.`);
  const entries = parseJson(read(8, length), 'the header', fail);
  if (!isObject(entries)) fail('the header is not a JSON object.');
  const metadata = readMetadata(entries, fail);
  const start = 8 + length;
  const placed = Object.entries(entries)
    .filter(([name]) => name !== METADATA)
    .map(([name, entry]) => readEntry(name, entry, size - start, fail));
  checkTiling(placed, size - start, fail);
  return { metadata, placed, start };
}

function readMetadata(entries: Record<string, unknown>, fail: Fail): Record<string, string> {
  const metadata = METADATA in entries ? entries[METADATA] : {};
  if (!isObject(metadata)) fail(`${METADATA} is not a JSON object.`);
  for (const [key, value] of Object.entries(metadata))
    if (typeof value !== 'string') fail(`${METADATA}.${key} is not a string.`);
  return metadata as Record<string, string>;
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function readEntry(name: string, entry: unknown, dataBytes: number, fail: Fail): PlacedTensor {
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
  // A product beyond 2^53, which float64 rounds, exceeds any file's length, so rounding cannot make the sizes equal.
  const expected = numel(shape) * ELEMENT_BYTES[dtype as DType];
  if (expected !== end - begin)
    fail(
      `tensor ${name} is ${dtype} ${formatShape(shape)}, ${expected} bytes, but its data_offsets span ${end - begin}.`,
    );
  return { name, dtype: dtype as DType, shape, begin, end };
}

function checkTiling(placed: readonly PlacedTensor[], dataBytes: number, fail: Fail): void {
  let end = 0;
  for (const { name, begin, end: next } of [...placed].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (begin < end) fail(`the data of tensor ${name} overlap those of another tensor at byte ${begin}.`);
    if (begin > end) fail(`there is a hole of ${begin - end} bytes before the data of tensor ${name}.`);
    end = next;
  }
  if (end !== dataBytes) fail(`${dataBytes - end} bytes follow the data of the last tensor in the header.`);
}

/** Verifies the checksums of the metadata and of each tensor, if the file has them. */
export function verifyChecksums(
  { metadata, placed }: Header,
  checksumOf: (tensor: PlacedTensor) => number,
  fail: Fail,
): void {
  const { crc32c_metadata: ofMetadata, ...rest } = metadata;
  if (ofMetadata !== undefined && metadataChecksum(rest) !== ofMetadata)
    fail(`${METADATA} is damaged: its checksum is ${metadataChecksum(rest)}, not ${ofMetadata}.`);
  const checksums = checksumsIn(metadata, fail);
  if (!checksums) return;
  const names = new Set(placed.map(({ name }) => name));
  for (const name of Object.keys(checksums))
    if (!names.has(name)) fail(`${METADATA}.crc32c names tensor ${name}, which is not in the file.`);
  for (const tensor of placed) checkTensor(tensor.name, checksumOf(tensor), checksums, fail);
  // If a flipped bit changed the key's name, the checksum would seem to be absent.
  if (ofMetadata === undefined)
    fail(`${METADATA} lacks crc32c_metadata, the checksum of the other metadata.`);
}

type Checksums = Readonly<Record<string, unknown>>;

/** The checksums; null if the file has none, because another program wrote it. */
export function checksumsIn(metadata: Record<string, string>, fail: Fail): Checksums | null {
  if (metadata.crc32c === undefined) return null;
  let checksums: unknown;
  try {
    checksums = JSON.parse(metadata.crc32c);
  } catch {
    // It is not an object; the next line reports that.
  }
  if (!isObject(checksums)) fail(`${METADATA}.crc32c is not a JSON object.`);
  return checksums;
}

export function checkTensor(name: string, crc: number, checksums: Checksums, fail: Fail): void {
  const expected = Object.hasOwn(checksums, name) ? checksums[name] : undefined;
  if (expected === undefined) fail(`${METADATA}.crc32c lacks tensor ${name}.`);
  const actual = hex(crc);
  if (actual !== expected) fail(`tensor ${name} is damaged: its checksum is ${actual}, not ${expected}.`);
}
