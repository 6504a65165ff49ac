/** Initial values of parameters, as in PyTorch and timm. */
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

/** The initial values of a linear layer; `inputs` of the bias is the layer's fan-in. */
export interface LayerInit {
  readonly weight: Init;
  readonly bias: (inputs: number) => Init;
}

export type Scheme = 'timm' | 'pytorch';

/** Initial values of linear layers. `timm`: truncated normal 0.02, zero biases. `pytorch`: the defaults of nn.Linear. */
export const schemes: Record<Scheme, LayerInit> = {
  timm: { weight: truncNormal(0.02), bias: () => zeros },
  pytorch: { weight: kaimingUniform, bias: biasUniform },
};

/** Initial values of the qkv projection. `pytorch`: Xavier and zero biases, as in nn.MultiheadAttention. */
export const packedAttention: Record<Scheme, LayerInit> = {
  timm: schemes.timm,
  pytorch: { weight: xavierUniform, bias: () => zeros },
};

/** Initial values of attention's output projection. `pytorch`: nn.Linear with a zero bias, as in nn.MultiheadAttention. */
export const attentionOutput: Record<Scheme, LayerInit> = {
  timm: schemes.timm,
  pytorch: { weight: kaimingUniform, bias: () => zeros },
};
