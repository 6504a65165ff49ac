/** Pictures as PNG data URIs. Pixels are bytes. */
import { loadSharp } from '../io/image.js';
import { type Html, html } from './html.js';

/** Pixels (height, width, channels): one channel for grey, three for colour. */
export interface Picture {
  readonly pixels: Uint8Array;
  readonly height: number;
  readonly width: number;
}

async function dataUri({ pixels, height, width }: Picture): Promise<string> {
  const channels = (pixels.length / height / width) as 1 | 3;
  const { default: sharp } = await loadSharp();
  const png = await sharp(pixels, { raw: { width, height, channels } })
    .png({ compressionLevel: 9 })
    .toBuffer();
  return `data:image/png;base64,${png.toString('base64')}`;
}

/** An image element. The style sheet shows its pixels without interpolation. */
export const img = async (picture: Picture, alt: string): Promise<Html> =>
  html`<img src="${await dataUri(picture)}" alt="${alt}" width="${picture.width}" height="${picture.height}">`;

/** A picture (H, W, C) from planes (C, H, W), the layout of data sets. */
export function fromPlanes(planes: Uint8Array, height: number, width: number): Picture {
  const area = height * width;
  const channels = planes.length / area;
  const pixels = new Uint8Array(planes.length);
  for (let i = 0; i < area; i++)
    for (let c = 0; c < channels; c++) pixels[i * channels + c] = planes[c * area + i] as number;
  return { pixels, height, width };
}

/** Values (rows, columns) resized to (height, width): bilinear, as torch's interpolate with align_corners=False. */
export function upsample(values: ArrayLike<number>, [rows, columns]: Grid, height: number, width: number) {
  const along = (i: number, cells: number, size: number) => {
    const at = Math.min(cells - 1, Math.max(0, ((i + 0.5) * cells) / size - 0.5));
    const low = Math.floor(at);
    return { low, high: Math.min(cells - 1, low + 1), part: at - low };
  };
  const at = (r: number, c: number) => values[r * columns + c] as number;
  return Float64Array.from({ length: height * width }, (_, i) => {
    const y = along(Math.floor(i / width), rows, height);
    const x = along(i % width, columns, width);
    const top = at(y.low, x.low) * (1 - x.part) + at(y.low, x.high) * x.part;
    const bottom = at(y.high, x.low) * (1 - x.part) + at(y.high, x.high) * x.part;
    return top * (1 - y.part) + bottom * y.part;
  });
}

/** Rows and columns. */
export type Grid = readonly [number, number];

/** Values scaled to [0, 1]; all ones if they are all equal. */
export function stretched(values: ArrayLike<number>): Float64Array {
  const all = Float64Array.from(values);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  return all.map((value) => (high > low ? (value - low) / (high - low) : 1));
}

/** A colour map from dark blue over red to pale yellow, with increasing lightness. */
const RAMP = [
  [14, 16, 44],
  [74, 36, 110],
  [170, 52, 96],
  [232, 112, 60],
  [252, 206, 124],
  [255, 250, 224],
] as const;

/** A heat map of the values: the smallest is dark, the largest light. */
export function heat(values: ArrayLike<number>, [height, width]: Grid): Picture {
  const pixels = Uint8Array.from(
    [...stretched(values)].flatMap((value) => {
      const place = value * (RAMP.length - 1);
      const low = Math.min(RAMP.length - 2, Math.floor(place));
      return RAMP[low]!.map((from, c) => Math.round(from + (RAMP[low + 1]![c]! - from) * (place - low)));
    }),
  );
  return { pixels, height, width };
}

/** The brightness that remains at the map's smallest value. */
const DIMMEST = 0.15;
/** Pixel values are gamma-encoded, so dimming the light by a factor t multiplies them by t^(1/2.2). */
const GAMMA = 2.2;

/** The picture enlarged by `scale`, with a brightness that follows the values of a grid laid over it. */
export function lit(picture: Picture, values: ArrayLike<number>, grid: Grid, scale: number): Picture {
  const [height, width] = [picture.height * scale, picture.width * scale];
  const channels = picture.pixels.length / picture.height / picture.width;
  const light = upsample(stretched(values), grid, height, width).map((t) => t ** (1 / GAMMA));
  const pixels = Uint8Array.from({ length: height * width * channels }, (_, i) => {
    const [y, x, c] = [Math.floor(i / channels / width), Math.floor(i / channels) % width, i % channels];
    const from = (Math.floor(y / scale) * picture.width + Math.floor(x / scale)) * channels + c;
    return Math.round(picture.pixels[from]! * (DIMMEST + (1 - DIMMEST) * light[y * width + x]!));
  });
  return { pixels, height, width };
}
