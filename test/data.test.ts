import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { crc32c } from '../src/core/crc32c.js';
import { ConfigError, FormatError, PatchlightError } from '../src/core/errors.js';
import { permutation } from '../src/core/rng.js';
import type { Split } from '../src/data/dataset.js';
import { generateShapes10, shapes10Classes } from '../src/data/shapes10.js';
import { type DatasetOptions, openDataset } from '../src/data/sources.js';
import { cifarLayouts } from '../src/io/cifar.js';

const folder = mkdtempSync(join(tmpdir(), 'patchlight-data-'));
afterAll(() => rmSync(folder, { recursive: true }));
const offline = { dataDir: join(folder, 'none'), download: false };

describe('shapes10', () => {
  it('is the same bytes everywhere', () => {
    const pinned = [
      ['train', 0, 0xad669f25],
      ['test', 0, 0x5df67099],
      ['train', 7, 0x788797e0],
    ] as const;
    const actual = pinned.map(([split, seed]) => [
      split,
      seed,
      crc32c(generateShapes10(split, 20, seed).images),
    ]);
    expect(actual).toEqual(pinned);
  });

  it('an image depends on its index alone, and classes come in turn', () => {
    const many = generateShapes10('train', 40);
    const few = generateShapes10('train', 25);
    expect(many.images.subarray(0, few.images.length)).toEqual(few.images);
    expect([...few.labels]).toEqual(Array.from({ length: 25 }, (_, i) => i % 10));
  });

  it('opens as a data set, and its mean and deviation are those of its training images', async () => {
    const dataset = await openDataset('shapes10', offline);
    const train = await dataset.load('train');
    expect(await dataset.load('train')).toBe(train);
    const test = await dataset.load('test');
    expect([train.count, test.count]).toEqual([10_000, 2_000]);
    // Saved runs know their images by a checksum: no byte of any image may change.
    expect([crc32c(train.images), crc32c(test.images)]).toEqual([0xe09f09cd, 0xe2952135]);
    expect(dataset.classes).toEqual(shapes10Classes);
    moments(train).forEach(({ mean, std }, c) => {
      expect(mean).toBeCloseTo(dataset.mean[c]!, 2);
      expect(std).toBeCloseTo(dataset.std[c]!, 2);
    });
  });

  it('says little to a linear classifier on pixels', async () => {
    const dataset = await openDataset('shapes10', offline);
    const accuracy = linearAccuracy(await dataset.load('train'), await dataset.load('test'), 2);
    console.log(
      `shapes10: a linear softmax classifier is right on ${(100 * accuracy).toFixed(1)} % of the test images`,
    );
    expect(accuracy).toBeLessThan(0.3);
  });
});

/** Mean and standard deviation of each channel, with pixels scaled to [0, 1]. */
function moments({ images, count }: Split): { mean: number; std: number }[] {
  return [0, 1, 2].map((channel) => {
    let [sum, squares] = [0, 0];
    for (let image = 0; image < count; image++)
      for (let i = (image * 3 + channel) * 1024, end = i + 1024; i < end; i++) {
        const value = images[i]! / 255;
        sum += value;
        squares += value * value;
      }
    const mean = sum / (count * 1024);
    return { mean, std: Math.sqrt(squares / (count * 1024) - mean * mean) };
  });
}

/** Softmax regression on pixels by plain SGD with a falling learning rate. Returns its accuracy on `test`. */
function linearAccuracy(train: Split, test: Split, epochs: number): number {
  const [classes, size] = [10, 3072];
  const weights = Array.from({ length: classes }, () => new Float32Array(size + 1));
  const pixels = new Float32Array(size + 1).fill(1);
  const scores = (split: Split, image: number): number[] => {
    for (let i = 0; i < size; i++) pixels[i] = split.images[image * size + i]! / 128 - 1;
    return weights.map((row) => {
      let sum = 0;
      for (let i = 0; i <= size; i++) sum += row[i]! * pixels[i]!;
      return sum;
    });
  };
  for (let epoch = 0; epoch < epochs; epoch++)
    for (const image of permutation(train.count, 1, 2, epoch)) {
      const logits = scores(train, image);
      const top = Math.max(...logits);
      const exponentials = logits.map((logit) => Math.exp(logit - top));
      const total = exponentials.reduce((a, b) => a + b);
      weights.forEach((row, k) => {
        const error = exponentials[k]! / total - (train.labels[image] === k ? 1 : 0);
        const rate = (1e-3 / (1 + epoch)) * error;
        for (let i = 0; i <= size; i++) row[i]! -= rate * pixels[i]!;
      });
    }
  let right = 0;
  for (let image = 0; image < test.count; image++) {
    const logits = scores(test, image);
    if (logits.indexOf(Math.max(...logits)) === test.labels[image]) right++;
  }
  return right / test.count;
}

