/** Patch embedding: a convolution whose patches are the tokens. */
import { im2col, linear, type PatchGeometry, patchGrid } from '../ops/index.js';
import { Parameter, type Role } from '../tensor/parameter.js';
import type { Tensor } from '../tensor/tensor.js';
import { type LayerInit, schemes } from './init.js';
import { Module } from './module.js';

/** Height and width of an image. */
export type ImageSize = readonly [number, number];

/** The part of a model that makes images (B, C, H, W) tokens (B, N, width), row by row. */
export abstract class Tokenizer extends Module {
  abstract forward(images: Tensor): Tensor;
  /** Floating-point operations of its matrix products for one image. */
  abstract flops(image: ImageSize): number;
}

/** How a convolution starts, and whether it is trained. */
export interface ConvolutionOptions {
  /** The defaults of nn.Conv2d when absent, as in timm: its init_weights_vit_timm changes linear layers only. */
  readonly init?: LayerInit;
  /** `fixed` for a convolution that keeps its first values; `trained` when absent. */
  readonly kind?: Role['kind'];
}

/** torch.nn.Conv2d, computed as im2col and one matrix product: weight (width, C, PH, PW), bias (width). */
export class Convolution extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;

  constructor(
    channels: number,
    width: number,
    private readonly geometry: PatchGeometry,
    { init = schemes.pytorch, kind = 'trained' }: ConvolutionOptions = {},
  ) {
    super();
    const [PH, PW] = geometry.patch;
    this.weight = new Parameter([width, channels, PH, PW], init.weight, { kind });
    this.bias = new Parameter([width], init.bias(channels * PH * PW), { kind });
  }

  /** Images (B, C, H, W), or tokens (B, H·W, C) on the given grid (H, W), to tokens (B, N, width). */
  forward(x: Tensor, grid?: ImageSize): Tensor {
    return linear(im2col(x, this.geometry, grid), this.weight.tensor, this.bias.tensor);
  }

  /** Height and width of its output. */
  grid(image: ImageSize): ImageSize {
    return patchGrid(image, this.geometry);
  }

  flops(image: ImageSize): number {
    const [rows, columns] = this.grid(image);
    return 2 * rows * columns * this.weight.size;
  }
}

/** One convolution, flattened row by row. timm's PatchEmbed. */
export class PatchEmbed extends Tokenizer {
  readonly proj: Convolution;

  constructor(channels: number, width: number, geometry: PatchGeometry, options: ConvolutionOptions = {}) {
    super();
    this.proj = new Convolution(channels, width, geometry, options);
  }

  forward(x: Tensor): Tensor {
    return this.proj.forward(x);
  }

  flops(image: ImageSize): number {
    return this.proj.flops(image);
  }
}
