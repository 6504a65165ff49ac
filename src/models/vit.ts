/**
 * The Vision Transformer (Dosovitskiy et al., 2021), pre-norm, with timm's parameter names and layouts.
 * Shapes: B images, C channels, H x W pixels, N tokens, D embed_dim, K classes.
 */

import { checkpoint } from '../autograd/checkpoint.js';
import { ConfigError } from '../core/errors.js';
import { resizeGrids, resizing, weightResizing } from '../core/resize.js';
import { stream } from '../core/rng.js';
import { Dropout, dropPathRates, requireKey, Streams } from '../nn/dropout.js';
import { normal, type Scheme, schemes, truncNormal, zeros } from '../nn/init.js';
import { LayerNorm, Linear } from '../nn/layers.js';
import { type Mode, type ModelPart, partsOf } from '../nn/module.js';
import type { Tokenizer } from '../nn/patch_embed.js';
import { sincos2d } from '../nn/positions.js';
import { Block } from '../nn/transformer.js';
import { add, averagePool, keepTokens, meanTokens, prependToken, takeToken } from '../ops/index.js';
import { type Init, Parameter } from '../tensor/parameter.js';
import type { Tensor } from '../tensor/tensor.js';
import { type ImageInit, Model, type ModelImages, type SummaryRow } from './model.js';
import { type VitConfig, type VitOptions, vitConfig } from './vit_config.js';
import { tokenizerFromImages, tokenizerOf } from './vit_tokenizer.js';

// timm draws the class token with standard deviation 1e-6 and positions with 0.02; PyTorch's tutorials start both at zero.
// Orthogonal weights say nothing about vectors, which start as timm's.
const tokenInit: Record<Scheme, Init> = { timm: normal(1e-6), pytorch: zeros, orthogonal: normal(1e-6) };
// Registers need random initial values in both schemes, because equal registers would stay equal. timm draws them so.
const registerInit = normal(1e-6);
const positionInit: Record<Scheme, Init> = {
  timm: truncNormal(0.02),
  pytorch: zeros,
  orthogonal: truncNormal(0.02),
};

/** A head whose first logits are all zero: the first loss is ln K, and the first step moves the head alone. */
const zeroInit = { weight: zeros, bias: () => zeros };

/** Tokens and positions have no weight decay, as in timm's VisionTransformer.no_weight_decay (1.0.29). */
const TOKEN = { decays: false };

/**
 * A Vision Transformer with a class token or mean pooling, optional registers, LayerScale and QK norm. Throws a
 * ConfigError if the options do not fit together.
 */
export class VisionTransformer extends Model {
  readonly config: VitConfig & Readonly<Record<string, unknown>>;
  readonly images: ModelImages;
  readonly label: string;
  readonly clsToken: Parameter | null; // (1, 1, D)
  readonly regToken: Parameter | null; // (1, R, D)
  readonly posEmbed: Parameter; // (1, N, D)
  readonly patchEmbed: Tokenizer;
  readonly blocks: readonly Block[];
  readonly norm: LayerNorm | null; // after the blocks, for the class token
  readonly fcNorm: LayerNorm | null; // after the mean, for mean pooling
  readonly head: Linear;
  private readonly dropout: Dropout;

  constructor(options: VitOptions = {}) {
    super();
    const config = vitConfig(options);
    const { embedDim: D, tokens, depth, channels, classes, eps, init, regTokens } = config;
    const [height, width] = config.imageSize;
    const streams = new Streams();
    this.config = { ...config };
    this.images = { channels, height, width, classes };
    this.label = labelOf(config);
    this.clsToken = config.pool === 'cls' ? new Parameter([1, 1, D], tokenInit[init], TOKEN) : null;
    this.regToken = regTokens > 0 ? new Parameter([1, regTokens, D], registerInit, TOKEN) : null;
    this.posEmbed =
      config.posEmbed === 'learn'
        ? new Parameter([1, tokens, D], positionInit[init], TOKEN)
        : new Parameter([1, tokens, D], sincos2d(config.grid, config.prefix), { kind: 'fixed' });
    this.patchEmbed = tokenizerOf(config);
    this.dropout = new Dropout(config.embedDropout, streams);
    this.blocks = dropPathRates(config.dropPath, depth, config.dropPathMode).map(
      (dropPath, index) => new Block({ ...config, width: D, dropPath, index }, streams),
    );
    this.norm = config.pool === 'cls' ? new LayerNorm(D, eps) : null;
    this.fcNorm = config.pool === 'mean' ? new LayerNorm(D, eps) : null;
    this.head = new Linear(D, classes, config.zeroHead ? zeroInit : schemes[init]);
    this.parameters(); // names the parameters
  }

