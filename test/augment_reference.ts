/** A second implementation of the image ops, on bytes (H, W, 3) in double precision, after PIL's sources. */
import type { ImageOp } from '../src/ops/image_ops.js';

export interface Image {
  readonly height: number;
  readonly width: number;
  /** (H, W, 3) */
  readonly bytes: Uint8Array;
}

type Rgb = [number, number, number];

const rgb = ({ bytes, width }: Image, y: number, x: number): Rgb =>
  [...bytes.subarray(3 * (y * width + x), 3 * (y * width + x) + 3)] as Rgb;

const draw = (height: number, width: number, pixel: (y: number, x: number) => ArrayLike<number>): Image => {
  const bytes = new Uint8Array(3 * height * width);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) bytes.set(pixel(y, x), 3 * (y * width + x));
  return { height, width, bytes };
};

const perPixel = (image: Image, f: (v: Rgb, y: number, x: number) => Rgb): Image =>
  draw(image.height, image.width, (y, x) => f(rgb(image, y, x), y, x));

/** A table of 256 bytes for each channel, from the channel's histogram. */
function byTable(image: Image, table: (v: number, histogram: readonly number[]) => number): Image {
  const tables = [0, 1, 2].map((c) => {
    const histogram = new Array<number>(256).fill(0);
    for (let i = c; i < image.bytes.length; i += 3) histogram[image.bytes[i]!]!++;
    return histogram.map((_, v) => table(v, histogram));
  });
  return perPixel(image, (v) => v.map((byte, c) => tables[c]![byte]!) as Rgb);
}

const luma = ([r, g, b]: Rgb): number => (r * 19595 + g * 38470 + b * 7471 + 32768) >> 16;

/** Image.blend in float32, truncated. */
const blend = (a: number, v: number, factor: number): number => {
  const sum = Math.fround(a + Math.fround(Math.fround(factor) * (v - a)));
  return Math.trunc(Math.max(0, Math.min(255, sum)));
};

function smooth(image: Image, y: number, x: number): Rgb {
  if (y === 0 || x === 0 || y === image.height - 1 || x === image.width - 1) return rgb(image, y, x);
  return [0, 1, 2].map((c) => {
    let sum = 4 * rgb(image, y, x)[c]!;
    for (let i = 0; i < 9; i++) sum += rgb(image, y + Math.floor(i / 3) - 1, x + (i % 3) - 1)[c]!;
    return Math.floor(sum / 13 + 0.5);
  }) as Rgb;
}

function equalize(v: number, histogram: readonly number[]): number {
  const used = histogram.filter((n) => n > 0);
  const step = Math.floor((used.reduce((a, b) => a + b, 0) - used.at(-1)!) / 255);
  const darker = histogram.slice(0, v).reduce((a, b) => a + b, 0);
  return used.length === 1 || step === 0 ? v : Math.min(255, Math.floor((darker + (step >> 1)) / step));
}

function autoContrast(v: number, histogram: readonly number[]): number {
  const lowest = histogram.findIndex((n) => n > 0);
  const highest = histogram.findLastIndex((n) => n > 0);
  if (highest === lowest) return v;
  return Math.max(0, Math.min(255, Math.floor(((v - lowest) * 255) / (highest - lowest))));
}

function turn([r, g, b]: Rgb, by: number): Rgb {
  const highest = Math.max(r, g, b);
  const range = highest - Math.min(r, g, b);
  if (range === 0) return [r, g, b];
  const sixth = r === highest ? g - b : g === highest ? 2 * range + b - r : 4 * range + r - g;
  const hue = (Math.floor((255 * (sixth < 0 ? sixth + 6 * range : sixth)) / (6 * range)) + by + 256) & 255;
  const s = Math.floor((255 * range) / highest) / 255;
  const sector = Math.floor((hue * 6) / 255);
  const f = (hue * 6) / 255 - sector;
  const [p, q, t] = [s, s * f, s * (1 - f)].map((x) => Math.round(highest * (1 - x))) as Rgb;
  const v = highest;
  return (
    [
      [v, t, p],
      [q, v, p],
      [p, v, t],
      [p, q, v],
      [t, p, v],
      [v, p, q],
    ] as Rgb[]
  )[sector % 6]!;
}

function matrixOf({ op, value }: ImageOp, { height, width }: Image): number[] {
  if (op === 'ShearX') return [1, value, 0, 0, 1, 0];
  if (op === 'ShearY') return [1, 0, 0, value, 1, 0];
  if (op === 'TranslateX') return [1, 0, -value, 0, 1, 0];
  if (op === 'TranslateY') return [1, 0, 0, 0, 1, -value];
  const [cos, sin] = [Math.cos((value * Math.PI) / 180), Math.sin((value * Math.PI) / 180)];
  const [x, y] = [width / 2, height / 2];
  return [cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y];
}

