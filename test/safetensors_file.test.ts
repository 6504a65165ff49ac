/** Safetensors files read and written in pieces, against the same files in memory. */
import { readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { crc32c } from '../src/core/crc32c.js';
import { ConfigError, FormatError } from '../src/core/errors.js';
import { writeContent } from '../src/io/atomic.js';
import { asFloat32, decodeSafetensors, encodeSafetensors } from '../src/io/safetensors.js';
import {
  SafetensorsFile,
  safetensorsContent,
  type TensorPiece,
  withSafetensors,
} from '../src/io/safetensors_file.js';
import { planHeader } from '../src/io/safetensors_header.js';
import { scratch } from './faults/common.js';
import { MALFORMED, raw, sample, small } from './safetensors_samples.js';

const folder = scratch('safetensors');
let files = 0;
/** The bytes as a file. */
function stored(bytes: Uint8Array): string {
  const path = join(folder, `${files++}.safetensors`);
  writeFileSync(path, bytes);
  return path;
}

/** Reads a file in pieces and returns the same as decodeSafetensors. */
const decodeFile = (path: string) =>
  withSafetensors(path, (file) => {
    file.verify();
    const tensors = [...file.tensors].map(([name, { dtype, shape }]) => {
      const pieces = [...file.pieces(name)].map((piece) => Uint8Array.from(piece));
      return [name, { dtype, shape, bytes: new Uint8Array(Buffer.concat(pieces)) }] as const;
    });
    return { tensors: new Map(tensors), metadata: file.metadata };
  });

describe('a file in pieces', () => {
  const metadata = { config: '{"depth": 12}', note: 'ü "x" \\' };

  it('is read as it is in memory', () => {
    const file = encodeSafetensors(sample, metadata);
    expect(decodeFile(stored(file))).toEqual(decodeSafetensors('x', file));
  });

  it.each<[string, (all: TensorPiece[]) => TensorPiece[]]>([
    ['in the order of the file', (all) => all],
    ['in another order', (all) => [...all].reverse()],
    [
      'byte by byte',
      (all) =>
        all.flatMap(({ name, bytes }) =>
          Array.from(bytes, (_, i) => ({ name, bytes: bytes.subarray(i, i + 1) })),
        ),
    ],
  ])('is written as it is in memory, tensors %s', async (_, order) => {
    const pieces = [...sample].map(([name, { bytes }]) => ({ name, bytes }));
    const content = safetensorsContent(sample, metadata, () => order(pieces));
    const expected = encodeSafetensors(sample, metadata);
    expect(content.bytes).toBe(expected.length);
    const path = stored(new Uint8Array(0));
    await writeContent(path, content);
    expect(new Uint8Array(readFileSync(path))).toEqual(expected);
  });

  it.each<[string, TensorPiece[]]>([
    ['w lacks 2 bytes.', [{ name: 'w', bytes: new Uint8Array(6) }]],
    ['w has more bytes than its shape.', [{ name: 'w', bytes: new Uint8Array(9) }]],
    ['v is not in the header.', [{ name: 'v', bytes: new Uint8Array(8) }]],
  ])('is not written where %s', async (sentence, pieces) => {
    const path = stored(Uint8Array.of(1));
    const content = safetensorsContent(new Map([['w', raw('F64', [1], [])]]), {}, () => pieces);
    await expect(writeContent(path, content)).rejects.toThrow(sentence);
    expect([...readFileSync(path)]).toEqual([1]);
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('may be larger than 4 GiB', () => {
    const shapes = { a: [2 ** 30 + 2], b: [3], c: [2 ** 31, 1], d: [2] };
    const tensors = new Map(
      Object.entries(shapes).map(([name, shape]) => [name, { dtype: 'F32' as const, shape }]),
    );
    const plan = planHeader(tensors, {});
    const [a, b] = [2 ** 32 + 8, 2 ** 32 + 20];
    expect(plan.placed.map(({ begin, end }) => [begin, end])).toEqual([
      [0, a],
      [a, b],
      [b, b + 2 ** 33],
      [b + 2 ** 33, b + 2 ** 33 + 8],
    ]);
    expect(plan.bytes).toBe(plan.start + 3 * 2 ** 32 + 28);
    // Twelve gigabytes of zeros, except for d, the last eight bytes.
    const values = Float32Array.of(1, -2);
    const header = plan.encode((name) => (name === 'd' ? crc32c(new Uint8Array(values.buffer)) : 0));
    const all = [
      { at: 0, bytes: header },
      { at: plan.bytes - 8, bytes: new Uint8Array(values.buffer) },
    ];
    const read = (into: Uint8Array, at: number) => {
      for (const part of all)
        for (let i = 0; i < into.length; i++) into[i] = part.bytes[at + i - part.at] ?? into[i] ?? 0;
    };
    const file = new SafetensorsFile('x', { bytes: plan.bytes, read });
    expect([...file.tensors.keys()]).toEqual(['a', 'b', 'c', 'd']);
    const pieces = [...file.pieces('d')];
    expect(pieces.map((bytes) => [...asFloat32({ dtype: 'F32', bytes })])).toEqual([[1, -2]]);
    expect(() => [...file.pieces('b')]).toThrow(
      /^x: tensor b is damaged: its checksum is \w{8}, not 00000000\.$/,
    );
  });

  it('that ends while it is read is refused, and so is what is no plain file', () => {
    const path = stored(encodeSafetensors(sample, metadata));
    const cut = () =>
      withSafetensors(path, (file) => {
        truncateSync(path, 700);
        file.verify();
      });
    expect(cut).toThrow(FormatError);
    expect(cut).toThrow(/: the file ended at byte 700\.$|is damaged|bytes follow|ends at byte/);
    for (const [odd, sentence] of [
      [folder, `${folder} is a folder, not a file.`],
      ['/dev/null', '/dev/null is a pipe or a device; save its output to a file first.'],
      [join(folder, 'none'), /none cannot be read \(ENOENT: no such file or directory\)\.$/],
    ] as const) {
      expect(() => decodeFile(odd)).toThrow(ConfigError);
      expect(() => decodeFile(odd)).toThrow(sentence);
    }
  });

  const sentenceOf = (read: () => unknown): string => {
    try {
      read();
    } catch (error) {
      if (error instanceof FormatError) return error.message;
      throw error;
    }
    throw new Error('It was not refused.');
  };

  it.each(MALFORMED)('is refused as in memory: %s', (_, bytes) => {
    const path = stored(bytes);
    expect(sentenceOf(() => decodeFile(path))).toBe(sentenceOf(() => decodeSafetensors(path, bytes)));
  });

  it('with any bit flipped is refused as in memory', () => {
    for (let bit = 0; bit < small.length * 8; bit++) {
      const damaged = small.slice();
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      const path = stored(damaged);
      expect(
        sentenceOf(() => decodeFile(path)),
        `bit ${bit}`,
      ).toBe(sentenceOf(() => decodeSafetensors(path, damaged)));
      rmSync(path);
    }
  });
});
