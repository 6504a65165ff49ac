/** Safetensors files for tests: one with every kind of tensor, and one for every kind of fault. */
import { type DType, encodeSafetensors, fromFloat32, type TensorData } from '../src/io/safetensors.js';

export const text = (bytes: string): Uint8Array => new TextEncoder().encode(bytes);

export const raw = (dtype: DType, shape: number[], bytes: number[]): TensorData => ({
  dtype,
  shape,
  bytes: Uint8Array.from(bytes),
});

export const sample = new Map<string, TensorData>([
  ['cls_token', fromFloat32([1, 1, 3], Float32Array.of(1, -2.5, 3e-8))],
  ['odd', raw('U8', [3], [7, 8, 9])],
  ['unaligned after odd', fromFloat32([2], Float32Array.of(4, 5))],
  ['scalar', raw('F64', [], [0, 0, 0, 0, 0, 0, 0xf0, 0x3f])],
  ['empty', raw('F32', [0, 5], [])],
  ['constructor', raw('I64', [1], [1, 0, 0, 0, 0, 0, 0, 0])],
  ['näme "quoted" \\', raw('BOOL', [1], [1])],
]);

/** A file with this header, `data` zero bytes, and the header's true length unless another is given. */
export function build(header: string | Uint8Array, data = 0, length?: bigint): Uint8Array {
  const bytes = typeof header === 'string' ? text(header) : header;
  const file = new Uint8Array(8 + bytes.length + data);
  new DataView(file.buffer).setBigUint64(0, length ?? BigInt(bytes.length), true);
  file.set(bytes, 8);
  return file;
}

/** One tensor named w with these fields, as JSON text. */
const entry = (dtype: string, shape: string, offsets: string): string =>
  `{"w":{"dtype":${dtype},"shape":${shape},"data_offsets":${offsets}}}`;
const two = (a: string, b: string): string =>
  `{"a":{"dtype":"U8","shape":[4],"data_offsets":${a}},"b":{"dtype":"U8","shape":[4],"data_offsets":${b}}}`;
const withChecksums = (checksums: string): string =>
  `{"__metadata__":{"crc32c":${JSON.stringify(checksums)}},"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`;

