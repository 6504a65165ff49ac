/** Times every op of the registry at its benchmark shapes, forward and backward, by every variant that the adapter can run. */
import { autocast, productType } from '../autograd/autocast.js';
import { given, hasGradient, mapInputs } from '../autograd/inputs.js';
import type { AnyOp, AnySample, BackwardCall, Saved, Target } from '../autograd/op.js';
import { describeSample, shapesOf } from '../autograd/sample.js';
import { numel } from '../core/shape.js';
import type { Gpu } from '../gpu/gpu.js';
import { ops } from '../ops/index.js';
import { castInto } from '../ops/scale.js';
import { Tensor } from '../tensor/tensor.js';
import type { Ceilings } from './ceilings.js';
import { normal, randomInput } from './inputs.js';
import { type Effort, timed } from './measure.js';

export interface OpRow {
  readonly op: string;
  readonly shape: string;
  /** The chosen kernels, or the name of one that ran instead of a chosen one. */
  readonly variant: string;
  readonly ms: number;
  readonly gflops: number;
  readonly gbps: number;
  /** Of the nearer ceiling, arithmetic or memory. Data that stays in caches can exceed the latter. */
  readonly percent_of_ceiling: number;
}

export interface OpsOptions {
  readonly effort: Effort;
  readonly ceilings: Ceilings;
  /** Also run the kernels that were not chosen. */
  readonly variants: boolean;
  /** Mixed precision, with the dtypes of training. */
  readonly half: boolean;
  readonly wanted: (name: string) => boolean;
  readonly onRow?: (row: OpRow) => void;
}

interface Task {
  readonly op: string;
  readonly shape: string;
  readonly flops: number;
  readonly bytes: number;
  readonly run: () => void;
}

export async function benchOps(gpu: Gpu, options: OpsOptions): Promise<OpRow[]> {
  const rows: OpRow[] = [];
  for (const op of ops)
    for (const sample of op.bench ?? [largest(op)]) {
      const shape = describeSample(op, sample);
      const names = [op.name, `${op.name}.backward`].filter((name) => options.wanted(`${name} ${shape}`));
      if (names.length === 0) continue;
      const narrow = options.half && autocast(() => productType(gpu)) === 'f16';
      const { tasks, release } = prepare(gpu, op, sample, narrow);
      for (const task of tasks)
        if (names.includes(task.op)) rows.push(...(await benchTask(gpu, task, options)));
      release();
      gpu.pool.trim();
    }
  return rows;
}

function largest(op: AnyOp): AnySample {
  const size = (sample: AnySample) =>
    Object.values(shapesOf(sample)).reduce((n, shape) => n + numel(shape), 0);
  return op.samples.toSorted((a, b) => size(b) - size(a))[0] as AnySample;
}

/** The forward pass and, where there is one, the backward pass into gradients of all differentiable inputs. */
function prepare(
  gpu: Gpu,
  op: AnyOp,
  sample: AnySample,
  narrow: boolean,
): { tasks: Task[]; release: () => void } {
  const attrs = narrow ? { ...sample.attrs, dtype: 'f16' } : sample.attrs;
  const shapes = shapesOf(sample);
  const inputs = mapInputs(sample.inputs, (input, name) => {
    const tensor = randomInput(gpu, input);
    return narrow && op.halves ? asInTraining(tensor, op.halves.includes(name)) : tensor;
  });
  const output = Tensor.empty(gpu, op.shape(shapes, attrs), op.dtype?.(inputs, attrs));
  const saved: Saved = op.forward(inputs, output, attrs) ?? {};
  const held = [...Object.values(inputs), output, ...Object.values(saved)];
  const flops = op.flops(shapes, attrs);
  const shape = describeSample(op, sample);
  const forward = () => void op.forward(inputs, output, attrs);
  const bytes = bytesOf([...Object.values(inputs), output]);
  const tasks: Task[] = [{ op: op.name, shape, flops, bytes, run: forward }];
  if (op.backward) {
    const targets = mapInputs(inputs, ({ shape, dtype }, name): Target | undefined =>
      hasGradient(op, name) ? { tensor: Tensor.empty(gpu, shape, dtype), accumulate: false } : undefined,
    );
    const dy = Tensor.empty(gpu, output.shape, output.dtype);
    const values = normal(gpu, output.shape);
    castInto(values, dy);
    values.release();
    const call: BackwardCall<string, unknown, unknown> = {
      ...{ inputs, output, saved, attrs, dy },
      grad: (name) => targets[name] as Target,
      wanted: (name) => targets[name] ?? null,
      pass: () => true,
    };
    const read = (op.needs.inputs ?? []).flatMap((name) => inputs[name] ?? []);
    const gradients = given(targets).map(([, { tensor }]) => tensor);
    const touched = [...read, ...Object.values(saved), dy, ...gradients];
    if (op.needs.output) touched.push(output);
    held.push(dy, ...gradients);
    tasks.push({
      op: `${op.name}.backward`,
      shape,
      flops: (op.backwardFlops ?? 1) * flops,
      bytes: bytesOf(touched),
      run: () => op.backward?.(call),
    });
  }
  const release = () => {
    for (const tensor of held) {
      tensor.half?.release();
      tensor.release();
    }
  };
  return { tasks, release };
}

const bytesOf = (tensors: readonly Tensor[]): number => tensors.reduce((sum, { bytes }) => sum + bytes, 0);

/** An activation in f16; a weight with its copy. */
function asInTraining(tensor: Tensor, activation: boolean): Tensor {
  if (tensor.dtype !== 'f32') return tensor;
  const half = Tensor.empty(tensor.gpu, tensor.shape, 'f16');
  castInto(tensor, half);
  if (!activation) {
    tensor.half = half;
    return tensor;
  }
  tensor.release();
  return half;
}

/** A row for the kernels that the adapter chooses, and one for each other kernel that can replace one of them. */
async function benchTask(gpu: Gpu, task: Task, options: OpsOptions): Promise<OpRow[]> {
  const rows: OpRow[] = [];
  const measure = async (variant: () => string | null) => {
    gpu.diagnostics.picked.clear();
    const body = options.half ? () => autocast(task.run) : task.run;
    const ms = await timed(gpu, body, options.effort);
    const name = variant();
    if (ms === null || name === null) return;
    const row = rowOf(task, name, ms, options.ceilings);
    rows.push(row);
    options.onRow?.(row);
  };
  gpu.diagnostics.preferences.clear();
  await measure(() => [...gpu.diagnostics.picked.values()].map(({ kernel }) => kernel).join(' + ') || '-');
  const chosen = [...gpu.diagnostics.picked.values()];
  if (!options.variants) return rows;
  for (const { family, kernel } of chosen)
    for (const { kernel: other } of family.variants) {
      if (other.name === kernel) continue;
      gpu.diagnostics.preferences.set(family.name, other.name);
      // Where the other kernel cannot run this shape, the chosen one ran again.
      await measure(() =>
        gpu.diagnostics.picked.get(family.name)?.kernel === other.name ? other.name : null,
      );
      gpu.diagnostics.preferences.clear();
    }
  return rows;
}

function rowOf({ op, shape, flops, bytes }: Task, variant: string, ms: number, ceilings: Ceilings): OpRow {
  const gflops = flops / ms / 1e6;
  const gbps = bytes / ms / 1e6;
  const percent_of_ceiling = 100 * Math.max(gflops / ceilings.gflops, gbps / ceilings.gbps);
  return { op, shape, variant, ms, gflops, gbps, percent_of_ceiling };
}
