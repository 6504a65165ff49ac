/**
 * Reverse-mode differentiation: a flat list of records in execution order (Wengert's list). Reversed, it is a
 * topological order, so backward is one walk.
 */
import { ShapeError } from '../core/errors.js';
import { keep, scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { hasGradient, type Inputs, mapInputs } from './inputs.js';
import type { AnyOp, BackwardCall, Saved, Target } from './op.js';
import { originOf } from './origin.js';

/** One run of an op. Attributes and saved tensors are of that op's own types. */
export interface TapeRecord {
  readonly op: AnyOp;
  readonly inputs: Inputs<Tensor>;
  readonly output: Tensor;
  readonly saved: Saved | undefined;
  readonly attrs: unknown;
}

/** A part of the forward pass that kept nothing but its inputs. The backward pass runs `body` again. */
export interface Recomputation {
  /** Computes the output again, from the same inputs. */
  readonly body: () => Tensor;
  readonly inputs: readonly Tensor[];
  readonly output: Tensor;
  /** Floating-point operations of `body`. */
  readonly flops: number;
}

let active: Tape | null = null;

export const activeTape = (): Tape | null => active;

/** Records the ops that run inside `run`, and differentiates what they computed. */
export class Tape {
  /** Everything that ran, in order. A backward pass removes what it is done with. */
  readonly records: (TapeRecord | Recomputation)[] = [];

  /** Runs `body` with this tape recording; tensors made in it and not returned are freed unless backward needs them. */
  run<T>(body: () => T): T {
    const before = active;
    active = this;
    try {
      return scope(body);
    } catch (error) {
      this.clear();
      throw error;
    } finally {
      active = before;
    }
  }

  /** Puts a run on the tape when a gradient of one of its inputs is needed. */
  record(record: TapeRecord): void {
    const { op, inputs } = record;
    if (!Object.keys(inputs).some((name) => inputs[name]?.requiresGrad && hasGradient(op, name))) return;
    record.output.requiresGrad = true;
    for (const tensor of held(record)) tensor.retain();
    this.records.push(record);
  }

  /** Puts a part of the forward pass on the tape whose records the backward pass makes again. See `checkpoint`. */
  recompute(part: Recomputation): void {
    for (const tensor of held(part)) tensor.retain();
    this.records.push(part);
  }

  /**
   * Writes the gradients of the loss into the `grad` of every leaf that has one; with `accumulate`, adds them to its
   * contents. `gradient` is the gradient with respect to `output`, of its shape. Where `output` has one element, `gradient`
   * may be left out and is `seed`. The tape is empty afterwards. Throws ShapeError where `gradient` is missing.
   */
  backward(output: Tensor, options: { gradient?: Tensor; seed?: number; accumulate?: boolean } = {}): void {
    const { gradient, seed = 1, accumulate = false } = options;
    if (!gradient && output.size !== 1)
      throw new ShapeError('backward', `needs one element or the gradient of ${output}.`);
    const gradients = new Gradients(accumulate);
    const start =
      gradient?.retain() ?? keep(Tensor.from(output.gpu, new Float32Array([seed]), output.shape, 'dloss'));
    gradients.start(output, start);
    try {
      for (let record = this.records.pop(); record; record = this.records.pop())
        if ('body' in record) this.repeat(record, gradients);
        else walk(record, gradients);
    } finally {
      gradients.clear();
      this.clear();
    }
  }

  /** Frees everything that the records hold, without a backward pass. */
  clear(): void {
    for (const record of this.records.splice(0)) for (const tensor of held(record)) tensor.release();
  }

  /** Floating-point operations of the recorded forward passes. */
  get flops(): number {
    return this.records.reduce((sum, record) => {
      if ('body' in record) return sum + record.flops;
      const { op, inputs, attrs } = record;
      const shapes = mapInputs(inputs, ({ shape }) => shape);
      return sum + op.flops(shapes, attrs);
    }, 0);
  }

  /** Runs the body of a part again. Its records are then the last of the tape, and the walk goes on with them. */
  private repeat(part: Recomputation, gradients: Gradients): void {
    const dy = gradients.take(part.output);
    try {
      if (dy) scope(() => gradients.start(this.run(part.body), dy.retain()));
    } finally {
      dy?.release();
      for (const tensor of held(part)) tensor.release();
    }
  }
}

/** Computes the gradients of one record from the gradient of its output, then frees the tensors that the record held. */
function walk(record: TapeRecord, gradients: Gradients): void {
  const dy = gradients.take(record.output);
  try {
    if (!dy) return;
    const { op, inputs, attrs } = record;
    dy.gpu.within(originOf(op, 'backward', inputs, attrs), () =>
      scope(() => op.backward?.(gradients.call(record, dy))),
    );
  } finally {
    dy?.release();
    for (const tensor of held(record)) tensor.release();
  }
}

function held(record: TapeRecord | Recomputation): readonly Tensor[] {
  if ('body' in record) return record.inputs;
  const { op, inputs, output, saved } = record;
  return [
    ...(op.needs.inputs ?? []).flatMap((name) => inputs[name] ?? []), // an input may be left out
    ...(op.needs.output ? [output] : []),
    ...Object.values(saved ?? {}),
  ];
}

/** The gradients of one backward pass, by tensor. Each is released by whoever takes it. */
class Gradients {
  private readonly known = new Map<Tensor, Tensor>();
  private readonly written = new Set<Tensor>();

  constructor(private readonly accumulate: boolean) {}

  start(tensor: Tensor, gradient: Tensor): void {
    this.known.set(tensor, gradient);
  }

  take(tensor: Tensor): Tensor | undefined {
    const gradient = this.known.get(tensor);
    this.known.delete(tensor);
    return gradient;
  }

  /** Releases the gradients that nobody took: those of leaves without a `grad`. */
  clear(): void {
    for (const gradient of this.known.values()) gradient.release();
    this.known.clear();
  }

  call(record: TapeRecord, dy: Tensor): BackwardCall<string, unknown, unknown> {
    const { op, inputs } = record;
    const needed = (name: string) => inputs[name]?.requiresGrad === true;
    const input = (name: string): Tensor => {
      const tensor = inputs[name];
      if (tensor) return tensor;
      throw new Error(`${op.name} ran without ${name}, which therefore has no gradient.`);
    };
    return {
      ...record,
      dy,
      grad: (name) => this.target(input(name)),
      wanted: (name) => (needed(name) ? this.target(input(name)) : null),
      pass: (name) => !needed(name) || this.pass(input(name), dy),
    };
  }

  private target(tensor: Tensor): Target {
    if (tensor.grad) {
      const accumulate = this.accumulate || this.written.has(tensor);
      this.written.add(tensor);
      return { tensor: tensor.grad, accumulate };
    }
    const known = this.known.get(tensor);
    const fresh = () => keep(Tensor.empty(tensor.gpu, tensor.shape, tensor.dtype, `d${tensor.label}`));
    if (!known) {
      const made = fresh();
      this.known.set(tensor, made);
      return { tensor: made, accumulate: false };
    }
    if (!known.shared) return { tensor: known, accumulate: true };
    // Another tensor's gradient is the same memory: adding in place would change both.
    const own = fresh();
    tensor.gpu.copy(known, own);
    known.release();
    this.known.set(tensor, own);
    return { tensor: own, accumulate: true };
  }

  private pass(tensor: Tensor, dy: Tensor): boolean {
    if (tensor.grad || this.known.has(tensor)) return false;
    this.known.set(tensor, dy.retain());
    return true;
  }
}
