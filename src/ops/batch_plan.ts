/**
 * PLAN: everything random about one batch, drawn on the host and uploaded at once: which records it takes, how each image
 * is cropped, changed and erased, and how images are mixed. A recorded step that is played again reads the new plan.
 */
import type { Gpu } from '../gpu/gpu.js';
import { keep } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { encodeImageOp, IMAGE_OP_WORDS, type ImageOp } from './image_ops.js';

/** Rows top … bottom − 1 and columns left … right − 1 of an image. */
export interface Box {
  readonly top: number;
  readonly bottom: number;
  readonly left: number;
  readonly right: number;
}

export const NO_BOX: Box = { top: 0, bottom: 0, left: 0, right: 0 };

/** How image b of a batch is mixed with image B − 1 − b. */
export interface Mix {
  /** λ: the share of an image's own label. */
  readonly share: number;
  /** The share of its own pixels outside of the box; inside, all are its partner's. */
  readonly weight: number;
  readonly box: Box;
}

export const NO_MIX: Mix = { share: 1, weight: 1, box: NO_BOX };

/** The window of a record that becomes an image, and the box that is erased from it in the end. */
export interface Frame {
  readonly flip: boolean;
  /** The window's corner, which may lie outside of the image, and its size. */
  readonly top: number;
  readonly left: number;
  readonly height: number;
  readonly width: number;
  readonly erase: Box | null;
}

/** The augmentation of one image. */
export interface ImagePlan {
  readonly frame: Frame;
  readonly ops: readonly ImageOp[];
}

export interface BatchPlan {
  /** The key of the noise that random erasing may leave. */
  readonly seed: number;
  readonly step: number;
  /** The place of each image in the data set. */
  readonly records: Uint32Array;
  readonly images: readonly ImagePlan[];
  readonly mix: Mix;
}

const HEADER_WORDS = 8;
const FRAME_WORDS = 9;
/** Sections start where a binding may: WebGPU's default storage offset alignment is 256 bytes. */
const ALIGN = 64;

/** Words 0 and 1: seed and step; 2 and 3: share and weight of the mix as floats; 4 to 7: the edges of its box. */
export function encodeHeader({
  seed,
  step,
  mix,
}: Pick<BatchPlan, 'seed' | 'step' | 'mix'>): Uint32Array<ArrayBuffer> {
  const { top, bottom, left, right } = mix.box;
  const words = Uint32Array.of(seed, step, 0, 0, top, bottom, left, right);
  new Float32Array(words.buffer).set([mix.share, mix.weight], 2);
  return words;
}

/** Frames (B, 9) and the program (slots, B, 8) of images of `height` x `width`, as the kernels read them. */
export function encodePlans(
  plans: readonly ImagePlan[],
  slots: number,
  height: number,
  width: number,
): { frames: Uint32Array<ArrayBuffer>; program: Uint32Array<ArrayBuffer> } {
  const frames = new Uint32Array(plans.length * FRAME_WORDS);
  const program = new Uint32Array(slots * plans.length * IMAGE_OP_WORDS);
  plans.forEach(({ frame, ops }, b) => {
    const { top, bottom, left, right } = frame.erase ?? NO_BOX;
    const corner = [frame.top, frame.left, frame.height, frame.width];
    frames.set([Number(frame.flip), ...corner, top, bottom, left, right], b * FRAME_WORDS);
    ops.forEach((op, slot) => {
      program.set(encodeImageOp(op, height, width), (slot * plans.length + b) * IMAGE_OP_WORDS);
    });
  });
  return { frames, program };
}

/** The plan of a batch on the device; its sections are views of one tensor. */
export class PlanBuffer {
  /** (8): see `encodeHeader`. */
  readonly header: Tensor;
  /** (B): the place of each image in the data set. */
  readonly index: Tensor;
  /** (B, 9): see Frame. */
  readonly frames: Tensor;
  /** (slots, B, 8): in each slot an op for every image. */
  readonly program: Tensor;
  private readonly words: Tensor;
  private readonly starts: readonly number[];

  constructor(
    gpu: Gpu,
    size: number,
    private readonly slots: number,
    private readonly image: { readonly height: number; readonly width: number },
  ) {
    const shapes = [[HEADER_WORDS], [size], [size, FRAME_WORDS], [slots, size, IMAGE_OP_WORDS]] as const;
    let end = 0;
    this.starts = shapes.map((shape) => {
      const start = end;
      end += Math.ceil(shape.reduce((product, n) => product * n, 1) / ALIGN) * ALIGN;
      return start;
    });
    this.words = keep(Tensor.zeros(gpu, [end], 'u32', 'plan'));
    const section = (i: 0 | 1 | 2 | 3, label: string) =>
      keep(this.words.view(shapes[i], this.starts[i], label));
    this.header = section(0, 'plan');
    this.index = section(1, 'index');
    this.frames = section(2, 'frames');
    this.program = section(3, 'program');
  }

  upload(plan: BatchPlan): void {
    const { frames, program } = encodePlans(plan.images, this.slots, this.image.height, this.image.width);
    const words = new Uint32Array(this.words.size);
    [encodeHeader(plan), plan.records, frames, program].forEach((section, i) => {
      words.set(section, this.starts[i]);
    });
    this.words.upload(words);
  }
}
