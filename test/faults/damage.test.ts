import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FormatError } from '../../src/core/errors.js';
import { Counter } from '../../src/core/rng.js';
import { unpackTarGz } from '../../src/io/archive.js';
import {
  type DType,
  decodeSafetensors,
  encodeSafetensors,
  type TensorData,
} from '../../src/io/safetensors.js';
import { readTar } from '../../src/io/tar.js';
import { archiveOf, tarOf } from './archives.js';
import { LONG, record, scratch, times } from './common.js';
import { sampleState } from './sample.js';

const section = 'Files from outside';
const folder = scratch('damage');
const random = new Counter(3, 1);
const randomBytes = (length: number): Uint8Array => Uint8Array.from({ length }, () => random.below(256));

it(
  'a flipped bit of a state file is found, and its tensor or its place in the header named',
  () => {
    const state = sampleState(1, 20_000);
    const start = 8 + Number(new DataView(state.buffer).getBigUint64(0, true));
    const { tensors } = decodeSafetensors('x', state);
    const owner = (at: number): string | undefined =>
      [...tensors].find(
        ([, { bytes }]) => at >= bytes.byteOffset && at < bytes.byteOffset + bytes.length,
      )?.[0];
    const count = times(300, 10_000);
    for (let i = 0; i < count; i++) {
      // A tenth of the flips are in the header, although it is a smaller part of the file.
      const bit = i % 10 === 0 ? random.below(start * 8) : random.below(state.length * 8);
      const damaged = state.slice();
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      const decode = () => decodeSafetensors('x', damaged);
      const name =
        bit >> 3 < start ? /header|__metadata__|tensor \S/ : `tensor ${owner(bit >> 3)} is damaged`;
      expect(decode, `bit ${bit}`).toThrow(FormatError);
      expect(decode, `bit ${bit}`).toThrow(name);
    }
    record({
      section,
      provoked: 'A bit of a state file flipped',
      times: count,
      held: 'found; the tensor is named, or the field of the header',
    });
  },
  LONG,
);

describe('every prefix', () => {
  it('of a safetensors file of 4 KB is refused', () => {
    const file = sampleState(1, 3300);
    expect(file.length).toBeGreaterThan(4000);
    for (let n = 0; n < file.length; n++)
      expect(() => decodeSafetensors('x', file.subarray(0, n)), `${n} bytes`).toThrow(FormatError);
    record({ section, provoked: 'Every prefix of a safetensors file', times: file.length, held: 'refused' });
  });

  const members = new Map([['c/a.bin', 8500]]);
  const entries = [
    { name: 'c/readme.html', text: 'x' },
    { name: 'c/a.bin', text: randomBytes(8500) },
  ];

  it(
    'of a tar archive of 10 KB is refused',
    async () => {
      const tar = await tarOf(entries);
      expect(tar.length).toBeGreaterThan(10_000);
      async function* chunks(length: number) {
        for (let at = 0; at < length; at += 1000) yield tar.subarray(at, Math.min(length, at + 1000));
      }
      const read = (length: number) =>
        readTar(
          'x',
          chunks(length),
          ({ size }) => new Uint8Array(size),
          () => {},
        );
      // The padding after the two empty blocks at the end may be missing.
      const end = tar.length;
      for (let n = 0; n < end; n++) await expect(read(n), `${n} bytes`).rejects.toThrow(FormatError);
      await read(end);
      record({ section, provoked: 'Every prefix of a tar archive', times: end, held: 'refused' });
    },
    LONG,
  );

  it(
    'of a tar.gz of 9 KB is refused, and leaves no file',
    async () => {
      const archive = await archiveOf(entries);
      const stride = times(29, 1);
      let count = 0;
      for (let n = 0; n < archive.length; n += stride, count++) {
        const file = join(folder, 'x.tar.gz');
        writeFileSync(file, archive.subarray(0, n));
        await expect(unpackTarGz(file, folder, members), `${n} bytes`).rejects.toThrow(FormatError);
        expect(existsSync(join(folder, 'c', 'a.bin')), `${n} bytes`).toBe(false);
      }
      record({
        section,
        provoked: 'Every prefix of a tar.gz',
        times: count,
        held: 'refused, and no file is left',
      });
    },
    LONG,
  );
});

const SIZES: Partial<Record<DType, number>> = {
  U8: 1,
  F8_E4M3: 1,
  F16: 2,
  BF16: 2,
  F32: 4,
  I32: 4,
  F64: 8,
  I64: 8,
};
const LETTERS = [...'abz019._- "\\/\n\t{}[]:,äß漢😀\u0000\u2028\ud800'];

function randomTensors(): Map<string, TensorData> {
  const dtypes = Object.keys(SIZES) as DType[];
  return new Map(
    Array.from({ length: random.below(6) }, () => {
      const name = Array.from({ length: random.below(8) }, () => LETTERS[random.below(LETTERS.length)]).join(
        '',
      );
      const dtype = dtypes[random.below(dtypes.length)] as DType;
      const shape = Array.from({ length: random.below(5) }, () => random.below(5));
      const bytes = randomBytes(shape.reduce((n, d) => n * d, SIZES[dtype] as number));
      return [name, { dtype, shape, bytes }];
    }),
  );
}

it(
  'what is written is what is read, whatever it is',
  () => {
    const count = times(100, 10_000);
    for (let i = 0; i < count; i++) {
      const tensors = randomTensors();
      const metadata = Object.fromEntries(
        [...tensors.keys()].map((name, j) => [`${j}${name}`, name.repeat(j)]),
      );
      const read = decodeSafetensors('x', encodeSafetensors(tensors, metadata));
      const { crc32c, crc32c_metadata, ...rest } = read.metadata;
      expect(new Map([...read.tensors].sort())).toEqual(new Map([...tensors].sort()));
      expect(rest).toEqual(metadata);
    }
    record({
      section,
      provoked: 'Random tensors and metadata written and read',
      times: count,
      held: 'exactly the same',
    });
  },
  LONG,
);
