/** The user's own images are decoded from every format, and classified as evaluation classifies the same pixels. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generateShapes10, shapes10Classes } from '../src/data/shapes10.js';
import { uploadSplit } from '../src/data/store.js';
import { decodeImage, type Fit } from '../src/io/image.js';
import { decodeSafetensors, encodeSafetensors } from '../src/io/safetensors.js';
import { buildModel } from '../src/recipe/model.js';
import { imagesOf, loadWeights, readRun } from '../src/runs/saved_run.js';
import { predict } from '../src/training/evaluate.js';
import { likeliest } from '../src/training/predict.js';
import { probabilities } from '../src/training/score.js';
import { withBuild } from './faults/commands.js';
import { withGpu } from './gpu.js';

const gpuOf = withGpu();
const folder = mkdtempSync(join(tmpdir(), 'patchlight-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = (name: string) => join(folder, name);

const COUNT = 3;
const PLANE = 1024;
const shapes = generateShapes10('test', COUNT);
const record = (i: number) => shapes.images.subarray(i * 3 * PLANE, (i + 1) * 3 * PLANE);

/** A picture for sharp, from pixels in rows of (R, G, B, ...). */
const raw = (data: Uint8Array, width: number, height: number, channels: 1 | 2 | 3 | 4): Sharp =>
  sharp(data, { raw: { width, height, channels } });

const interleaved = (i: number) =>
  Uint8Array.from(
    { length: 3 * PLANE },
    (_, at) => record(i)[(at % 3) * PLANE + Math.floor(at / 3)] as number,
  );

/** 2 x 2 pixels: red, green / blue, white. */
const quad = Uint8Array.from([255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255]);
const corners = ({ bytes }: { bytes: Uint8Array }, side = 32): number[][] =>
  [0, side - 1, side * (side - 1), side * side - 1].map((at) =>
    [0, 1, 2].map((c) => bytes[c * side * side + at] as number),
  );
const SIZE = { channels: 3, height: 32, width: 32 };
const big = () => raw(quad, 2, 2, 3).resize(64, 64, { kernel: 'nearest' });
const RED_GREEN_BLUE_WHITE = [
  [255, 0, 0],
  [0, 255, 0],
  [0, 0, 255],
  [255, 255, 255],
];

