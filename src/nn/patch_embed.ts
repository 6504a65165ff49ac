/** Patch embedding: a convolution, computed as im2col and one matrix product. */
import { im2col, linear, type PatchGeometry } from '../ops/index.js';
import { Parameter } from '../tensor/parameter.js';
import type { Tensor } from '../tensor/tensor.js';
import { schemes } from './init.js';
import { Module } from './module.js';

class Projection extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;

  constructor(channels: number, width: number, [PH, PW]: readonly [number, number]) {
    super();
    // The defaults of nn.Conv2d, also in timm: its init_weights_vit_timm changes linear layers only.
    const { weight, bias } = schemes.pytorch;
    this.weight = new Parameter([width, channels, PH, PW], weight);
    this.bias = new Parameter([width], bias(channels * PH * PW));
  }
}

/** x (B, C, H, W) to tokens (B, N, width): torch.nn.Conv2d, then flattened row by row. timm's PatchEmbed. */
export class PatchEmbed extends Module {
  readonly proj: Projection;

  constructor(
    channels: number,
    width: number,
    private readonly geometry: PatchGeometry,
  ) {
    super();
    this.proj = new Projection(channels, width, geometry.patch);
  }

  forward(x: Tensor): Tensor {
    return linear(im2col(x, this.geometry), this.proj.weight.tensor, this.proj.bias.tensor);
  }
}
