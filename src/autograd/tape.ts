/**
 * Reverse-mode differentiation: a flat list of records in execution order (Wengert's list). Reversed, it is a
 * topological order, so backward is one walk.
 */
import { ShapeError } from '../core/errors.js';
import { keep, scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import type { BackwardCall, Op, Target } from './op.js';

export interface TapeRecord {
  // biome-ignore lint/suspicious/noExplicitAny: each record pairs an op with attributes of that op's own type.
  readonly op: Op<any>;
  readonly inputs: readonly Tensor[];
  readonly output: Tensor;
  readonly saved: readonly Tensor[];
  readonly attrs: unknown;
}

let active: Tape | null = null;

export const activeTape = (): Tape | null => active;

export class Tape {
  readonly records: TapeRecord[] = [];

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

  record<A>(op: Op<A>, inputs: readonly Tensor[], output: Tensor, saved: readonly Tensor[], attrs: A): void {
    const candidates = op.differentiable ?? inputs.keys();
    if (!op.backward || ![...candidates].some((i) => inputs[i]?.requiresGrad)) return;
    output.requiresGrad = true;
    const record: TapeRecord = { op, inputs, output, saved, attrs };
    for (const tensor of held(record)) tensor.retain();
    this.records.push(record);
  }

  /**
   * Gradients of `output` into the `grad` of every leaf that has one: added to what is there with `accumulate`,
   * overwriting it without. `gradient` is that of the output; for one element it may be left out and is `seed`.
   * The tape is empty afterwards.
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
      for (let record = this.records.pop(); record; record = this.records.pop()) walk(record, gradients);
    } finally {
      gradients.clear();
      this.clear();
    }
  }

  /** Frees what is saved without a backward pass. */
  clear(): void {
    for (const record of this.records.splice(0)) for (const tensor of held(record)) tensor.release();
  }

  /** Floating-point operations of what is recorded, forward only. */
  get flops(): number {
    return this.records.reduce((sum, { op, inputs, attrs }) => {
      const shapes = inputs.map((input) => input.shape);
      return sum + op.flops(shapes, attrs);
    }, 0);
  }
}

/** One record's gradients, from that of its output; what it held is free then. */
function walk(record: TapeRecord, gradients: Gradients): void {
  const dy = gradients.take(record.output);
  try {
    if (dy) scope(() => record.op.backward?.(gradients.call(record, dy)));
  } finally {
    dy?.release();
    for (const tensor of held(record)) tensor.release();
  }
}

const held = ({ op, inputs, output, saved }: TapeRecord): Tensor[] => [
  ...(op.needs.inputs ?? []).flatMap((i) => inputs[i] ?? []), // an input may be left out
  ...(op.needs.output ? [output] : []),
  ...saved,
];

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

  call<A>({ inputs, output, saved, attrs }: TapeRecord, dy: Tensor): BackwardCall<A> {
    return {
      inputs,
      output,
      saved,
      attrs: attrs as A,
      dy,
      wants: (i) => inputs[i]?.requiresGrad === true,
      grad: (i) => this.target(inputs[i] as Tensor),
      pass: (i) => this.pass(inputs[i] as Tensor, dy),
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