/** The source coordinates of pixel (y, x), in 1/65536 of a pixel: PIL's affine_fixed. */
function place(matrix: number[], y: number, x: number): [number, number] {
  const fix = (v: number) => Math.floor(v * 65536 + 0.5);
  const [a, b, c, d, e, f] = matrix as [number, number, number, number, number, number];
  return [fix(f + 0.5 * (d + e)) + fix(d) * x + fix(e) * y, fix(c + 0.5 * (a + b)) + fix(a) * x + fix(b) * y];
}

function geometric(image: Image, op: ImageOp, bilinear: boolean, fill: Rgb): Image {
  const { height, width } = image;
  const matrix = matrixOf(op, image);
  const clipped = (y: number, x: number) =>
    rgb(image, Math.max(0, Math.min(height - 1, y)), Math.max(0, Math.min(width - 1, x)));
  return perPixel(image, (_, row, column) => {
    const [y, x] = place(matrix, row, column).map((v) => v / 65536) as [number, number];
    if (y < 0 || x < 0 || y >= height || x >= width) return fill;
    if (!bilinear) return rgb(image, Math.floor(y), Math.floor(x));
    const [top, left] = [Math.floor(y - 0.5), Math.floor(x - 0.5)];
    const [down, across] = [y - 0.5 - top, x - 0.5 - left];
    return fill.map((_, c) => {
      const [a, b, d, e] = [0, 1, 2, 3].map((i) => clipped(top + (i >> 1), left + (i & 1))[c]!) as [
        number,
        number,
        number,
        number,
      ];
      // Bytes times 16-bit weights are exact in double precision.
      const [above, below] = [a + (b - a) * across, d + (e - d) * across];
      return Math.floor(Math.floor((above + (below - above) * down) * 65536) / 65536);
    }) as Rgb;
  });
}

const meanGrey = (image: Image): number => {
  let sum = 0;
  perPixel(image, (v) => {
    sum += luma(v);
    return v;
  });
  return Math.trunc(sum / (image.height * image.width) + 0.5);
};

export function referenceOp(image: Image, op: ImageOp, bilinear: boolean, fill: Rgb): Image {
  const { value } = op;
  const towards = (other: (v: Rgb, y: number, x: number) => Rgb) =>
    perPixel(image, (v, y, x) => {
      const from = other(v, y, x);
      return v.map((byte, c) => blend(from[c]!, byte, value)) as Rgb;
    });
  const all = (v: number): Rgb => [v, v, v];
  switch (op.op) {
    case 'Identity':
      return image;
    case 'Color':
      return towards((v) => all(luma(v)));
    case 'Sharpness':
      return towards((_, y, x) => smooth(image, y, x));
    case 'Brightness':
      return towards(() => all(0));
    case 'Contrast': {
      const mean = meanGrey(image);
      return towards(() => all(mean));
    }
    case 'Hue':
      return perPixel(image, (v) => turn(v, Math.trunc(value * 255)));
    case 'Posterize':
      return byTable(image, (v) => v & ~(2 ** (8 - value) - 1));
    case 'Solarize':
      return byTable(image, (v) => (v < Math.fround(value) ? v : 255 - v));
    case 'SolarizeAdd':
      return byTable(image, (v) => (v < 128 ? Math.min(255, v + value) : v));
    case 'Invert':
      return byTable(image, (v) => 255 - v);
    case 'AutoContrast':
      return byTable(image, autoContrast);
    case 'Equalize':
      return byTable(image, equalize);
    default:
      return geometric(image, op, bilinear, fill);
  }
}

/** PIL's crop and resize by bilinear weights, rounded to 22 bits; results are rounded to bytes after columns and after rows. */
export function referenceResize(
  image: Image,
  { top, left, height, width }: { top: number; left: number; height: number; width: number },
): Image {
  const lerp = (n: number, window: number, i: number, at: (j: number) => Rgb): Rgb => {
    const centre = ((i + 0.5) * window) / n - 0.5;
    const first = Math.floor(centre);
    const clip = (j: number) => Math.max(0, Math.min(window - 1, j));
    const [a, b] = [at(clip(first)), at(clip(first + 1))];
    const [near, far] = [1 - (centre - first), centre - first].map((weight) => Math.round(weight * 2 ** 22));
    return a.map((v, c) => Math.floor((v * near! + b[c]! * far!) / 2 ** 22 + 0.5)) as Rgb;
  };
  const wide = draw(height, image.width, (y, x) =>
    lerp(image.width, width, x, (j) => rgb(image, top + y, left + j)),
  );
  return draw(image.height, image.width, (y, x) => lerp(image.height, height, y, (j) => rgb(wide, j, x)));
}
