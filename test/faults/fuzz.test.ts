import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { readConfig } from '../../src/cli/config_file.js';
import { ConfigError, FormatError } from '../../src/core/errors.js';
import { Counter } from '../../src/core/rng.js';
import { unpackTarGz } from '../../src/io/archive.js';
import { type CifarKind, parseCifar } from '../../src/io/cifar.js';
import { decodeSafetensors } from '../../src/io/safetensors.js';
import { resolveSettings } from '../../src/recipe/settings.js';
import { archiveOf, tarOf, withChecksum } from './archives.js';
import { LONG, record, scratch, times } from './common.js';
import { inBlock, inHeader, type Mutation, mutate, values, words } from './mutate.js';
import { sampleState } from './sample.js';

const folder = scratch('fuzz');
const SECOND = 1e6;

/** One sentence on one line, with a full stop, that starts with the file or names a setting. */
function expectSentence(error: unknown, file: string): void {
  expect([FormatError, ConfigError]).toContain((error as Error).constructor);
  const { message } = error as Error;
  expect(message).toMatch(/^[^\p{C}]{10,1200}\.$/u);
  if (error instanceof FormatError) expect(message.startsWith(`${file}: `), message).toBe(true);
}

interface Parser {
  readonly name: string;
  readonly file: string;
  readonly seeds: () => Promise<readonly Uint8Array[]>;
  readonly own: readonly Mutation[];
  readonly parse: (bytes: Uint8Array, seed: number) => unknown;
}

const archive = join(folder, 'x.tar.gz');
const out = join(folder, 'out');
const members = new Map([
  ['c/a.bin', 700],
  ['c/b.bin', 20],
]);
const entries = [
  { name: 'c/', type: 'directory' as const },
  { name: 'c/readme.html', text: 'x'.repeat(600) },
  { name: 'c/b.bin', text: 'b'.repeat(20) },
  { name: 'c/a.bin', text: 'a'.repeat(700) },
];

async function unpack(bytes: Uint8Array): Promise<void> {
  writeFileSync(archive, bytes);
  try {
    await unpackTarGz(archive, out, members);
    expect(readdirSync(join(out, 'c')).sort()).toEqual(['a.bin', 'b.bin']);
  } finally {
    rmSync(out, { recursive: true, force: true });
    expect(readdirSync(folder).filter((name) => name !== 'config.json')).toEqual(['x.tar.gz']);
  }
}

/** Half of the damaged headers get a matching checksum, as a malicious author would give them. */
const rightChecksums: Mutation = (bytes, random) => {
  const tar = Buffer.from(bytes);
  for (let at = 0; at + 512 <= tar.length; at += 512)
    if (random.uniform() < 0.9 && tar.toString('latin1', at + 257, at + 262) === 'ustar')
      withChecksum(tar, at);
  return new Uint8Array(tar);
};

const fields = words('../', '/', 'C:', '\0', 'L', '5', '\x80\x00', '77777777777', 'ustar', '    ');
const kinds: readonly CifarKind[] = ['cifar10', 'cifar100'];
const config = join(folder, 'config.json');
const json = words(
  '{',
  '}',
  '[',
  ']',
  '"',
  ',',
  ':',
  '\\',
  '__proto__',
  '"a":1,',
  'null',
  '[[[[[[',
  '\ud800',
  '\u0000',
);

/** A file without checksums, as other programs write it. */
const foreign = Buffer.from(
  `\x76${'\0'.repeat(7)}{"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"U8","shape":[0],"data_offsets":[24,24]}}       ${'\0'.repeat(24)}`,
  'latin1',
);

const parsers: readonly Parser[] = [
  {
    name: 'safetensors',
    file: 'x.safetensors',
    seeds: async () => [sampleState(0, 200), foreign],
    own: [values, inHeader(values), inHeader(values), inHeader(json)],
    parse: (bytes) => decodeSafetensors('x.safetensors', bytes),
  },
  {
    name: 'tar',
    file: archive,
    seeds: async () => [await tarOf(entries)],
    own: [inBlock(fields), inBlock(fields), fields, rightChecksums],
    parse: (bytes, seed) =>
      unpack(gzipSync(seed % 4 ? rightChecksums(bytes, new Counter(9, 0, seed)) : bytes, { level: 1 })),
  },
  {
    name: 'gzip',
    file: archive,
    seeds: async () => [await archiveOf(entries)],
    own: [],
    parse: (bytes) => unpack(bytes),
  },
  {
    name: 'CIFAR',
    file: 'x.bin',
    seeds: async () => [new Uint8Array(3073 * 2).fill(1), new Uint8Array(3074).fill(2)],
    own: [],
    parse: (bytes, seed) => parseCifar('x.bin', bytes, kinds[seed % 2] as CifarKind),
  },
  {
    name: 'config JSON',
    file: config,
    seeds: async () => [
      Buffer.from('{"embedDim": 192, "depth": 12, "pool": "mean", "learningRate": 1e-3, "shuffle": false}'),
      Buffer.from('{"version": "1", "settings": {"batchSize": 64, "augment": "none", "seed": 7}}'),
    ],
    own: [values, values, json],
    parse: (bytes) => {
      writeFileSync(config, bytes);
      return resolveSettings(readConfig(config));
    },
  },
];

describe('mutated files', () => {
  it.each(parsers)(
    '$name: are read, or refused in a sentence',
    async ({ name, file, seeds, own, parse }) => {
      const count = times(2_000, 100_000);
      const originals = await seeds();
      const random = new Counter(11, 0);
      const began = process.cpuUsage();
      let slowest = 0;
      let refused = 0;
      for (const seed of originals) await parse(seed, originals.indexOf(seed));
      for (let i = 0; i < count; i++) {
        const original = originals[i % originals.length] as Uint8Array;
        const bytes = mutate(original, random, own);
        const start = process.cpuUsage();
        try {
          await parse(bytes, i);
        } catch (error) {
          refused++;
          expectSentence(error, file);
        }
        const { user, system } = process.cpuUsage(start);
        slowest = Math.max(slowest, user + system);
      }
      expect(slowest).toBeLessThan(SECOND);
      expect(refused).toBeGreaterThan(count / 4);
      const { user, system } = process.cpuUsage(began);
      console.log(
        `${name}: ${refused} of ${count} refused, slowest ${slowest} us, ${(user + system) / SECOND} s`,
      );
      record({
        section: 'Files from outside',
        provoked: `Mutated files: ${name}`,
        times: count,
        held: 'read, or refused in one sentence that names the file or the setting; none took a second',
      });
    },
    LONG,
  );
});
