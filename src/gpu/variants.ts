/** Picking the variant of a kernel, and its constants, for an adapter and a shape. Pure functions. */
import { KernelError } from '../core/errors.js';
import type { AdapterInfo } from './device.js';
import type { Kernel } from './pipeline.js';
import type { Kind, VariantKnob } from './tuning.js';

export type Tuning = Readonly<Record<string, number>>;

export interface Variant<S> {
  /** How knobs call it. */
  readonly kind: Kind;
  readonly kernel: Kernel;
  /** The constants for this adapter and shape, or null if the variant cannot run. */
  tune(adapter: AdapterInfo, shape: S): Tuning | null;
  /** True if the variant should be picked by default, and not only when it is preferred. Absent means always. */
  wanted?(adapter: AdapterInfo, shape: S): boolean;
}

/** Kernels that compute the same thing, the best first; the last runs everywhere. */
export interface Family<S> {
  readonly name: string;
  readonly variants: readonly Variant<S>[];
  /** The knob that names the first variant to try on an adapter. Those before it in the list were measured to be slower. */
  knob(shape: S): VariantKnob;
}

export interface Choice {
  readonly kernel: Kernel;
  readonly tune: Tuning;
}

/** The first variant, from the one that the adapter's knob names, that can run and is wanted; or `preferred` if it can. */
export function pick<S>(family: Family<S>, adapter: AdapterInfo, shape: S, preferred?: string): Choice {
  const { variants } = family;
  const named = variants.findIndex(({ kind }) => kind === adapter.knobs[family.knob(shape)]);
  const first = variants.filter(({ kernel }) => kernel.name === preferred);
  const rest = variants.slice(Math.max(0, named)).filter(({ wanted }) => wanted?.(adapter, shape) ?? true);
  for (const { kernel, tune } of [...first, ...rest]) {
    const constants = tune(adapter, shape);
    if (constants) return { kernel, tune: constants };
  }
  throw new KernelError(`[${family.name}] no variant runs on ${adapter.name}.`);
}

/**
 * Subgroup size of Mesa's CPU driver, for whose compiler the texture kernels are written; 0 on all other adapters. On
 * SwiftShader, another CPU driver, they are slower than any other kernel.
 */
export const softwareLanes = ({ vendor, software, lanes }: AdapterInfo): number =>
  vendor === 'mesa' && software && [4, 8, 16].includes(lanes) ? lanes : 0;

/** Texels of the largest staging texture, and so of a `texture` operand. */
export const MAX_TEXELS = 1024 * 8192;
