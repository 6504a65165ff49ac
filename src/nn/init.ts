/** Initial values of parameters, as in PyTorch and timm. */
import { orthonormal } from '../core/factors.js';
import type { Shape } from '../core/shape.js';
import { numel } from '../core/shape.js';
import type { Init } from '../tensor/parameter.js';

/** The same value for all elements. */
export const constant =
  (value: number): Init =>
  () =>
  () =>
    value;
export const zeros: Init = constant(0);
export const ones: Init = constant(1);

/** Normal distribution truncated to [-2, 2], as torch's trunc_normal_: the bounds are absolute and not multiples of `std`. */
export const truncNormal =
  (std: number): Init =>
  (random) =>
  () => {
    for (;;) {
      const value = std * random.normal();
      if (Math.abs(value) <= 2) return value;
    }
  };

/** Normal distribution with mean 0 and standard deviation `std`. */
export const normal =
  (std: number): Init =>
  (random) =>
  () =>
    std * random.normal();

const uniform =
  (bound: (shape: Shape) => number): Init =>
  (random, shape) => {
    const limit = bound(shape);
    return () => limit * (2 * random.uniform() - 1);
  };

const fanIn = (shape: Shape): number => numel(shape.slice(1));

/** U(±1/√fan_in): PyTorch's default for the weights of Linear and Conv2d (kaiming_uniform_ with a = √5). */
export const kaimingUniform: Init = uniform((shape) => 1 / Math.sqrt(fanIn(shape)));

/** U(±1/√fan_in) for a bias. Its shape does not tell the fan-in, so `inputs` does. */
export const biasUniform = (inputs: number): Init => uniform(() => 1 / Math.sqrt(inputs));

/** U(±√(6/(fan_in + fan_out))): xavier_uniform_. */
export const xavierUniform: Init = uniform((shape) => Math.sqrt(6 / (fanIn(shape) + (shape[0] as number))));

/**
 * torch.nn.init.orthogonal_ with gain 1 (Saxe et al., 2014), for each of `parts` matrices that the weight stacks: its rows or
 * its columns, whichever are fewer, are orthonormal.
 *
 * Layers in a pre-norm block read LayerNorm's output, of variance 1. With gain 1 queries and keys have variance 1, too,
 * which is what attention's 1/√head_dim is for, and no layer lets a vector grow.
 */
const orthogonal =
  (parts = 1): Init =>
  (random, shape) => {
    const [rows, columns] = [(shape[0] as number) / parts, fanIn(shape)];
    const [count, length] = [Math.min(rows, columns), Math.max(rows, columns)];
    const matrices = Array.from({ length: parts }, () => orthonormal(count, length, () => random.normal()));
    return (i) => {
      const [row, column] = [Math.floor(i / columns) % rows, i % columns];
      const matrix = matrices[Math.floor(i / (rows * columns))] as Float64Array;
      return matrix[rows <= columns ? row * length + column : column * length + row] as number;
    };
  };

/** The initial values of a linear layer; `inputs` of the bias is the layer's fan-in. */
/** Initial values of a linear layer. */
export interface LayerInit {
  readonly weight: Init;
  /** Of the bias of a layer with so many inputs. */
  readonly bias: (inputs: number) => Init;
}

/** The names of `schemes`. */
export type Scheme = 'timm' | 'pytorch' | 'orthogonal';

/**
 * Initial values of linear layers. `timm`: truncated normal 0.02, zero biases. `pytorch`: the defaults of nn.Linear.
 * `orthogonal`: orthogonal weights, zero biases.
 */
export const schemes: Record<Scheme, LayerInit> = {
  timm: { weight: truncNormal(0.02), bias: () => zeros },
  pytorch: { weight: kaimingUniform, bias: biasUniform },
  orthogonal: { weight: orthogonal(), bias: () => zeros },
};

/**
 * Initial values of the qkv projection. `pytorch`: Xavier and zero biases, as in nn.MultiheadAttention. `orthogonal`: queries,
 * keys and values each by itself.
 */
export const packedAttention: Record<Scheme, LayerInit> = {
  timm: schemes.timm,
  pytorch: { weight: xavierUniform, bias: () => zeros },
  orthogonal: { weight: orthogonal(3), bias: () => zeros },
};

/** Initial values of attention's output projection. `pytorch`: nn.Linear with a zero bias, as in nn.MultiheadAttention. */
export const attentionOutput: Record<Scheme, LayerInit> = {
  timm: schemes.timm,
  pytorch: { weight: kaimingUniform, bias: () => zeros },
  orthogonal: schemes.orthogonal,
};
