/** Decodes image files of common formats to the bytes of a model's input. `sharp` is loaded when the first image is read. */
import type { Metadata, Sharp } from 'sharp';
import { ConfigError, FormatError } from '../core/errors.js';
import { reason } from './atomic.js';
import { statOf } from './read.js';

/** How an image of other proportions is made to fit: `crop` takes its middle, `squash` distorts it. */
export const fits = ['crop', 'squash'] as const;
/** The way to make an oblong image fit. */
export type Fit = (typeof fits)[number];

/** The size of a model's images: channels (1 or 3), height and width in pixels. */
export interface ImageSize {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

/** An image file as the input of a model. */
export interface DecodedImage {
  /** (C, H, W). */
  readonly bytes: Uint8Array;
  /** Size of the image in the file, in pixels, after its EXIF rotation. */
  readonly height: number;
  readonly width: number;
}

/** Pixels: half a GiB as RGBA. The limit is needed because a file of a few bytes can claim any size. */
const MOST_PIXELS = 1 << 27;

const FORMATS = 'PNG, JPEG, WebP, GIF, AVIF, TIFF and SVG';

/**
 * Decodes the (first) image of a file: rotated upright, transparency over white, converted to 8-bit sRGB or grey, resized by
 * Catmull-Rom's cubic. Resizing takes the shorter side to the model's size and crops the middle, as timm's eval transform
 * with crop_pct 1, or squashes. An image of the model's size keeps its pixels. Throws FormatError with a remedy.
 */
export async function decodeImage(path: string, size: ImageSize, fit: Fit): Promise<DecodedImage> {
  refuseOther(path);
  const { default: sharp } = await loadSharp();
  try {
    const file = sharp(path, { limitInputPixels: MOST_PIXELS, failOn: 'error' });
    const { autoOrient: upright, ...kind } = await file.metadata();
    const image = isPlainCmyk(kind) ? await inRgb(sharp, file) : file;
    const { data } = await pixels(image, size, fit).raw().toBuffer({ resolveWithObject: true });
    return { bytes: planes(data, size.channels), height: upright.height, width: upright.width };
  } catch (error) {
    throw new FormatError(path, explain(error));
  }
}

function pixels(image: Sharp, { channels, height, width }: ImageSize, fit: Fit): Sharp {
  const upright = image.autoOrient().flatten({ background: '#fff' });
  const coloured = channels === 1 ? upright.greyscale().toColourspace('b-w') : upright.toColourspace('srgb');
  // Shrinking during JPEG decoding would be faster, but would give other pixels than other formats get.
  const how = { kernel: 'cubic', fastShrinkOnLoad: false } as const;
  return coloured.resize(width, height, { fit: fit === 'crop' ? 'cover' : 'fill', ...how });
}

/** 8-bit CMYK without a colour profile. For such images libvips would assume the inks of a printing press. */
const isPlainCmyk = ({ space, hasProfile, channels, depth }: Partial<Metadata>): boolean =>
  space === 'cmyk' && !hasProfile && channels === 4 && depth === 'uchar';

/** CMYK to RGB as Pillow's convert('RGB'): R = 255 (1 − C) (1 − K), and so for G and B. */
async function inRgb(sharp: typeof import('sharp').default, image: Sharp): Promise<Sharp> {
  const { data, info } = await image
    .autoOrient()
    .pipelineColourspace('cmyk')
    .toColourspace('cmyk')
    .raw()
    .toBuffer({ resolveWithObject: true });
  const { width, height } = info;
  const rgb = new Uint8Array(3 * width * height);
  for (let from = 0, to = 0; from < data.length; from += 4, to += 3) {
    const light = 255 - (data[from + 3] as number);
    for (let c = 0; c < 3; c++) rgb[to + c] = Math.round((light * (255 - (data[from + c] as number))) / 255);
  }
  return sharp(rgb, { limitInputPixels: MOST_PIXELS, raw: { width, height, channels: 3 } });
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

/** The native module that decodes and encodes images, which programs without images do not load. Throws a ConfigError. */
export async function loadSharp(): Promise<typeof import('sharp')> {
  try {
    return await import('sharp');
  } catch (error) {
    throw new ConfigError(
      `The package sharp, which reads and writes images, cannot be loaded (${reason(error).split('\n')[0]}). Install it: npm install sharp.`,
    );
  }
}

function explain(error: unknown): string {
  const said = reason(error).split('\n')[0] as string;
  if (/unsupported image format/i.test(said))
    return `is not an image in a format that can be read: ${FORMATS}.`;
  if (/pixel limit/i.test(said))
    return `has more than ${Math.floor(MOST_PIXELS / 1e6)} million pixels; scale it down first.`;
  return `cannot be decoded (${said}); if another program opens it, save it there as PNG.`;
}
