/** A contact sheet: images side by side in a PNG, enlarged without interpolation. */
import sharp from 'sharp';
import { ConfigError } from '../core/errors.js';

export interface Sheet {
  /** Bytes (rows · columns, 3, height, width), row by row. */
  readonly images: Uint8Array;
  readonly rows: number;
  readonly columns: number;
  readonly height: number;
  readonly width: number;
}

const GAP = 1;

/** A larger picture needs too much memory. */
const MOST_PIXELS = 2 ** 28;

/** Width and height in pixels, before scaling. */
const sheetSize = ({ rows, columns, height, width }: Omit<Sheet, 'images'>) => ({
  width: columns * (width + GAP) + GAP,
  height: rows * (height + GAP) + GAP,
});

/** Throws a ConfigError if the picture would have too many pixels. */
export function demandDrawable(sheet: Omit<Sheet, 'images'>, scale: number): void {
  const { width, height } = sheetSize(sheet);
  if (width * height * scale ** 2 > MOST_PIXELS)
    throw new ConfigError(
      `--rows ${sheet.rows}, --columns ${sheet.columns} and --scale ${scale} make a picture of ${scale * width} x ${scale * height} pixels; at most ${MOST_PIXELS} pixels can be drawn. Use smaller ones.`,
    );
}

/** The bytes of a PNG file. Each pixel of an image becomes `scale` x `scale` pixels. Throws as `demandDrawable`. */
export async function contactSheet(sheet: Sheet, scale: number): Promise<Uint8Array> {
  demandDrawable(sheet, scale);
  const raw = { ...sheetSize(sheet), channels: 3 } as const;
  return sharp(arrange(sheet, raw.width, raw.height), { raw })
    .resize({ width: raw.width * scale, kernel: 'nearest' })
    .png()
    .toBuffer();
}

/** All images on a white canvas, as bytes (down, across, 3). */
function arrange({ images, columns, height, width }: Sheet, across: number, down: number): Uint8Array {
  const canvas = new Uint8Array(across * down * 3).fill(255);
  images.forEach((value, i) => {
    const [x, y] = [i % width, Math.floor(i / width) % height];
    const channel = Math.floor(i / (width * height)) % 3;
    const cell = Math.floor(i / (3 * width * height));
    const left = GAP + (cell % columns) * (width + GAP) + x;
    const top = GAP + Math.floor(cell / columns) * (height + GAP) + y;
    canvas[3 * (top * across + left) + channel] = value;
  });
  return canvas;
}