describe('an image file', () => {
  it('of the size of the model keeps its pixels', async () => {
    await raw(interleaved(0), 32, 32, 3).png().toFile(file('same.png'));
    const { bytes, height, width } = await decodeImage(file('same.png'), SIZE, 'crop');
    expect(bytes).toEqual(record(0));
    expect([height, width]).toEqual([32, 32]);
  });

  // Lossy formats, and formats that store colour differences, are only close.
  it.each<[string, (image: Sharp) => Sharp, number]>([
    ['png', (image) => image.png(), 0],
    ['palette.png', (image) => image.png({ palette: true }), 0],
    ['16bit.png', (image) => image.toColourspace('rgb16').png(), 0],
    ['jpg', (image) => image.jpeg({ quality: 100, chromaSubsampling: '4:4:4' }), 3],
    ['webp', (image) => image.webp({ lossless: true }), 0],
    ['gif', (image) => image.gif(), 0],
    ['avif', (image) => image.avif({ lossless: true }), 3],
    ['tiff', (image) => image.tiff({ compression: 'lzw' }), 0],
  ])('of 64 x 64 as %s', async (extension, encode, tolerance) => {
    const path = file(`quad.${extension}`);
    await encode(big()).toFile(path);
    corners(await decodeImage(path, SIZE, 'crop')).forEach((corner, i) => {
      corner.forEach((level, c) => {
        expect(Math.abs(level - (RED_GREEN_BLUE_WHITE[i]?.[c] as number))).toBeLessThanOrEqual(tolerance);
      });
    });
  });

  it('as SVG, transparent where nothing is drawn: white', async () => {
    const svg =
      '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><rect width="20" height="20"/></svg>';
    writeFileSync(file('a.svg'), svg);
    const white = [255, 255, 255];
    expect(corners(await decodeImage(file('a.svg'), SIZE, 'crop'))).toEqual([[0, 0, 0], white, white, white]);
  });

  it('in grey, of 8 and 16 bits, has three equal channels, or one where the model has', async () => {
    const grey = Uint8Array.from({ length: PLANE }, (_, i) => i % 251);
    for (const [name, image] of [
      ['grey.png', raw(grey, 32, 32, 1).toColourspace('b-w')],
      ['grey16.png', raw(grey, 32, 32, 1).toColourspace('grey16')],
    ] as const) {
      await image.png().toFile(file(name));
      expect((await sharp(file(name)).metadata()).channels).toBe(1);
      const { bytes } = await decodeImage(file(name), SIZE, 'crop');
      expect(bytes).toEqual(Uint8Array.from([...grey, ...grey, ...grey]));
      const one = await decodeImage(file(name), { ...SIZE, channels: 1 }, 'crop');
      expect(one.bytes).toEqual(grey);
    }
  });

  it('half transparent is seen on white', async () => {
    const pixel = Uint8Array.from({ length: 4 * PLANE }, (_, i) => (i % 4 === 3 ? 51 : 0));
    await raw(pixel, 32, 32, 4).png().toFile(file('alpha.png'));
    const { bytes } = await decodeImage(file('alpha.png'), SIZE, 'crop');
    expect(new Set(bytes)).toEqual(new Set([204]));
  });

  it.each<[Fit, number, number]>([
    ['crop', 128, 128],
    ['squash', 0, 255],
  ])('that is oblong, by --fit %s, starts with %i and ends with %i', async (fit, left, right) => {
    // Black, grey, grey, white: the middle is grey.
    const strip = Uint8Array.from(
      { length: 96 * 32 },
      (_, i) => [0, 128, 255][Math.floor((i % 96) / 32)] as number,
    );
    await raw(strip, 96, 32, 1).png().toFile(file('strip.png'));
    const { bytes } = await decodeImage(file('strip.png'), SIZE, fit);
    expect([bytes[0], bytes[31]]).toEqual([left, right]);
  });

  it.each([
    ['missing.png', () => {}, /missing\.png: there is no such file\.$/],
    [
      'folder',
      (path: string) => mkdirSync(path),
      /folder: is a folder; name the images in it, as in .*folder\/\*\.$/,
    ],
    [
      'loop.png',
      (path: string) => symlinkSync(path, path),
      /loop\.png cannot be read \(ELOOP: too many symbolic links encountered\)\.$/,
    ],
    [
      'notes.txt',
      (path: string) => writeFileSync(path, 'no image'),
      /notes\.txt: is not an image in a format that can be read: PNG/,
    ],
    [
      'empty.png',
      (path: string) => writeFileSync(path, ''),
      /empty\.png: (is not an image|cannot be decoded)/,
    ],
    [
      'bomb.svg',
      (path: string) =>
        writeFileSync(path, '<svg xmlns="http://www.w3.org/2000/svg" width="30000" height="30000"></svg>'),
      /bomb\.svg: has more than 134 million pixels; scale it down first\.$/,
    ],
    [
      'cut.png',
      (path: string) => writeFileSync(path, readFileSync(file('same.png')).subarray(0, 900)),
      /cut\.png: cannot be decoded \(.+\); if another program opens it, save it there as PNG\.$/,
    ],
  ])('%s is refused in a sentence', async (name, make, says) => {
    make(file(name));
    await expect(decodeImage(file(name), SIZE, 'crop')).rejects.toThrow(says);
  });
});

