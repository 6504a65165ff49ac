/**
 * Every op of the registry at its benchmark shapes, forward and backward, by every kernel variant the adapter can run.
 * Operations of a backward pass are counted by BACKWARD_FLOPS.
 */
import { autocast, productType } from '../autograd/autocast.js';
import type { BackwardCall, Op, Sample } from '../autograd/op.js';
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
  /** The kernels that were chosen from several, or the one that was asked for instead. */
  readonly variant: string;
  readonly ms: number;
  readonly gflops: number;
  readonly gbps: number;
  /** Of the ceiling it comes nearer to: arithmetic or memory. What stays in caches can exceed the latter. */
  readonly percent_of_ceiling: number;
}

export interface OpsOptions {
  readonly effort: Effort;
  readonly ceilings: Ceilings;
  /** Whether to run other kernels than the chosen ones as well. */
  readonly variants: boolean;
  /** Whether in mixed precision, with tensors as in training. */
  readonly half: boolean;
  readonly wanted: (name: string) => boolean;
  readonly onRow?: (row: OpRow) => void;
}

type AnyOp = Op<unknown>;

/**
 * Operations of a backward pass, as a multiple of the forward's; 1 where nothing is said. A product has two gradients, a
 * product each; attention's forward is two products and its backward five, the scores among them once more.
 */
const BACKWARD_FLOPS: Readonly<Record<string, number>> = { matmul: 2, linear: 2, mlp: 2, attention: 2.5 };

interface Task {
  readonly op: string;
  readonly shape: string;
  readonly flops: number;
  readonly bytes: number;
  readonly run: () => void;
}

export async function benchOps(gpu: Gpu, options: OpsOptions): Promise<OpRow[]> {
  const rows: OpRow[] = [];
  for (const op of ops as readonly AnyOp[])
    for (const sample of op.bench ?? [largest(op)]) {
      const shape = describeSample(sample);
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

function largest(op: AnyOp): Sample<unknown> {
  const size = (sample: Sample<unknown>) => shapesOf(sample).reduce((n, shape) => n + numel(shape), 0);
  return op.samples.toSorted((a, b) => size(b) - size(a))[0] as Sample<unknown>;
}

/** The forward pass and, where there is one, the backward pass into gradients of all differentiable inputs. */
function prepare(
  gpu: Gpu,
  op: AnyOp,
  sample: Sample<unknown>,
  narrow: boolean,
): { tasks: Task[]; release: () => void } {
  const attrs = narrow ? { ...(sample.attrs as object), dtype: 'f16' } : sample.attrs;
  const shapes = shapesOf(sample);
  const inputs = sample.inputs.map((input, i) => {
    const tensor = randomInput(gpu, input);
    return narrow && op.halves ? asInTraining(tensor, op.halves.includes(i)) : tensor;
  });
  const output = Tensor.empty(gpu, op.shape(shapes, attrs), op.dtype?.(inputs, attrs));
  const saved = op.forward(inputs, output, attrs);
  const held = [...inputs, output, ...saved];
  const flops = op.flops(shapes, attrs);
  const shape = describeSample(sample);
  const forward = () => void op.forward(inputs, output, attrs);
  const tasks: Task[] = [{ op: op.name, shape, flops, bytes: bytesOf([...inputs, output]), run: forward }];
  const { backward } = op;
  if (backward) {
    const wanted = new Set(op.differentiable ?? inputs.keys());
    const gradients = inputs.map((input, i) =>
      wanted.has(i) ? Tensor.empty(gpu, input.shape, input.dtype) : null,
    );
    const dy = Tensor.empty(gpu, output.shape, output.dtype);
    const values = normal(gpu, output.shape);
    castInto(values, dy);
    values.release();
    const call: BackwardCall<unknown> = {
      inputs,
      output,
      saved,
      attrs,
      dy,
      wants: (i) => wanted.has(i),
      grad: (i) => ({ tensor: gradients[i] as Tensor, accumulate: false }),
      pass: () => true,
    };
    const read = [...(op.needs.inputs ?? []).map((i) => inputs[i] as Tensor), ...saved, dy];
    const touched = [...read, ...(op.needs.output ? [output] : []), ...gradients.filter((it) => it !== null)];
    const bytes = bytesOf(touched);
    const factor = BACKWARD_FLOPS[op.name] ?? 1;
    held.push(dy, ...gradients.filter((it) => it !== null));
    tasks.push({ op: `${op.name}.backward`, shape, flops: factor * flops, bytes, run: () => backward(call) });
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

/** One row for the kernels that the adapter chooses, one for each other that can run in the place of one of them. */
async function benchTask(gpu: Gpu, task: Task, options: OpsOptions): Promise<OpRow[]> {
  const rows: OpRow[] = [];
  const measure = async (variant: () => string | null) => {
    gpu.picked.clear();
    const body = options.half ? () => autocast(task.run) : task.run;
    const ms = await timed(gpu, body, options.effort);
    const name = variant();
    if (ms === null || name === null) return;
    const row = rowOf(task, name, ms, options.ceilings);
    rows.push(row);
    options.onRow?.(row);
  };
  gpu.preferences.clear();
  await measure(() => [...gpu.picked.values()].map(({ kernel }) => kernel).join(' + ') || '-');
  const chosen = [...gpu.picked.values()];
  if (!options.variants) return rows;
  for (const { family, kernel } of chosen)
    for (const { kernel: other } of family.variants) {
      if (other.name === kernel) continue;
      gpu.preferences.set(family.name, other.name);
      // Where it cannot run this shape, the chosen one ran again.
      await measure(() => (gpu.picked.get(family.name)?.kernel === other.name ? other.name : null));
      gpu.preferences.clear();
    }
  return rows;
}

function rowOf({ op, shape, flops, bytes }: Task, variant: string, ms: number, ceilings: Ceilings): OpRow {
  const gflops = flops / ms / 1e6;
  const gbps = bytes / ms / 1e6;
  const percent_of_ceiling = 100 * Math.max(gflops / ceilings.gflops, gbps / ceilings.gbps);
  return { op, shape, variant, ms, gflops, gbps, percent_of_ceiling };
}