export const MALFORMED: [name: string, file: Uint8Array, sentence: string][] = [
  ['an empty file', new Uint8Array(0), 'at least 8 bytes, not 0'],
  ['seven bytes', new Uint8Array(7), 'at least 8 bytes, not 7'],
  ['header length 0', new Uint8Array(8), 'header length is 0'],
  ['header length past the end', build('{}', 0, 3n), 'header length is 3, but only 2 bytes'],
  ['header length over 8 MiB', build('{}', 0, 8_388_609n), 'more than the 8388608 bytes'],
  ['header length over 2^63', build('{}', 0, 0xffff_ffff_ffff_ffffn), 'more than the 8388608 bytes'],
  ['not UTF-8', build(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x7d)), 'not UTF-8'],
  ['a byte order mark', build('\ufeff{}'), 'not JSON'],
  ['not JSON', build('{"w":'), 'not JSON'],
  ['text after the object', build('{} x'), 'not JSON'],
  ['NaN in the header', build(entry('"U8"', '[NaN]', '[0,0]')), 'not JSON'],
  ['an array', build('[]'), 'not a JSON object'],
  ['null', build('null'), 'not a JSON object'],
  ['deep nesting', build('['.repeat(100_000)), 'not JSON'],
  ['a tensor twice', build('{"w":{},"w":{}}'), 'key w appears twice'],
  ['a tensor twice, once escaped', build('{"w":{},"\\u0077":{}}'), 'key w appears twice'],
  [
    'dtype twice',
    build('{"w":{"dtype":"U8","dtype":"F32","shape":[],"data_offsets":[0,4]}}', 4),
    'key dtype appears twice',
  ],
  ['a metadata key twice', build('{"__metadata__":{"a":"1", "a" :"2"}}'), 'key a appears twice'],
  [
    '__proto__ as a tensor',
    build('{"__proto__":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'),
    '__proto__',
  ],
  ['__proto__ in the metadata', build('{"__metadata__":{"__proto__":"x"}}'), '__proto__'],
  ['metadata that are text', build('{"__metadata__":"x"}'), '__metadata__ is not a JSON object'],
  ['a number in the metadata', build('{"__metadata__":{"depth":12}}'), '__metadata__.depth is not a string'],
  ['null in the metadata', build('{"__metadata__":{"depth":null}}'), '__metadata__.depth is not a string'],
  ['an entry that is a number', build('{"w":1}'), 'entry of tensor w'],
  ['an entry that is an array', build('{"w":[]}'), 'entry of tensor w'],
  ['no dtype', build('{"w":{"shape":[0],"data_offsets":[0,0]}}'), 'tensor w has dtype undefined'],
  ['an unknown dtype', build(entry('"F31"', '[1]', '[0,4]'), 4), 'tensor w has dtype "F31"'],
  ['a lower-case dtype', build(entry('"f32"', '[1]', '[0,4]'), 4), 'tensor w has dtype "f32"'],
  [
    'an inherited name as dtype',
    build(entry('"toString"', '[1]', '[0,4]'), 4),
    'tensor w has dtype "toString"',
  ],
  ['no shape', build('{"w":{"dtype":"U8","data_offsets":[0,0]}}'), 'tensor w has shape undefined'],
  ['a shape that is a number', build(entry('"U8"', '4', '[0,4]'), 4), 'tensor w has shape 4'],
  ['a negative size', build(entry('"U8"', '[-1,-4]', '[0,4]'), 4), 'tensor w has shape [-1,-4]'],
  ['a fractional size', build(entry('"U8"', '[1.5]', '[0,4]'), 4), 'tensor w has shape [1.5]'],
  [
    'a size past 2^53',
    build(entry('"U8"', '[9007199254740993]', '[0,4]'), 4),
    'tensor w has shape [9007199254740992]',
  ],
  ['a size that is text', build(entry('"U8"', '["4"]', '[0,4]'), 4), 'tensor w has shape ["4"]'],
  ['a product past 2^64', build(entry('"U8"', '[4294967296,4294967296,4]', '[0,4]'), 4), 'tensor w is U8'],
  ['no offsets', build('{"w":{"dtype":"U8","shape":[0]}}'), 'tensor w has data_offsets undefined'],
  ['one offset', build(entry('"U8"', '[4]', '[0]'), 4), 'tensor w has data_offsets [0]'],
  ['three offsets', build(entry('"U8"', '[4]', '[0,4,4]'), 4), 'tensor w has data_offsets [0,4,4]'],
  ['a negative offset', build(entry('"U8"', '[4]', '[-4,0]'), 4), 'tensor w has data_offsets [-4,0]'],
  ['a fractional offset', build(entry('"U8"', '[4]', '[0.5,4.5]'), 4), 'tensor w has data_offsets [0.5,4.5]'],
  [
    'an offset past 2^53',
    build(entry('"U8"', '[4]', '[0,9007199254740993]'), 4),
    'tensor w has data_offsets',
  ],
  ['end before begin', build(entry('"U8"', '[4]', '[4,0]'), 4), 'tensor w ends at byte 0, before'],
  ['end past the data', build(entry('"U8"', '[5]', '[0,5]'), 4), 'tensor w ends at byte 5 of 4'],
  ['shape larger than the data', build(entry('"F32"', '[2]', '[0,4]'), 4), 'tensor w is F32 (2,), 8 bytes'],
  ['shape smaller than the data', build(entry('"U8"', '[3]', '[0,4]'), 4), 'tensor w is U8 (3,), 3 bytes'],
  ['an overlap', build(two('[0,4]', '[2,6]'), 6), 'tensor b overlap'],
  ['two tensors in one place', build(two('[0,4]', '[0,4]'), 4), 'tensor b overlap'],
  ['a hole', build(two('[6,10]', '[0,4]'), 10), 'hole of 2 bytes before the data of tensor a'],
  [
    'a hole at the start',
    build(entry('"U8"', '[4]', '[4,8]'), 8),
    'hole of 4 bytes before the data of tensor w',
  ],
  ['bytes after the last tensor', build(entry('"U8"', '[4]', '[0,4]'), 5), '1 bytes follow'],
  ['bytes and no tensors', build('{}', 1), '1 bytes follow'],
  ['checksums that are no JSON', build(withChecksums('x'), 4), '__metadata__.crc32c is not a JSON object'],
  ['checksums that are a list', build(withChecksums('[]'), 4), '__metadata__.crc32c is not a JSON object'],
  [
    'a checksum of no tensor',
    build(withChecksums('{"v":"00000000"}'), 4),
    '__metadata__.crc32c names tensor v',
  ],
  ['a tensor without a checksum', build(withChecksums('{}'), 4), '__metadata__.crc32c lacks tensor w'],
  ['checksums without one of theirs', build(withChecksums('{"w":"48674bc7"}'), 4), 'lacks crc32c_metadata'],
  ['a name that would end the line', build('{"a\\nb":1}'), 'entry of tensor a\\u000ab is'],
  ['a name that would steer a terminal', build('{"\\u001b[2J":1}'), 'entry of tensor \\u001b[2J is'],
  ['a name of a million letters', build(`{"${'x'.repeat(1e6)}":1}`), 'xxx ... xxx'],
  ['millions of arrays', build(`{"w":[${'[],'.repeat(2_000_000)}1]}`), 'entry of tensor w'],
  ['a wrong checksum', build(withChecksums('{"w":"00000000"}'), 4), 'tensor w is damaged'],
];

export const small = encodeSafetensors(
  new Map([
    ['norm.weight', fromFloat32([6], new Float32Array(6).fill(1))],
    ['norm.bias', fromFloat32([6], new Float32Array(6).fill(0.5))],
  ]),
  { config: '{"depth":1}' },
);