  /** Logits (B, K) of images (B, C, H, W). */
  forward(images: Tensor, mode: Mode = { training: false }): Tensor {
    const { seen, imageSize } = this.config;
    const smaller = seen[0] < imageSize[0] || seen[1] < imageSize[1];
    let x = this.patchEmbed.forward(smaller ? averagePool(images, seen) : images); // (B, patches, D)
    if (this.regToken) x = prependToken(x, this.regToken.tensor);
    if (this.clsToken) x = prependToken(x, this.clsToken.tensor); // (B, N, D): class token, registers, patches
    x = this.dropout.forward(add(x, this.posEmbed.tensor), mode);
    x = this.keepTokens(x, mode);
    for (const block of this.blocks) {
      x = this.run(block, x, mode); // (B, N, D)
      mode.observeBlock?.(x);
    }
    return this.readOut(x);
  }

  /** Logits (B, K) of tokens (B, N, D): the class token or the mean of the patches, LayerNorm, head. */
  readOut(x: Tensor): Tensor {
    // LayerNorm works on each token alone, so the class token is taken first and the other tokens are not normalised.
    const pooled = this.norm ? this.norm.forward(takeToken(x, 0)) : meanTokens(x, this.config.prefix); // (B, D)
    return this.head.forward(this.fcNorm ? this.fcNorm.forward(pooled) : pooled);
  }

  /** PatchDropout in training: x (B, N, D) with a random choice of the patches. The identity in evaluation. */
  private keepTokens(x: Tensor, mode: Mode): Tensor {
    const { prefix, tokens, trainingTokens } = this.config;
    if (!mode.training || trainingTokens === tokens) return x;
    const attrs = { prefix, kept: trainingTokens - prefix, stream: stream.tokens };
    return keepTokens(x, requireKey(mode), attrs);
  }

  private run(block: Block, x: Tensor, mode: Mode): Tensor {
    // The backward pass begins with the last block, so what that block keeps is needed at once (timm's skip_last).
    const kept = !this.config.gradCheckpointing || block === this.blocks.at(-1);
    return kept ? block.forward(x, mode) : checkpoint((input) => block.forward(input, mode), x);
  }

  /** Floating-point operations of the forward pass of one image in evaluation: matrix products and attention only. */
  flops(): number {
    const { embedDim: D, hidden, depth, tokens, classes, seen } = this.config;
    const block = 2 * tokens * (4 * D * D + 2 * D * hidden) + 4 * tokens * tokens * D;
    return this.patchEmbed.flops(seen) + depth * block + 2 * D * classes;
  }

  classifier(): readonly Parameter[] {
    return partsOf(this.head);
  }

  override fromImages(): ImageInit | null {
    return tokenizerFromImages(this.config, this.patchEmbed);
  }

  /** As in BEiT: patch embedding, tokens and positions are one layer, then each block, then the last norm and the head. */
  override layers(): readonly (readonly Parameter[])[] {
    const { clsToken, regToken, posEmbed, patchEmbed, blocks, norm, fcNorm, head } = this;
    return [
      partsOf(clsToken, regToken, posEmbed, patchEmbed),
      ...blocks.map((block) => partsOf(block)),
      partsOf(norm, fcNorm, head),
    ];
  }

