/** First values of parameters, as PyTorch and timm draw them. */
import type { Shape } from '../core/shape.js';
import { numel } from '../core/shape.js';
import type { Init } from '../tensor/parameter.js';

export const constant =
  (value: number): Init =>
  () =>
  () =>
    value;
export const zeros: Init = constant(0);
export const ones: Init = constant(1);

/** Normal with the given standard deviation, drawn again beyond two of the absolute bounds ±2 (torch's trunc_normal_). */
export const truncNormal =
  (std: number): Init =>
  (random) =>
  () => {
    for (;;) {
      const value = std * random.normal();
      if (Math.abs(value) <= 2) return value;
    }
  };

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

/** U(±1/√fan_in) for a bias, which cannot know its fan-in by itself. */
export const biasUniform = (inputs: number): Init => uniform(() => 1 / Math.sqrt(inputs));

/** U(±√(6/(fan_in + fan_out))): xavier_uniform_. */
export const xavierUniform: Init = uniform((shape) => Math.sqrt(6 / (fanIn(shape) + (shape[0] as number))));

/** The draws of one layer. */
export interface LayerInit {
  readonly weight: Init;
  readonly bias: (inputs: number) => Init;
}

export type Scheme = 'timm' | 'pytorch';

/** First values of linear layers. `timm`: truncated normal 0.02, zero biases. `pytorch`: what nn.Linear draws by itself. */
export const schemes: Record<Scheme, LayerInit> = {
  timm: { weight: truncNormal(0.02), bias: () => zeros },
  pytorch: { weight: kaimingUniform, bias: biasUniform },
};

/** nn.MultiheadAttention's own reset: Xavier for the packed projection, zero biases. */
export const packedAttention: Record<Scheme, LayerInit> = {
  timm: schemes.timm,
  pytorch: { weight: xavierUniform, bias: () => zeros },
};

/** nn.MultiheadAttention's output projection: a Linear with its bias set to zero. */
export const attentionOutput: Record<Scheme, LayerInit> = {
  timm: schemes.timm,
  pytorch: { weight: kaimingUniform, bias: () => zeros },
};
