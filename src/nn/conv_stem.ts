/**
 * A convolutional stem (Xiao et al., 2021, "Early Convolutions Help Transformers See Better", arXiv 2106.14881; CCT's tokenizer,
 * Hassani et al., 2021, arXiv 2104.05704, is alike).
 */
import { gelu } from '../ops/index.js';
import type { Tensor } from '../tensor/tensor.js';
import { schemes } from './init.js';
import { LayerNorm, Linear } from './layers.js';
import { Module } from './module.js';
import { Convolution, type ImageSize, Tokenizer } from './patch_embed.js';

const HALVING = { patch: [3, 3], stride: [2, 2], padding: [1, 1] } as const;

/** A 3 x 3 convolution of stride 2, a LayerNorm over channels, a GELU. The LayerNorm needs no statistics over the batch. */
class Stage extends Module {
  readonly conv: Convolution;
  readonly norm: LayerNorm;

  constructor(inputs: number, outputs: number, eps: number) {
    super();
    this.conv = new Convolution(inputs, outputs, HALVING);
    this.norm = new LayerNorm(outputs, eps);
  }

  /** Images, or tokens on a grid, to tokens on a grid of half the height and width. */
  forward(x: Tensor, grid?: ImageSize): Tensor {
    return gelu(this.norm.forward(this.conv.forward(x, grid)));
  }
}

/**
 * As many stages as halvings lead from pixels to patches, log2(patch size), and a 1 x 1 convolution. Each stage has twice the
 * channels of the one before, up to the width of the tokens in the last one.
 */
export class ConvStem extends Tokenizer {
  readonly stages: readonly Stage[];
  readonly project: Linear;

  constructor(channels: number, width: number, patchSize: number, eps: number) {
    super();
    const count = Math.log2(patchSize);
    const outputs = (stage: number) => Math.ceil(width / 2 ** (count - 1 - stage));
    this.stages = Array.from(
      { length: count },
      (_, i) => new Stage(i === 0 ? channels : outputs(i - 1), outputs(i), eps),
    );
    this.project = new Linear(width, width, schemes.pytorch);
  }

  forward(images: Tensor): Tensor {
    let x = images;
    let grid: ImageSize | undefined;
    const [, , height, width] = images.shape;
    for (const stage of this.stages) {
      x = stage.forward(x, grid);
      grid = stage.conv.grid(grid ?? [height as number, width as number]);
    }
    return this.project.forward(x);
  }

  flops(image: ImageSize): number {
    let [grid, sum] = [image, 0];
    for (const { conv } of this.stages) {
      sum += conv.flops(grid);
      grid = conv.grid(grid);
    }
    return sum + 2 * grid[0] * grid[1] * this.project.weight.size;
  }
}
