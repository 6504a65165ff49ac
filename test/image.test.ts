/** Images in every pixel format, against values computed here. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import { decodeImage } from '../src/io/image.js';
import { jpegOf } from './jpeg.js';

const folder = mkdtempSync(join(tmpdir(), 'patchlight-image-'));
afterAll(() => rmSync(folder, { recursive: true }));

let files = 0;
/** Decodes a file at its own size: rows of pixels, each with its channels. */
async function decoded(bytes: Uint8Array, channels = 3): Promise<number[][]> {
  const path = join(folder, String(files++));
  writeFileSync(path, bytes);
  const { width, height } = (await sharp(bytes).metadata()).autoOrient;
  const image = await decodeImage(path, { channels, height, width }, 'squash');
  const plane = width * height;
  return Array.from({ length: plane }, (_, i) =>
    Array.from({ length: channels }, (_, c) => image.bytes[c * plane + i] as number),
  );
}

/** The middle pixel of each block in a row of plain 8 x 8 blocks. */
const ofBlocks = (pixels: number[][], blocks: number): number[][] =>
  Array.from({ length: blocks }, (_, i) => pixels[(3 * blocks + i) * 8 + 4] as number[]);

/** (C, M, Y, K) from 0 to 255, where 255 is full ink. */
const INKS = [
  [0, 0, 0, 0],
  [255, 0, 0, 0],
  [0, 255, 0, 0],
  [0, 0, 255, 0],
  [0, 0, 0, 255],
  [255, 255, 0, 0],
  [0, 255, 255, 0],
  [255, 0, 255, 0],
  [255, 255, 255, 255],
  [51, 102, 153, 64],
  [10, 200, 30, 128],
  [1, 2, 3, 4],
];
/** R = 255 (1 − C) (1 − K), as Pillow's convert('RGB') has it. */
const rgbOf = ([c = 0, m = 0, y = 0, k = 0]: number[]): number[] =>
  [c, m, y].map((ink) => Math.round(255 * (1 - ink / 255) * (1 - k / 255)));
const inverted = (inks: number[]): number[] => inks.map((ink) => 255 - ink);

describe('an image in CMYK without a profile', () => {
  it.each<[string, number | undefined]>([
    ["Adobe's segment", 0],
    ['no segment: inverted too, as every program takes it', undefined],
  ])('as JPEG with %s has the RGB of its inks', async (_, transform) => {
    const bytes = jpegOf(INKS.map(inverted), { transform });
    expect((await sharp(bytes).metadata()).space).toBe('cmyk');
    expect(ofBlocks(await decoded(bytes), INKS.length)).toEqual(INKS.map(rgbOf));
  });

  it('as JPEG of YCCK has the RGB of its inks', async () => {
    // Only Y: equal cyan, magenta and yellow. libjpeg gives C = 255 − Y, which is inverted with Adobe's segment.
    const greys = INKS.map(([ink = 0, , , k = 0]) => [ink, ink, ink, k]);
    const bytes = jpegOf(
      greys.map(([ink = 0, , , k = 0]) => [ink, 128, 128, 255 - k]),
      { transform: 2 },
    );
    expect((await sharp(bytes).metadata()).space).toBe('cmyk');
    expect(ofBlocks(await decoded(bytes), INKS.length)).toEqual(greys.map(rgbOf));
  });

  it('as TIFF has the RGB of its inks', async () => {
    const tiff = await sharp(jpegOf(INKS.map(inverted), { transform: 0 }))
      .pipelineColourspace('cmyk')
      .toColourspace('cmyk')
      .tiff({ compression: 'none' })
      .toBuffer();
    expect((await sharp(tiff).metadata()).space).toBe('cmyk');
    expect(ofBlocks(await decoded(tiff), INKS.length)).toEqual(INKS.map(rgbOf));
  });

  it('is grey where the model wants grey', async () => {
    const neutral = [0, 51, 204].map((k) => [0, 0, 0, k]);
    const grey = await decoded(jpegOf(neutral.map(inverted), { transform: 0 }), 1);
    expect(ofBlocks(grey, 3)).toEqual([[255], [204], [51]]);
  });

  it('is turned upright by its EXIF orientation', async () => {
    const bytes = (orientation: number) => jpegOf(INKS.map(inverted), { transform: 0, orientation });
    expect(ofBlocks(await decoded(bytes(3)), INKS.length)).toEqual(INKS.map(rgbOf).reverse());
    // Orientation 6: the file's row is a column of the picture, from top to bottom.
    const column = await decoded(bytes(6));
    expect(INKS.map((_, i) => column[(8 * i + 4) * 8 + 4])).toEqual(INKS.map(rgbOf));
  });
});

it('an image in CMYK with a profile has the colours of the profile', async () => {
  const colour = { r: 200, g: 120, b: 80 };
  const image = sharp({ create: { width: 8, height: 8, channels: 3, background: colour } });
  const bytes = await image.withIccProfile('cmyk').jpeg({ quality: 100 }).toBuffer();
  expect(await sharp(bytes).metadata()).toMatchObject({ space: 'cmyk', hasProfile: true });
  const [pixel] = await decoded(bytes);
  expect(pixel).toEqual([...(await sharp(bytes).raw().toBuffer()).subarray(0, 3)]);
});

