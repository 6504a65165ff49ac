/** Linear, LayerNorm and LayerScale: modules with parameters and one op each. */
import { type LinearOptions, layerNorm, linear, scaleChannels } from '../ops/index.js';
import { Parameter } from '../tensor/parameter.js';
import type { DType, Tensor } from '../tensor/tensor.js';
import { constant, type LayerInit, ones, zeros } from './init.js';
import { Module } from './module.js';

/** y = x · weightᵀ + bias,   x (…, in), weight (out, in), bias (out). torch.nn.Linear. */
export class Linear extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;

  /**
   * `matrices` is the number of matrices that the weight stacks, for Muon: 3 for a qkv projection. With 0, AdamW updates the
   * weight.
   */
  constructor(inputs: number, outputs: number, init: LayerInit, matrices = 0) {
    super();
    this.weight = new Parameter([outputs, inputs], init.weight, { matrices });
    this.bias = new Parameter([outputs], init.bias(inputs));
  }

  /** x (…, in) of f32 or f16 -> (…, out). */
  forward(x: Tensor, options: LinearOptions = {}): Tensor {
    return linear(x, this.weight.tensor, this.bias.tensor, options);
  }
}

/** Normalisation over the last axis, x (…, C). torch.nn.LayerNorm. */
export class LayerNorm extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;

  constructor(
    width: number,
    readonly eps: number,
  ) {
    super();
    this.weight = new Parameter([width], ones);
    this.bias = new Parameter([width], zeros);
  }

  /** x (…, C) of f32 or f16 -> the same shape, of `dtype`. */
  forward(x: Tensor, dtype: DType = 'f32'): Tensor {
    return layerNorm(x, this.weight.tensor, this.bias.tensor, this.eps, dtype);
  }
}

/** x · gamma for each channel, x (…, C): LayerScale (Touvron et al., 2021), as timm's. */
export class LayerScale extends Module {
  readonly gamma: Parameter;

  constructor(width: number, initial: number) {
    super();
    this.gamma = new Parameter([width], constant(initial));
  }

  forward(x: Tensor): Tensor {
    return scaleChannels(x, this.gamma.tensor);
  }
}
