/** Image files of common formats as the bytes that a model is fed. sharp decodes and resizes, and is loaded by the first image. */
import type { Sharp } from 'sharp';
import { ConfigError, FormatError } from '../core/errors.js';
import { reason } from './atomic.js';
import { statOf } from './read.js';

/** What part of an image that is not of the model's proportions is seen: its middle, or all of it, distorted. */
export const fits = ['crop', 'squash'] as const;
export type Fit = (typeof fits)[number];

export interface ImageSize {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

export interface DecodedImage {
  /** (C, H, W). */
  readonly bytes: Uint8Array;
  /** Pixels that the file's image has, upright. */
  readonly height: number;
  readonly width: number;
}

/** Half a GiB as RGBA. A file of a few bytes can claim any size. */
const MOST_PIXELS = 1 << 27;

const FORMATS = 'PNG, JPEG, WebP, GIF, AVIF, TIFF and SVG';

/**
 * A file's image (its first, where there are several) upright, on white where it is transparent, as sRGB or grey of 8 bits,
 * resized with Catmull-Rom's cubic: the shorter side to the model's size and the middle of it, as timm's eval transform with
 * crop_pct 1, or squashed. An image of the model's size keeps its pixels. Throws FormatError with what is wrong and the remedy.
 */
export async function decodeImage(path: string, size: ImageSize, fit: Fit): Promise<DecodedImage> {
  refuseOther(path);
  const { default: sharp } = await loadSharp();
  try {
    const image = sharp(path, { limitInputPixels: MOST_PIXELS, failOn: 'error' });
    const { autoOrient: upright } = await image.metadata();
    const { data } = await pixels(image, size, fit).raw().toBuffer({ resolveWithObject: true });
    return { bytes: planes(data, size.channels), height: upright.height, width: upright.width };
  } catch (error) {
    throw new FormatError(path, explain(error));
  }
}

function pixels(image: Sharp, { channels, height, width }: ImageSize, fit: Fit): Sharp {
  const upright = image.autoOrient().flatten({ background: '#fff' });
  const coloured = channels === 1 ? upright.greyscale().toColourspace('b-w') : upright.toColourspace('srgb');
  // Shrinking while a JPEG is decoded is faster, and not what other formats get.
  const how = { kernel: 'cubic', fastShrinkOnLoad: false } as const;
  return coloured.resize(width, height, { fit: fit === 'crop' ? 'cover' : 'fill', ...how });
}

/** (H, W, C) as (C, H, W). */
function planes(interleaved: Uint8Array, channels: number): Uint8Array {
  const plane = interleaved.length / channels;
  const bytes = new Uint8Array(interleaved.length);
  for (let c = 0; c < channels; c++)
    for (let i = 0; i < plane; i++) bytes[c * plane + i] = interleaved[i * channels + c] as number;
  return bytes;
}

function refuseOther(path: string): void {
  const found = statOf(path);
  if (!found) throw new FormatError(path, 'there is no such file.');
  if (found.isDirectory())
    throw new FormatError(path, `is a folder; name the images in it, as in ${path}/*.`);
}

async function loadSharp(): Promise<typeof import('sharp')> {
  try {
    return await import('sharp');
  } catch (error) {
    throw new ConfigError(
      `sharp, which decodes images, cannot be loaded (${reason(error).split('\n')[0]}); npm install puts it there.`,
    );
  }
}

function explain(error: unknown): string {
  const said = reason(error).split('\n')[0] as string;
  if (/unsupported image format/i.test(said)) return `is no image that can be read; ${FORMATS} can.`;
  if (/pixel limit/i.test(said))
    return `has more than ${Math.floor(MOST_PIXELS / 1e6)} million pixels; scale it down first.`;
  return `cannot be decoded (${said}); if another program opens it, save it there as PNG.`;
}