it('a grey JPEG has three equal channels, or one', async () => {
  const levels = [0, 37, 128, 200, 255];
  const bytes = jpegOf(levels.map((level) => [level]));
  expect(ofBlocks(await decoded(bytes), 5)).toEqual(levels.map((level) => [level, level, level]));
  expect(ofBlocks(await decoded(bytes, 1), 5)).toEqual(levels.map((level) => [level]));
});

/** Four pixels in two rows, of (R, G, B, A). */
const PIXELS = [
  [255, 0, 0, 255],
  [0, 128, 255, 51],
  [10, 20, 30, 0],
  [90, 90, 90, 204],
];
const picture = (pixels: readonly (readonly number[])[]): Sharp =>
  sharp(Uint8Array.from(pixels.flat()), {
    raw: { width: 2, height: 2, channels: pixels[0]?.length as 1 | 2 | 3 | 4 },
  });
/** The pixels over white. */
const flat = ([r = 0, g = 0, b = 0, a = 255]: readonly number[]): number[] =>
  [r, g, b].map((level) => 255 + ((level - 255) * a) / 255);

describe('an image of few pixels', () => {
  const opaque = PIXELS.map(([r = 0, g = 0, b = 0]) => [r, g, b]);
  const grey = PIXELS.map(([, g = 0]) => [g]);
  const greyAlpha = PIXELS.map(([, g = 0, , a = 0]) => [g, a]);

  it.each<[string, () => Sharp, Record<string, unknown>, number[][]]>([
    ['RGB of 8 bits', () => picture(opaque).png(), { channels: 3, depth: 'uchar' }, opaque],
    [
      'RGB of 16 bits',
      () => picture(opaque).toColourspace('rgb16').png(),
      { channels: 3, depth: 'ushort' },
      opaque,
    ],
    ['RGBA of 8 bits', () => picture(PIXELS).png(), { channels: 4, depth: 'uchar' }, PIXELS.map(flat)],
    [
      'RGBA of 16 bits',
      () => picture(PIXELS).toColourspace('rgb16').png(),
      { channels: 4, depth: 'ushort' },
      PIXELS.map(flat),
    ],
    ['a palette', () => picture(opaque).png({ palette: true, effort: 10 }), { isPalette: true }, opaque],
    [
      'a palette with transparency',
      () => picture(PIXELS).png({ palette: true, effort: 10 }),
      { hasAlpha: true, isPalette: true },
      PIXELS.map(flat),
    ],
    [
      'grey',
      () => picture(grey).toColourspace('b-w').png(),
      { channels: 1, space: 'b-w' },
      grey.map(([g = 0]) => [g, g, g]),
    ],
    [
      'grey with transparency',
      () => picture(greyAlpha).toColourspace('b-w').png(),
      { channels: 2 },
      greyAlpha.map(([g = 0, a = 0]) => flat([g, g, g, a])),
    ],
    [
      'grey of 16 bits',
      () => picture(grey).toColourspace('grey16').png(),
      { channels: 1, depth: 'ushort' },
      grey.map(([g = 0]) => [g, g, g]),
    ],
    [
      'WebP with transparency',
      () => picture(PIXELS).webp({ lossless: true, exact: true }),
      { channels: 4 },
      PIXELS.map(flat),
    ],
  ])('of %s', async (_, make, kind, expected) => {
    const bytes = await make().toBuffer();
    expect(await sharp(bytes).metadata()).toMatchObject(kind);
    const pixels = await decoded(bytes);
    pixels.forEach((pixel, i) => {
      pixel.forEach((level, c) => {
        expect(
          Math.abs(level - (expected[i]?.[c] as number)),
          `pixel ${i}, channel ${c}`,
        ).toBeLessThanOrEqual(1);
      });
    });
  });
});

describe('an image turned by EXIF', () => {
  // The file has A B / C D / E F; each row has the picture that an orientation means.
  const levels = { A: 0, B: 50, C: 100, D: 150, E: 200, F: 250 } as const;
  it.each<[number, string[]]>([
    [1, ['AB', 'CD', 'EF']],
    [2, ['BA', 'DC', 'FE']],
    [3, ['FE', 'DC', 'BA']],
    [4, ['EF', 'CD', 'AB']],
    [5, ['ACE', 'BDF']],
    [6, ['ECA', 'FDB']],
    [7, ['FDB', 'ECA']],
    [8, ['BDF', 'ACE']],
  ])('of orientation %i is seen upright', async (orientation, rows) => {
    const raw = { width: 2, height: 3, channels: 1 } as const;
    for (const encode of [
      (image: Sharp) => image.png(),
      (image: Sharp) => image.tiff({ compression: 'lzw' }),
    ]) {
      const image = sharp(Uint8Array.from(Object.values(levels)), { raw }).toColourspace('b-w');
      const bytes = await encode(image.withMetadata({ orientation })).toBuffer();
      const pixels = await decoded(bytes, 1);
      expect(pixels.flat()).toEqual([...rows.join('')].map((name) => levels[name as keyof typeof levels]));
    }
  });
});
