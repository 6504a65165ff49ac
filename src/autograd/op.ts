/** An operation is one record. The engine runs it; tests, benchmarks and tables are made from it. */
import { need, type Shape } from '../core/shape.js';
import { type DType, Tensor } from '../tensor/tensor.js';
import { type ByName, given, type InputName, type Inputs, mapInputs } from './inputs.js';
import { originOf } from './origin.js';
import { activeTape } from './tape.js';

/** The place of a gradient, and whether to add to its contents or to overwrite them. */
export interface Target {
  readonly tensor: Tensor;
  readonly accumulate: boolean;
}

/** Tensors that a forward pass computes for the backward pass, by name. */
export type Saved = Readonly<Record<string, Tensor>>;

/** The result of a forward pass: the tensors that it saved, if any. */
// biome-ignore lint/suspicious/noConfusingVoidType: a forward pass that saves nothing returns nothing.
export type ForwardResult = Saved | void;

/** The arguments of a backward pass. D: declared inputs; A: attributes; S: saved tensors. */
export interface BackwardCall<D extends string, A, S> {
  readonly inputs: ByName<D, Tensor>;
  readonly output: Tensor;
  /** The tensors that forward returned. */
  readonly saved: S;
  readonly attrs: A;
  /** The gradient of the loss with respect to `output`, of its shape. */
  readonly dy: Tensor;
  /** The place for an input's gradient. Throws where the input was left out. */
  grad(name: InputName<D>): Target;
  /** The same, but null where nobody needs the input's gradient. */
  wanted(name: InputName<D>): Target | null;
  /**
   * Makes dy itself the gradient of an input, without a copy. False where that cannot be, because the gradient has a place
   * of its own or others have added to it: then dy must be added or copied to `grad(name)`.
   */
  pass(name: InputName<D>): boolean;
}

/** An input of a sample: a shape (normal values), integers below a bound, or rows of probabilities. */
export type SampleInput = Shape | { u32: Shape; below: number } | { rows: Shape };

/** Inputs and attributes to test an op with. Ops without attributes leave `attrs` out. */
export interface Sample<D extends string, A> {
  readonly inputs: ByName<D, SampleInput>;
  readonly attrs?: A;
}

/** Shapes and attributes that the op refuses, and the message. */
export interface Refusal<D extends string, A> {
  readonly shapes: ByName<D, Shape>;
  readonly attrs?: A;
  readonly says: RegExp;
}

/** An operation: its shapes, both passes, and its specification. D: declared inputs; A: attributes; S: saved tensors. */
export interface Op<D extends string, A, S extends ForwardResult> {
  readonly name: string;
  /** Names of the inputs; `name?` for one that may be left out. */
  readonly inputs: readonly D[];
  /** The formula with shapes, for the table of ops. */
  readonly formula: string;
  /** The output's shape. Throws ShapeError when the shapes of the inputs do not fit. */
  shape(shapes: ByName<D, Shape>, attrs: A): Shape;
  /** The output's dtype; f32 when absent. */
  dtype?(inputs: ByName<D, Tensor>, attrs: A): DType;
  /** Inputs that may be f16; their gradients then are f16, too. */
  readonly halves?: readonly InputName<D>[];
  /** Computes `output`. Returns the tensors that backward needs beyond inputs and output. */
  forward(inputs: ByName<D, Tensor>, output: Tensor, attrs: A): S;
  /** Writes the wanted gradients; absent for an op that has none. */
  backward?(call: BackwardCall<D, A, S>): void;
  /** The values that backward reads, of the inputs and of the output; the memory of all others is freed. */
  readonly needs: { readonly inputs?: readonly InputName<D>[]; readonly output?: boolean };
  /** Inputs that have a gradient; all when absent. */
  readonly differentiable?: readonly InputName<D>[];
  /** Floating-point operations of the forward pass; a multiply-add counts as two. */
  flops(shapes: ByName<D, Shape>, attrs: A): number;
  /** Floating-point operations of the backward pass as a multiple of the forward pass; 1 when absent. */
  readonly backwardFlops?: number;
  /** The specification: the same function in float64. */
  reference(inputs: ByName<D, Float64Array>, shapes: ByName<D, Shape>, attrs: A): Float64Array;
  /** Terms of each sum, for ops that are sums of products. The tests then use a rigorous bound on rounding. */
  terms?(shapes: ByName<D, Shape>, attrs: A): number;
  /** Tolerance of the forward pass, for ops that compose sums and functions; a common default when absent. */
  readonly tolerance?: { readonly atol: number; readonly rtol: number };
  readonly samples: readonly Sample<D, NoInfer<A>>[];
  /** Shapes for the benchmark: those of a ViT-Tiny step at batch 64. */
  readonly bench?: readonly Sample<D, NoInfer<A>>[];
  readonly errors: readonly Refusal<D, NoInfer<A>>[];
}

/** An op whose inputs and attributes are not known to the compiler. */
// biome-ignore lint/suspicious/noExplicitAny: each op has types of its own; whoever iterates over ops passes an op's own values.
export type AnyOp = Op<any, any, any>;

/** A sample of any op. */
export interface AnySample {
  readonly inputs: Inputs<SampleInput>;
  readonly attrs?: object | undefined;
}

/**
 * Returns `op` as it is; infers its types. The names come from `inputs`, the attributes' type from the parameter that is
 * annotated with it, and the names of saved tensors from `forward`, which therefore stands before `backward`.
 */
export const defineOp = <D extends string, A, S extends ForwardResult>(op: Op<D, A, S>): Op<D, A, S> => op;

/** Runs an op. While a tape records, puts it on the tape. */
export function apply<D extends string, A, S extends ForwardResult>(
  op: Op<D, A, S>,
  inputs: ByName<D, Tensor>,
  ...attrs: unknown extends A ? [attrs?: A] : [attrs: A]
): Tensor;
export function apply(op: AnyOp, inputs: Inputs<Tensor>, attrs?: unknown): Tensor {
  const shapes = mapInputs(inputs, ({ shape }) => shape);
  const shape = op.shape(shapes, attrs);
  const tensors = given(inputs);
  for (const [name, tensor] of tensors) {
    const fits = tensor.dtype !== 'f16' || op.halves?.includes(name) === true;
    need(fits, op.name, `${name} must not be of f16, as ${tensor} is.`);
  }
  const [[, first]] = tensors as [[string, Tensor]]; // every op has an input
  const output = Tensor.empty(first.gpu, shape, op.dtype?.(inputs, attrs) ?? 'f32', op.name);
  const saved = first.gpu.within(originOf(op, 'forward', inputs, attrs), () =>
    op.forward(inputs, output, attrs),
  );
  activeTape()?.record({ op, inputs, output, saved, attrs });
  return output;
}
