/** Shifted patch tokenisation (Lee, Lee and Song, 2021, "Vision Transformer for Small-Size Datasets", arXiv 2112.13492). */
import { productType } from '../autograd/autocast.js';
import { diagonalShifts, im2col, type PatchGeometry, patchGrid } from '../ops/index.js';
import type { Tensor } from '../tensor/tensor.js';
import type { LayerInit } from './init.js';
import { LayerNorm, Linear } from './layers.js';
import { type ImageSize, Tokenizer } from './patch_embed.js';

/**
 * The image and its shifts by half a patch to the four diagonals, cut into patches of 5·C channels; a LayerNorm over each
 * patch, and a linear layer. A token so sees twice its patch in height and width. The values of a patch lie channel by
 * channel, as im2col has them, and not pixel by pixel as in the paper's code.
 */
export class ShiftedPatches extends Tokenizer {
  readonly norm: LayerNorm;
  readonly linear: Linear;

  constructor(
    channels: number,
    width: number,
    private readonly geometry: PatchGeometry,
    { eps, init }: { readonly eps: number; readonly init: LayerInit },
  ) {
    super();
    const [PH, PW] = geometry.patch;
    this.norm = new LayerNorm(5 * channels * PH * PW, eps);
    this.linear = new Linear(5 * channels * PH * PW, width, init);
  }

  forward(images: Tensor): Tensor {
    const [PH, PW] = this.geometry.patch;
    const shifted = diagonalShifts(images, [Math.floor(PH / 2), Math.floor(PW / 2)]); // (B, 5·C, H, W)
    const patches = im2col(shifted, this.geometry); // (B, N, 5·C·PH·PW)
    return this.linear.forward(this.norm.forward(patches, productType(images.gpu)));
  }

  flops(image: ImageSize): number {
    const [rows, columns] = patchGrid(image, this.geometry);
    return 2 * rows * columns * this.linear.weight.size;
  }
}