describe('opening', () => {
  it.each([
    ['cifar10', offline, /cifar10 needs data_batch_1\.bin, .*test_batch\.bin in .*cifar-10-batches-bin/],
    ['cifar100', offline, /cifar100 needs train\.bin, test\.bin in .*cifar-100-binary/],
    [
      'cifar10',
      { ...offline, download: true, address: 'http://127.0.0.1:1/' },
      /could not download .*: cifar10 needs data_batch_1/,
    ],
    ['cifra10', offline, /cifra10 is not a folder, and not one of cifar10, cifar100 and shapes10/],
    [folder, offline, /does not have all files of cifar10 or of cifar100/],
  ])('%s with %j is an error that says what to do', async (name, options, sentence) => {
    const refused = openDataset(name, options);
    await expect(refused).rejects.toThrow(ConfigError);
    await expect(refused).rejects.toThrow(sentence);
  });

  it('a folder of the official files is recognised; what is in them is read late and checked', async () => {
    const files = join(folder, 'mine', 'cifar-100-binary');
    mkdirSync(files, { recursive: true });
    writeFileSync(join(files, 'train.bin'), new Uint8Array(2 * 3074));
    writeFileSync(join(files, 'test.bin'), new Uint8Array(10_000 * 3074).fill(5));
    for (const path of [files, join(folder, 'mine')]) {
      const dataset = await openDataset(path, offline);
      expect([dataset.name, dataset.classes.length]).toEqual(['cifar100', 100]);
      await expect(dataset.load('train')).rejects.toThrow(
        /train\.bin: the file holds 2 records, not 50000\.$/,
      );
      await expect(dataset.load('train')).rejects.toThrow(FormatError);
    }
    const test = await (await openDataset(files, offline)).load('test');
    expect([test.count, test.labels[9_999], test.images.length]).toEqual([10_000, 5, 30_720_000]);
  });
});

describe('odd files', () => {
  const layouts = Object.values(cifarLayouts);
  /** Empty files with the file names of a data set. */
  const fill = (path: string, { files }: (typeof layouts)[number]): string => {
    mkdirSync(path, { recursive: true });
    for (const name of [...files.train, ...files.test]) writeFileSync(join(path, name), '');
    return path;
  };
  let made = 0;
  const fresh = () => mkdtempSync(join(folder, `odd-${made++}-`));
  /** An address that nothing can be downloaded from. */
  const dead = { download: true, address: 'http://127.0.0.1:1/' };

  it.each<[string, (path: string) => void, (path: string) => [string, DatasetOptions], RegExp]>([
    [
      'a file in place of the folder',
      (path) => writeFileSync(join(path, 'cifar-10-batches-bin'), ''),
      (path) => ['cifar10', { dataDir: path, ...dead }],
      /cifar-10-batches-bin is a file, but the folder of cifar10 must be there\. Move it away\.$/,
    ],
    [
      'a record file that links to itself',
      (path) => {
        fill(join(path, 'cifar-10-batches-bin'), cifarLayouts.cifar10);
        const file = join(path, 'cifar-10-batches-bin', 'data_batch_1.bin');
        rmSync(file);
        symlinkSync(file, file);
      },
      (path) => ['cifar10', { dataDir: path, ...dead }],
      /data_batch_1\.bin cannot be read \(ELOOP: too many symbolic links encountered\)\.$/,
    ],
    [
      'a data directory that is a file',
      (path) => writeFileSync(join(path, 'data'), ''),
      (path) => ['cifar10', { dataDir: join(path, 'data'), ...dead }],
      /^could not write .*cifar-10-binary\.tar\.gz \(\d+ bytes needed, .*\): EEXIST: file already exists\.$/,
    ],
    [
      'a data set that links to itself',
      (path) => symlinkSync(join(path, 'mine'), join(path, 'mine')),
      (path) => [join(path, 'mine'), offline],
      /mine cannot be read \(ELOOP: too many symbolic links encountered\)\.$/,
    ],
    [
      'a data set within a file',
      (path) => writeFileSync(join(path, 'mine'), ''),
      (path) => [join(path, 'mine', 'cifar10'), offline],
      /cifar10 is not a folder, and not one of cifar10, cifar100 and shapes10\.$/,
    ],
    [
      'a folder in which a file has the name of the folder',
      (path) => writeFileSync(join(path, 'cifar-10-batches-bin'), ''),
      (path) => [path, offline],
      /does not have all files of cifar10 or of cifar100/,
    ],
    [
      'a folder with both data sets in folders of their own',
      (path) => {
        for (const layout of layouts) fill(join(path, layout.folder), layout);
      },
      (path) => [path, offline],
      /holds both cifar10 and cifar100; name one of them: --dataset .*\/cifar-10-batches-bin or --dataset .*\/cifar-100-binary\.$/,
    ],
    [
      'a folder with the files of both',
      (path) => {
        for (const layout of layouts) fill(path, layout);
      },
      (path) => [path, offline],
      /holds both cifar10 and cifar100; move the files of each into a folder of its own and name that\.$/,
    ],
  ])('%s is refused in a sentence', async (_, make, given, sentence) => {
    const path = fresh();
    make(path);
    const refused = openDataset(...given(path));
    await expect(refused).rejects.toThrow(PatchlightError);
    await expect(refused).rejects.toThrow(sentence);
  });

  it.each(layouts)(
    'one of both data sets of a folder is opened by the name of its folder: $kind',
    async (layout) => {
      const path = fresh();
      for (const each of layouts) fill(join(path, each.folder), each);
      expect((await openDataset(join(path, layout.folder), offline)).name).toBe(layout.kind);
    },
  );
});

