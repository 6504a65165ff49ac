/** What an operation is: one record that the engine runs and from which tests, benchmarks and tables are made. */
import { need, type Shape } from '../core/shape.js';
import { type DType, Tensor } from '../tensor/tensor.js';
import { activeTape } from './tape.js';

/** Where a gradient goes: written, or added to what is there. */
export interface Target {
  readonly tensor: Tensor;
  readonly accumulate: boolean;
}

export interface BackwardCall<A> {
  readonly inputs: readonly Tensor[];
  readonly output: Tensor;
  readonly saved: readonly Tensor[];
  readonly attrs: A;
  /** The gradient of the loss with respect to `output`, of its shape. */
  readonly dy: Tensor;
  /** Whether anyone wants the gradient of input i. */
  wants(i: number): boolean;
  /** The place for the gradient of input i. */
  grad(i: number): Target;
  /** Says that dy itself is the gradient of input i; false when it must be added or copied to `grad(i)` instead. */
  pass(i: number): boolean;
}

/** Inputs of a sample: a shape (normal values), or integers below a bound, or rows of probabilities. */
export type SampleInput = Shape | { u32: Shape; below: number } | { rows: Shape };

export interface Sample<A> {
  readonly inputs: readonly SampleInput[];
  readonly attrs: A;
}

export interface Op<A> {
  readonly name: string;
  /** The formula with shapes, for the table of ops. */
  readonly formula: string;
  /** The output's shape; throws ShapeError when the inputs cannot be. */
  shape(inputs: readonly Shape[], attrs: A): Shape;
  /** The output's dtype; f32 when absent. */
  dtype?(inputs: readonly Tensor[], attrs: A): DType;
  /** Inputs that may be of f16; their gradients are then too. */
  readonly halves?: readonly number[];
  /** Computes `output`; returns what backward needs beyond inputs and output. */
  forward(inputs: readonly Tensor[], output: Tensor, attrs: A): Tensor[];
  /** Writes the wanted gradients; absent when there is nothing to differentiate. */
  backward?(call: BackwardCall<A>): void;
  /** Which values backward reads, so that all others can be freed: indices of inputs, and the output. */
  readonly needs: { readonly inputs?: readonly number[]; readonly output?: boolean };
  /** Inputs that have a gradient; all when absent. */
  readonly differentiable?: readonly number[];
  /** Floating-point operations of the forward pass, a multiply-add being two. */
  flops(inputs: readonly Shape[], attrs: A): number;
  /** The specification: the same function of float64 values. */
  reference(inputs: readonly Float64Array[], shapes: readonly Shape[], attrs: A): Float64Array;
  /** For ops that are sums of products: how many terms; the test then bounds rounding rigorously. */
  terms?(shapes: readonly Shape[], attrs: A): number;
  /** For ops that compose sums and functions: what the forward pass may be off by; the usual figure when absent. */
  readonly tolerance?: { readonly atol: number; readonly rtol: number };
  readonly samples: readonly Sample<A>[];
  /** Shapes for the benchmark: what a ViT-Tiny step at batch 64 runs. */
  readonly bench?: readonly Sample<A>[];
  readonly errors: readonly { readonly shapes: readonly Shape[]; readonly attrs: A; readonly says: RegExp }[];
}

/** Identity; it exists so that an op's attribute type is inferred in one place. */
export const defineOp = <A>(op: Op<A>): Op<A> => op;

/** Runs an op and, while a tape records, puts it on the tape. */
export function apply<A>(op: Op<A>, inputs: readonly Tensor[], attrs: A): Tensor {
  const first = inputs[0] as Tensor;
  const shape = op.shape(
    inputs.map((input) => input.shape),
    attrs,
  );
  inputs.forEach((input, i) => {
    need(
      input.dtype !== 'f16' || (op.halves?.includes(i) ?? false),
      op.name,
      `input ${i} must not be of f16, as ${input} is.`,
    );
  });
  const output = Tensor.empty(first.gpu, shape, op.dtype?.(inputs, attrs) ?? 'f32', op.name);
  const saved = op.forward(inputs, output, attrs);
  activeTape()?.record(op, inputs, output, saved, attrs);
  return output;
}
