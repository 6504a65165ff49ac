/** Patch embedding: a convolution, computed as im2col and one matrix product. */
import { im2col, linear, type PatchGeometry } from '../ops/index.js';
import { Parameter, type Role } from '../tensor/parameter.js';
import type { Tensor } from '../tensor/tensor.js';
import { type LayerInit, schemes } from './init.js';
import { Module } from './module.js';

/** How a patch embedding starts, and whether it is trained. */
export interface PatchEmbedOptions {
  /** The defaults of nn.Conv2d when absent, as in timm: its init_weights_vit_timm changes linear layers only. */
  readonly init?: LayerInit;
  /** `fixed` for an embedding that keeps its first values; `trained` when absent. */
  readonly kind?: Role['kind'];
}

class Projection extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;

  constructor(
    channels: number,
    width: number,
    [PH, PW]: readonly [number, number],
    { init = schemes.pytorch, kind = 'trained' }: PatchEmbedOptions,
  ) {
    super();
    this.weight = new Parameter([width, channels, PH, PW], init.weight, { kind });
    this.bias = new Parameter([width], init.bias(channels * PH * PW), { kind });
  }
}

/** x (B, C, H, W) to tokens (B, N, width): torch.nn.Conv2d, then flattened row by row. timm's PatchEmbed. */
export class PatchEmbed extends Module {
  readonly proj: Projection;

  constructor(
    channels: number,
    width: number,
    private readonly geometry: PatchGeometry,
    options: PatchEmbedOptions = {},
  ) {
    super();
    this.proj = new Projection(channels, width, geometry.patch, options);
  }

  forward(x: Tensor): Tensor {
    return linear(im2col(x, this.geometry), this.proj.weight.tensor, this.proj.bias.tensor);
  }
}
