/**
 * The operations on images that augmentation policies are made of, named as torchvision and timm name them, and the
 * records that tell the kernels which one an image gets. The numbers that PIL computes in double precision (matrices,
 * factors) are computed here; the kernels then work on integers.
 */

/** What an op's `value` is. */
export const imageOps = {
  Identity: 'nothing',
  ShearX: 'columns a row moves by: x + value · y is read',
  ShearY: 'rows a column moves by: y + value · x is read',
  TranslateX: 'columns to the right',
  TranslateY: 'rows down',
  Rotate: 'degrees, counter-clockwise',
  Color: 'factor: 0 is grey, 1 the image',
  Sharpness: 'factor: 0 is smoothed, 1 the image',
  Hue: 'turns of the colour circle, −0.5 to 0.5',
  Posterize: 'bits kept of a byte',
  Solarize: 'bytes from here on are inverted',
  SolarizeAdd: 'added to bytes below 128',
  Invert: 'nothing',
  Brightness: 'factor: 0 is black, 1 the image',
  Contrast: 'factor: 0 is the mean grey, 1 the image',
  AutoContrast: 'nothing',
  Equalize: 'nothing',
} as const;

export type ImageOpName = keyof typeof imageOps;

export interface ImageOp {
  readonly op: ImageOpName;
  readonly value: number;
}

/** Words of an op's record: its kind, and up to six parameters. */
export const IMAGE_OP_WORDS = 8;

/** Kinds as in augment_apply_forward.wgsl, and from Posterize on in augment_table_forward.wgsl. */
const KINDS: Readonly<Record<ImageOpName, number>> = {
  Identity: 0,
  ShearX: 1,
  ShearY: 1,
  TranslateX: 1,
  TranslateY: 1,
  Rotate: 1,
  Color: 2,
  Sharpness: 3,
  Hue: 4,
  Posterize: 5,
  Solarize: 6,
  SolarizeAdd: 7,
  Invert: 8,
  Brightness: 9,
  Contrast: 10,
  AutoContrast: 11,
  Equalize: 12,
};

/** The record of an op for images of `height` x `width`. */
export const encodeImageOp = ({ op, value }: ImageOp, height: number, width: number): readonly number[] => [
  KINDS[op],
  ...parameters(op, value, height, width),
];

function parameters(op: ImageOpName, value: number, height: number, width: number): readonly number[] {
  switch (op) {
    case 'Color':
    case 'Sharpness':
    case 'Brightness':
    case 'Contrast':
      return float32Parts(value);
    case 'Hue':
      return [Math.trunc(value * 255) & 255];
    case 'Posterize':
      return [256 - 2 ** (8 - value)];
    case 'Solarize':
      return [Math.ceil(Math.fround(value))];
    case 'SolarizeAdd':
      return [value];
    default:
      return KINDS[op] === 1 ? fixedPoint(inverseMatrix(op, value, height, width)) : [];
  }
}

/** (a, b, c, d, e, f): the pixel at (x, y) shows what was at (a x + b y + c, d x + e y + f), in pixels from the corner. */
type Matrix = readonly [number, number, number, number, number, number];

/** As torchvision's functional.affine and rotate ask PIL: shears leave the corner, rotations the centre where it is. */
function inverseMatrix(op: ImageOpName, value: number, height: number, width: number): Matrix {
  if (op === 'ShearX') return [1, value, 0, 0, 1, 0];
  if (op === 'ShearY') return [1, 0, 0, value, 1, 0];
  if (op === 'TranslateX') return [1, 0, -value, 0, 1, 0];
  if (op === 'TranslateY') return [1, 0, 0, 0, 1, -value];
  const angle = (-value * Math.PI) / 180;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)].map((x) => Math.round(x * 1e15) / 1e15) as [
    number,
    number,
  ];
  const [x, y] = [width / 2, height / 2];
  return [cos, sin, cos * -x + sin * -y + x, -sin, cos, -sin * -x + cos * -y + y];
}

/** 16.16 fixed point, of the middle of pixel (0, 0): as PIL's affine_fixed. */
function fixedPoint([a, b, c, d, e, f]: Matrix): readonly number[] {
  const fix = (v: number) => Math.floor(v * 65536 + 0.5) >>> 0;
  return [a, b, c + 0.5 * (a + b), d, e, f + 0.5 * (d + e)].map(fix);
}

/** A non-negative number, rounded to float32, as an integer of at most 24 bits and the bits of a power of two. */
function float32Parts(value: number): readonly number[] {
  const rounded = Math.fround(value);
  const scale = 2 ** Math.max(-120, Math.floor(Math.log2(rounded || 1)) - 23);
  return [rounded / scale, new Uint32Array(Float32Array.of(scale).buffer)[0] as number];
}