describe('data/README.md', () => {
  const readme = readFileSync(join(import.meta.dirname, '../data/README.md'), 'utf8');

  it.each(Object.values(cifarLayouts))('names the archive, checksum and folder of $kind', (layout) => {
    const { archive, md5, folder: unpacked, files, kind } = layout;
    expect(readme).toContain(`\`${archive}\` | \`${md5}\``);
    expect(readme).toContain(`--dataset ${kind}`);
    const [, listed = ''] = new RegExp(`^${unpacked}/(.*)$`, 'm').exec(readme) ?? [];
    for (const name of [files.train[0], files.train.at(-1), ...files.test]) expect(listed).toContain(name);
  });

  it('is no data set, and does not stand in the way of one', async () => {
    const dataDir = join(folder, 'with-readme');
    mkdirSync(dataDir);
    writeFileSync(join(dataDir, 'README.md'), readme);
    await expect(openDataset(dataDir, offline)).rejects.toThrow(
      /does not have all files of cifar10 or of cifar100/,
    );
    await expect(openDataset('cifar10', { dataDir, download: false })).rejects.toThrow(
      /^cifar10 needs data_batch_1\.bin, .* in .*cifar-10-batches-bin/,
    );
    const { test, train } = cifarLayouts.cifar100.files;
    for (const name of [...test, ...train]) writeFileSync(join(dataDir, name), '');
    expect((await openDataset(dataDir, offline)).name).toBe('cifar100');
  });
});

describe('the official files', () => {
  const dataDir = process.env.PATCHLIGHT_DATA ?? join(import.meta.dirname, '..', 'data');
  it.each([
    ['cifar10', 'cifar-10-batches-bin', 10],
    ['cifar100', 'cifar-100-binary', 100],
  ] as const)('%s has its counts, its moments and its classes', async (name, subfolder, classes) => {
    if (!existsSync(join(dataDir, subfolder)))
      return console.log(`skipped: ${name} is not in PATCHLIGHT_DATA (or data/)`);
    const dataset = await openDataset(name, { dataDir, download: false });
    for (const [split, images] of [
      ['train', 50_000],
      ['test', 10_000],
    ] as const) {
      const { labels, count } = await dataset.load(split);
      expect(count).toBe(images);
      const perClass = new Array(classes).fill(0);
      for (const label of labels) perClass[label]++;
      expect(perClass).toEqual(new Array(classes).fill(images / classes));
    }
    moments(await dataset.load('train')).forEach(({ mean, std }, c) => {
      expect(mean).toBeCloseTo(dataset.mean[c]!, 3);
      expect(std).toBeCloseTo(dataset.std[c]!, 3);
    });
  });
});
