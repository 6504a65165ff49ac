// Alone: reading must end within ten seconds.
import { createHash } from 'node:crypto';
import { expect, it } from 'vitest';
import { crc32c } from '../src/core/crc32c.js';
import { FormatError, ShapeError } from '../src/core/errors.js';
import {
  asFloat32,
  decodeSafetensors,
  encodeSafetensors,
  fromFloat32,
  type TensorData,
} from '../src/io/safetensors.js';
import { record } from './faults/common.js';
import { build, MALFORMED, raw, sample, small, text } from './safetensors_samples.js';

it.each([
  ['', 0, 0x00000000],
  ['123456789', 0, 0xe3069283],
  ['a', 0, 0xc1d04330],
  ['\0'.repeat(32), 0, 0x8a9136aa],
  ['The quick brown fox jumps over the lazy dog', 0, 0x22620404],
  ['6789', crc32c(text('12345')), 0xe3069283],
])('crc32c of %j after %i', (bytes, before, expected) => {
  expect(crc32c(text(bytes), before)).toBe(expected);
});

it('crc32c of RFC 3720 B.4: 32 bytes of ones, rising, falling', () => {
  expect(crc32c(new Uint8Array(32).fill(255))).toBe(0x62a8ab43);
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => 31 - i))).toBe(0x113fdb5c);
});

it('what is written is read: names, order of data, dtypes, shapes, bytes, metadata', () => {
  const file = encodeSafetensors(sample, { config: '{"depth": 12}', note: 'ü "x" \\' });
  const { tensors, metadata } = decodeSafetensors('x.safetensors', file);
  expect([...tensors]).toEqual([...sample]);
  expect(metadata).toMatchObject({ config: '{"depth": 12}', note: 'ü "x" \\' });
  expect(JSON.parse(metadata.crc32c!).odd).toBe(
    crc32c(sample.get('odd')!.bytes).toString(16).padStart(8, '0'),
  );
  expect(tensors.get('odd')!.bytes.buffer).toBe(file.buffer);
  const headerBytes = new DataView(file.buffer).getUint32(0, true);
  expect((8 + headerBytes) % 8).toBe(0);
  expect(encodeSafetensors(tensors, { config: '{"depth": 12}', note: 'ü "x" \\' })).toEqual(file);
  // A checksum of the bytes that version 0.1.0 wrote: files must not change between versions.
  expect(createHash('sha256').update(file).digest('hex')).toBe(
    'a828756bce2a1a1d1c9efaf2645fa53f5242924ddca6d1fe7bcf11354437c587',
  );
});

it('no tensors, no metadata, and 65,536 tensors are files too', () => {
  expect(decodeSafetensors('x', encodeSafetensors(new Map(), {})).tensors.size).toBe(0);
  expect(decodeSafetensors('x', build('{}')).metadata).toEqual({});
  const many = new Map(Array.from({ length: 65_536 }, (_, i) => [`t.${i}`, raw('U8', [1], [i & 255])]));
  const before = process.cpuUsage(); // the machine may have other work
  expect(decodeSafetensors('x', encodeSafetensors(many, {})).tensors.get('t.65535')!.bytes).toEqual(
    Uint8Array.of(255),
  );
  expect(process.cpuUsage(before).user / 1000).toBeLessThan(5000);
});

it.each<[string, TensorData, number[]]>([
  [
    'F16',
    raw('F16', [6], [0, 0x3c, 0, 0xc0, 1, 0, 0xff, 0x7b, 0, 0x7c, 0, 0x80]),
    [1, -2, 2 ** -24, 65504, Infinity, -0],
  ],
  ['F16 NaN', raw('F16', [1], [1, 0x7e]), [NaN]],
  ['BF16', raw('BF16', [3], [0x80, 0x3f, 0x20, 0xc1, 0x80, 0xff]), [1, -10, -Infinity]],
  ['F64', raw('F64', [1], [...new Uint8Array(Float64Array.of(0.1).buffer)]), [Math.fround(0.1)]],
  ['F32', fromFloat32([2], Float32Array.of(0.5, -3)), [0.5, -3]],
])('%s becomes float32', (_, tensor, expected) => {
  expect([...asFloat32(tensor)]).toEqual(expected);
});

it('aligned F32 is a view, unaligned F32 a copy, integers are refused', () => {
  const bytes = new Uint8Array(new ArrayBuffer(12)).fill(1);
  const aligned: TensorData = { dtype: 'F32', shape: [2], bytes: bytes.subarray(4) };
  expect(asFloat32(aligned).buffer).toBe(bytes.buffer);
  expect(asFloat32({ ...aligned, bytes: bytes.subarray(3, 11) })).toEqual(asFloat32(aligned));
  // slice() of a Buffer, unlike that of an array, is a view of the same misaligned bytes.
  const file = Buffer.from(bytes.buffer, 3, 8);
  expect(asFloat32({ ...aligned, bytes: file })).toEqual(asFloat32(aligned));
  expect(() => asFloat32(raw('I64', [0], []))).toThrow(ShapeError);
});

it.each<[string, Map<string, TensorData>]>([
  ['not 7', new Map([['w', raw('F32', [2], [1, 2, 3, 4, 5, 6, 7])]])],
  ['named __metadata__', new Map([['__metadata__', raw('U8', [0], [])]])],
])('a tensor that cannot be written is refused: %s', (sentence, tensors) => {
  expect(() => encodeSafetensors(tensors, {})).toThrow(ShapeError);
  expect(() => encodeSafetensors(tensors, {})).toThrow(sentence);
});

it.each(MALFORMED)('refuses %s', (_, bytes, sentence) => {
  const decode = () => decodeSafetensors('model.safetensors', bytes);
  const began = performance.now();
  expect(decode).toThrow(FormatError);
  expect(decode).toThrow(/^model\.safetensors: [^\p{C}]{10,1100}\.$/u);
  expect(decode).toThrow(sentence);
  expect(performance.now() - began).toBeLessThan(10_000); // for three runs of `decode` on a busy machine
});

it('counts what it refuses', () => {
  expect(MALFORMED.length).toBeGreaterThan(50);
  record({
    section: 'Files from outside',
    provoked: 'Malformed safetensors files, each of another kind',
    times: MALFORMED.length,
    held: 'refused in one sentence that names the file and the field',
  });
});

it('refuses every prefix', () => {
  for (let n = 0; n < small.length; n++)
    expect(() => decodeSafetensors('x', small.subarray(0, n)), `the first ${n} bytes`).toThrow(FormatError);
});

it('finds every flipped bit', () => {
  for (let bit = 0; bit < small.length * 8; bit++) {
    const damaged = small.slice();
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    expect(() => decodeSafetensors('x', damaged), `bit ${bit}`).toThrow(FormatError);
  }
});

it('a flipped bit in the data names the tensor', () => {
  const damaged = small.slice();
  damaged[small.length - 1]! ^= 1;
  expect(() => decodeSafetensors('x', damaged)).toThrow('tensor norm.bias is damaged');
});
