/** Which variant of a kernel an adapter should run for a shape, and with which constants. Pure. */
import { KernelError } from '../core/errors.js';
import type { AdapterInfo } from './device.js';
import type { Kernel } from './pipeline.js';

export type Tuning = Readonly<Record<string, number>>;

export interface Variant<S> {
  readonly kernel: Kernel;
  /** The constants for this adapter and shape, or null where the variant cannot run. */
  tune(adapter: AdapterInfo, shape: S): Tuning | null;
  /** Whether it is worth running where nobody asks for it; always when absent. */
  wanted?(adapter: AdapterInfo, shape: S): boolean;
}

/** Kernels that compute the same thing, the best first; the last runs everywhere. */
export interface Family<S> {
  readonly name: string;
  readonly variants: readonly Variant<S>[];
}

export interface Choice {
  readonly kernel: Kernel;
  readonly tune: Tuning;
}

/** The first variant that can run and is wanted, or `preferred` if it can. */
export function pick<S>(family: Family<S>, adapter: AdapterInfo, shape: S, preferred?: string): Choice {
  const first = family.variants.filter(({ kernel }) => kernel.name === preferred);
  const rest = family.variants.filter(({ wanted }) => wanted?.(adapter, shape) ?? true);
  for (const { kernel, tune } of [...first, ...rest]) {
    const constants = tune(adapter, shape);
    if (constants) return { kernel, tune: constants };
  }
  throw new KernelError(`[${family.name}] no variant runs on ${adapter.name}.`);
}

/** Lanes of a software adapter that our texture kernels are written for, or 0: on a GPU, or without fixed subgroups. */
export const softwareLanes = (adapter: AdapterInfo): number =>
  adapter.software && [8, 16].includes(adapter.lanes) ? adapter.lanes : 0;

/** Texels of one staging texture: what a `texture` operand may hold at most. */
export const MAX_TEXELS = 1024 * 8192;
