/** The number of workgroups of a dispatch, and its parameters as bytes. */
import { KernelError, LimitError } from '../core/errors.js';
import type { Kernel } from './pipeline.js';

/** The number of workgroups of a dispatch: a total, which is spread over the axes, or one number for each axis. */
export type Workgroups = number | readonly [number, number] | readonly [number, number, number];

const MAX_GROUPS = 65535;

/** Workgroups along three axes. Throws LimitError if an axis exceeds WebGPU's limit. */
export function shapeGroups({ name }: Kernel, groups: Workgroups): readonly [number, number, number] {
  const shaped = typeof groups === 'number' ? spill(groups) : ([...groups, 1].slice(0, 3) as Axes);
  if (shaped.some((n) => n > MAX_GROUPS))
    throw new LimitError(`[${name}] dispatch of ${shaped.join(' x ')} workgroups exceeds ${MAX_GROUPS}.`);
  return shaped;
}

type Axes = [number, number, number];

// An axis that is too long is folded into two; kernels number their workgroups by x + y · width and guard the tail.
function spill(groups: number): Axes {
  if (groups <= MAX_GROUPS) return [groups, 1, 1];
  const rows = Math.ceil(groups / MAX_GROUPS);
  return [Math.ceil(groups / rows), rows, 1];
}

/** Packs the parameters in the order and with the types of the kernel's `struct Params`; null if it has none. */
export function packParams(
  { name: kernel, interface: { fields } }: Kernel,
  params: Readonly<Record<string, number>>,
): Uint32Array<ArrayBuffer> | null {
  if (fields.length === 0) return null;
  const words = new Uint32Array(fields.length);
  const view = new DataView(words.buffer);
  fields.forEach(({ name, type }, i) => {
    const value = params[name];
    if (value === undefined) throw new KernelError(`[${kernel}] parameter ${name} is missing.`);
    if (type === 'f32') view.setFloat32(4 * i, value, true);
    else view.setUint32(4 * i, value, true);
  });
  return words;
}