  /**
   * Learned positions on another grid are resized as timm's resample_abs_pos_embed does, the class token and registers apart. The
   * weights of patches of another size are resized as FlexiViT does (timm's resample_patch_embed).
   */
  override resampled(name: string, values: Float32Array, from: Model): Float32Array | null {
    if (!(from instanceof VisionTransformer)) throw new Error(`${name} is not of a Vision Transformer.`);
    const { config: own } = this;
    const { config: other } = from;
    const along = (
      by: (from: number, to: number) => ReturnType<typeof resizing>,
      before: readonly [number, number],
      after: readonly [number, number],
    ) => [by(before[0], after[0]), by(before[1], after[1])] as const;
    if (name === 'patch_embed.proj.weight') {
      const axes = along(weightResizing, other.geometry.patch, own.geometry.patch);
      return resizeGrids(values, own.embedDim * own.channels, axes, 1);
    }
    if (name !== 'pos_embed')
      throw new ConfigError(
        `--phases cannot change the size of ${name}: only plain patches and positions are resized.`,
      );
    if (!this.posEmbed.trained) return null;
    const prefix = values.subarray(0, other.prefix * other.embedDim);
    const axes = along(resizing, other.grid, own.grid);
    return concatenated(prefix, resizeGrids(values.subarray(prefix.length), 1, axes, own.embedDim));
  }

  describe(): string {
    const { tokens, embedDim, depth, heads, headDim, hidden, pool, geometry, tokenizer, locality } =
      this.config;
    return (
      `Vision Transformer of width ${embedDim}, ${depth} blocks, ${heads} heads of ${headDim}, MLP of ${hidden}, ` +
      `${PATCHES[tokenizer]} of ${geometry.patch.join(' x ')} (${tokens} tokens), ${pool === 'cls' ? 'class token' : 'mean pooling'}${locality ? ', locality self-attention' : ''}`
    );
  }

  protected rows(): readonly SummaryRow[] {
    const { tokens, embedDim: D, depth, grid, classes, regTokens, tokenizer } = this.config;
    const { clsToken, regToken, posEmbed, patchEmbed, blocks, norm, fcNorm, head } = this;
    const embedding = tokenizer === 'patch' ? 'patch_embed.proj' : 'patch_embed';
    const row = (name: string, shape: string, ...parts: readonly ModelPart[]) => ({
      name,
      shape,
      parameters: partsOf(...parts),
    });
    return [
      row('cls_token', `(1, 1, ${D})`, clsToken),
      row('reg_token', `(1, ${regTokens}, ${D})`, regToken),
      row('pos_embed', `(B, ${tokens}, ${D})`, posEmbed),
      row(embedding, `(B, ${grid[0] * grid[1]}, ${D})`, patchEmbed),
      row(`blocks (${depth})`, `(B, ${tokens}, ${D})`, ...blocks),
      row('norm', `(B, ${D})`, norm),
      row('fc_norm', `(B, ${D})`, fcNorm),
      row('head', `(B, ${classes})`, head),
    ];
  }
}

function concatenated(a: Float32Array, b: Float32Array): Float32Array<ArrayBuffer> {
  const both = new Float32Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** The source of the tokens, in words for `describe`. */
const PATCHES: Record<VitConfig['tokenizer'], string> = {
  patch: 'patches',
  shifted: 'shifted patches',
  conv: 'a convolutional stem for patches',
};

/** `192/12/3 p4 mlp 4 cls`: width, depth, heads, patch size, MLP ratio, pooling. A tokenizer other than `patch` is named. */
function labelOf(config: VitConfig): string {
  const { embedDim, depth, heads, geometry, mlpRatio, pool, seen, tokenizer } = config;
  const tokens = `p${geometry.patch[0]}${tokenizer === 'patch' ? '' : ` ${tokenizer}`}`;
  const size = seen[0] === 32 ? '' : ` ${seen.join('x')}`;
  return `${embedDim}/${depth}/${heads} ${tokens} mlp ${mlpRatio} ${pool}${size}`;
}