describe('the command', () => {
  withBuild();
  let out: string;
  const command = (name: string, args: readonly string[]) => {
    const env = { ...process.env, PATCHLIGHT_DATA: file('no-data') };
    const { status, stdout, stderr } = spawnSync(process.execPath, [`dist/${name}.js`, ...args], {
      encoding: 'utf8',
      env,
    });
    return { code: status, out: stdout, err: stderr.replace(/^Warning: maxDynamic.*\n/gm, '') };
  };

  beforeAll(async () => {
    out = file('run');
    const tiny =
      '--dataset shapes10 --limit-train 100 --embed-dim 16 --depth 1 --patch-size 8 --batch-size 50 --epochs 2';
    expect(command('train', [...tiny.split(' '), '--quiet', '--output', out]).code).toBe(0);
    for (let i = 0; i < COUNT; i++)
      await raw(interleaved(i), 32, 32, 3)
        .png()
        .toFile(file(`${i}.png`));
  });

  /** The probabilities that evaluation computes for the same records, mirrored or not. */
  async function expected(mirror: boolean): Promise<Float64Array[]> {
    const run = readRun(out);
    const images = imagesOf(run);
    const model = buildModel(run.settings, images);
    loadWeights(gpuOf(), model, run);
    const turned = shapes.images.slice();
    for (let row = 0; mirror && row < turned.length; row += 32) turned.subarray(row, row + 32).reverse();
    const split = { images: turned, labels: shapes.labels, count: COUNT };
    const store = uploadSplit(gpuOf(), images, split, run.settings.normalize);
    const logits = await predict({
      ...{ model, store, classes: images.classes, batchSize: 100 },
      records: Uint32Array.from({ length: COUNT }, (_, i) => i),
    });
    return Array.from({ length: COUNT }, (_, i) =>
      probabilities(Float64Array.from(logits.subarray(10 * i, 10 * (i + 1)))),
    );
  }

  const names = () => Array.from({ length: COUNT }, (_, i) => file(`${i}.png`));

  it('gives exactly the probabilities of evaluation', async () => {
    const { code, out: text, err } = command('predict', [out, ...names(), '--json', '--top', '10']);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    const rows = await expected(false);
    const wanted = rows.map((row, i) => ({
      file: file(`${i}.png`),
      predictions: likeliest(row, shapes10Classes, 10),
    }));
    expect(JSON.parse(text)).toEqual(wanted);
    expect(wanted[0]?.predictions.reduce((sum, { probability }) => sum + probability, 0)).toBeCloseTo(1, 12);
  });

  it('averages an image and its mirror image', async () => {
    const { out: text } = command('predict', [out, ...names(), '--json', '--tta', 'flip', '--top', '10']);
    const [plain, turned] = [await expected(false), await expected(true)];
    const wanted = plain.map((row, i) => row.map((p, c) => (p + (turned[i] as Float64Array)[c]!) / 2));
    const found = JSON.parse(text) as { predictions: unknown }[];
    expect(found.map(({ predictions }) => predictions)).toEqual(
      wanted.map((row) => likeliest(row, shapes10Classes, 10)),
    );
  });

  it('knows the images of weights that only name their data set', async () => {
    const { path } = readRun(out);
    const saved = decodeSafetensors(path, readFileSync(path));
    const { images: _, crc32c: __, crc32c_metadata: ___, ...metadata } = saved.metadata;
    writeFileSync(file('old.safetensors'), encodeSafetensors(saved.tensors, metadata));
    const args = [file('0.png'), '--json'];
    expect(command('predict', [file('old.safetensors'), ...args]).out).toBe(
      command('predict', [path, ...args]).out,
    );
    expect(saved.metadata.images).toContain('"mean"');
  });

  it('classifies what it can and names what it cannot', () => {
    const {
      code,
      out: text,
      err,
    } = command('predict', [out, file('notes.txt'), file('0.png'), file('nope'), '--top', '2']);
    expect(code).toBe(1);
    expect(text.trim().split('\n')).toHaveLength(3);
    expect(text).toMatch(/^.*0\.png\n {2}\w+ +\d+\.\d\d %\n/);
    expect(err).toMatch(
      /^patchlight: .*notes\.txt: is not an image.*\npatchlight: .*nope: there is no such file\.\n$/,
    );
  });

  it.each([
    [() => [out], 2, /Name a run directory/],
    [() => [out, file('0.png'), '--top', '0'], 2, /--top must be a positive whole number, not 0/],
    [() => [out, file('0.png'), '--fit', 'pad'], 2, /fit, Given: "pad", Choices: "crop", "squash"/],
    [() => [file('nope'), file('0.png')], 1, /nope does not exist/],
    [() => [file('0.png'), file('0.png')], 1, /0\.png: /],
    [() => [file('loop.png'), file('0.png')], 1, /loop\.png cannot be read \(ELOOP/],
  ])('refuses wrong usage (%#)', (args, code, says) => {
    const result = command('predict', args());
    expect(result.err).toMatch(says);
    expect(result.err.trim().split('\n')).toHaveLength(1);
    expect(result.code).toBe(code);
  });
});
