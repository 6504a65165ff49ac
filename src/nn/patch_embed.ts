/** Images to tokens: a convolution whose stride is usually its size, computed as im2col and one matrix product. */
import { im2col, linear, type PatchGeometry } from '../ops/index.js';
import { Parameter } from '../tensor/parameter.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Scheme, schemes } from './init.js';
import { Module } from './module.js';

class Projection extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;

  constructor(channels: number, width: number, [PH, PW]: readonly [number, number], scheme: Scheme) {
    super();
    this.weight = new Parameter([width, channels, PH, PW], schemes[scheme].weight);
    this.bias = new Parameter([width], schemes[scheme].bias(channels * PH * PW));
  }
}

/** x (B, C, H, W) to (B, N, width): torch.nn.Conv2d, then flattened row by row. */
export class PatchEmbed extends Module {
  readonly proj: Projection;

  constructor(
    channels: number,
    width: number,
    private readonly geometry: PatchGeometry,
    init: Scheme,
  ) {
    super();
    this.proj = new Projection(channels, width, geometry.patch, init);
  }

  forward(x: Tensor): Tensor {
    return linear(im2col(x, this.geometry), this.proj.weight.tensor, this.proj.bias.tensor);
  }
}
