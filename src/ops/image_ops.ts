/**
 * The operations on images that augmentation policies are made of, named as torchvision and timm name them, and the
 * records that tell the kernels which one an image gets. The numbers that PIL computes in double precision (matrices,
 * factors) are computed here; the kernels then work on integers.
 */

/** Kinds of the apply kernel; from TABLE on they are those of the table kernel. */
const [IDENTITY, AFFINE, COLOR, SHARPNESS, HUE, TABLE] = [0, 1, 2, 3, 4, 5];

/** For each op, its kind in the kernels and the meaning of its `value`. */
export const imageOps = {
  Identity: { kind: IDENTITY, value: 'none' },
  ShearX: { kind: AFFINE, value: 'columns a row moves by: x + value · y is read' },
  ShearY: { kind: AFFINE, value: 'rows a column moves by: y + value · x is read' },
  TranslateX: { kind: AFFINE, value: 'columns to the right' },
  TranslateY: { kind: AFFINE, value: 'rows down' },
  Rotate: { kind: AFFINE, value: 'degrees, counter-clockwise' },
  Color: { kind: COLOR, value: 'factor: 0 is grey, 1 the image' },
  Sharpness: { kind: SHARPNESS, value: 'factor: 0 is smoothed, 1 the image' },
  Hue: { kind: HUE, value: 'turns of the colour circle, -0.5 to 0.5' },
  Posterize: { kind: TABLE, value: 'bits kept of a byte' },
  Solarize: { kind: TABLE + 1, value: 'bytes from here on are inverted' },
  SolarizeAdd: { kind: TABLE + 2, value: 'added to bytes below 128' },
  Invert: { kind: TABLE + 3, value: 'none' },
  Brightness: { kind: TABLE + 4, value: 'factor: 0 is black, 1 the image' },
  Contrast: { kind: TABLE + 5, value: 'factor: 0 is the mean grey, 1 the image' },
  AutoContrast: { kind: TABLE + 6, value: 'none' },
  Equalize: { kind: TABLE + 7, value: 'none' },
} as const;

export type ImageOpName = keyof typeof imageOps;

export interface ImageOp {
  readonly op: ImageOpName;
  readonly value: number;
}

/** Words of an op's record: its kind, and up to six parameters. */
export const IMAGE_OP_WORDS = 8;

/** The record of an op for images of `height` x `width`. */
export const encodeImageOp = ({ op, value }: ImageOp, height: number, width: number): readonly number[] => [
  imageOps[op].kind,
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
      return imageOps[op].kind === AFFINE ? fixedPoint(inverseMatrix(op, value, height, width)) : [];
  }
}

/** (a, b, c, d, e, f): the pixel at (x, y) shows the one at (a x + b y + c, d x + e y + f), in pixels from the corner. */
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
