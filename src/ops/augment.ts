/**
 * Augmentation beyond a crop and a mirror, in passes over the batch: bytes to pixels, one pass (and a table) for every
 * slot of the program, pixels to normalised images; and mixing. a plan (batch_plan.ts), made on the host, says which image goes through which ops.
 */
import applySource from '../../kernels/augment/augment_apply_forward.wgsl';
import gatherSource from '../../kernels/augment/augment_gather_forward.wgsl';
import normaliseSource from '../../kernels/augment/augment_normalise_forward.wgsl';
import tableSource from '../../kernels/augment/augment_table_forward.wgsl';
import mixSource from '../../kernels/augment/mix_forward.wgsl';
import mixTargetsSource from '../../kernels/augment/mix_targets_forward.wgsl';
import { formatShape, need } from '../core/shape.js';
import { defineKernel } from '../gpu/pipeline.js';
import { Tensor } from '../tensor/tensor.js';
import type { ImageStore } from './batch.js';
import type { PlanBuffer } from './batch_plan.js';
import { ELEMENTWISE_WG, groupsFor } from './common.js';

const gatherKernel = defineKernel('augment_gather_forward', gatherSource);
const tableKernel = defineKernel('augment_table_forward', tableSource);
const applyKernel = defineKernel('augment_apply_forward', applySource);
const normaliseKernel = defineKernel('augment_normalise_forward', normaliseSource);
const mixKernel = defineKernel('mix_forward', mixSource);
const mixTargetsKernel = defineKernel('mix_targets_forward', mixTargetsSource);

/** How the pixels of all images of a run are made. */
export interface PixelOptions {
  /** Whether windows that reach beyond the image show its mirror image there, instead of black. */
  readonly reflect: boolean;
  /** Windows are enlarged to the size of the image. */
  readonly resize: boolean;
  readonly bilinear: boolean;
  /** The colour of pixels that geometric ops uncover: red + 256 green + 65536 blue, in bytes. */
  readonly fill: number;
  /** Erase with normal noise of this random stream; with zeros where it is null. */
  readonly noise: number | null;
}

/**
 * images (B, 3, H, W) and labels (B) ← the records of the plan, each by its frame and its ops, normalised. Throws a ShapeError
 * for images that do not have three channels.
 */
export function augmentBatch(
  store: ImageStore,
  { header, index, frames, program }: Pick<PlanBuffer, 'header' | 'index' | 'frames' | 'program'>,
  options: PixelOptions,
  images: Tensor,
  labels: Tensor,
): void {
  const [B, C, H, W] = images.shape as [number, number, number, number];
  need(C === 3, 'augment', `images ${formatShape(images.shape)} must have 3 channels, red, green and blue.`);
  const gathered = gather(store, index, frames, options, [B, H, W], labels);
  const pixels = applyProgram(gathered, program, options);
  const operands = { pixels, frames, norm: store.norm, plan: header, y: images };
  images.gpu.run(normaliseKernel, operands, { B, H, W, stream: options.noise ?? 0 }, pixelGroups(pixels), {
    overrides: { NOISE: options.noise !== null },
  });
}

function gather(
  store: ImageStore,
  index: Tensor,
  frames: Tensor,
  { reflect, resize }: PixelOptions,
  shape: readonly [number, number, number],
  label: Tensor,
): Tensor {
  const { gpu } = index;
  const pixels = Tensor.empty(gpu, shape, 'u32', 'pixels');
  const [B, H, W] = shape;
  for (const { first, count, images } of store.parts) {
    const operands = { images, labels: store.labels, index, frames, pixels, label };
    gpu.run(gatherKernel, operands, { B, H, W, first, count }, pixelGroups(pixels), {
      overrides: { REFLECT: reflect, RESIZE: resize },
    });
  }
  return pixels;
}

/** pixels (B, H, W) u32 → pixels, after every slot of the program (slots, B, 8). */
export function applyProgram(
  pixels: Tensor,
  program: Tensor,
  { bilinear, fill }: Pick<PixelOptions, 'bilinear' | 'fill'>,
): Tensor {
  const [B, H, W] = pixels.shape as [number, number, number];
  const slots = program.shape[0] as number;
  const { gpu } = pixels;
  if (slots === 0) return pixels;
  const table = Tensor.empty(gpu, [B, 256], 'u32', 'table');
  let from = pixels;
  let to = Tensor.empty(gpu, pixels.shape, 'u32', 'pixels');
  for (let slot = 0; slot < slots; slot++) {
    gpu.run(tableKernel, { program, pixels: from, table }, { B, pixels: H * W, slot }, B);
    const operands = { program, table, pixels_from: from, pixels_to: to };
    gpu.run(applyKernel, operands, { B, H, W, slot, fill }, pixelGroups(pixels), {
      overrides: { BILINEAR: bilinear },
    });
    [from, to] = [to, from];
  }
  return from;
}

const pixelGroups = (pixels: Tensor): number => groupsFor(pixels.size, ELEMENTWISE_WG);

/** Mixes images (B, C, H, W) in place, b with B − 1 − b, as the header of the plan says. */
export function mixImages(images: Tensor, header: Tensor): void {
  const [B, C, H, W] = images.shape as [number, number, number, number];
  const groups = groupsFor(Math.ceil(B / 2) * C * H * W, ELEMENTWISE_WG);
  images.gpu.run(mixKernel, { plan: header, x: images }, { B, C, H, W }, groups);
}

/** targets (B, K) and the labels of the larger share, major (B) ← labels (B), mixed as the images of the plan are. */
export function mixTargets(label: Tensor, header: Tensor, targets: Tensor, major: Tensor): void {
  const [B, K] = targets.shape as [number, number];
  const operands = { label, plan: header, target_weights: targets, major };
  label.gpu.run(mixTargetsKernel, operands, { B, K }, groupsFor(B * K, ELEMENTWISE_WG));
}
