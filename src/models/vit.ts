/**
 * The Vision Transformer (Dosovitskiy et al., 2021), pre-norm, with timm's names and layouts. Reads top to bottom.
 * Shapes: B images, C channels, H x W pixels, N tokens, D embed_dim, K classes.
 */

import { Dropout, dropPathRates, Streams } from '../nn/dropout.js';
import { normal, type Scheme, schemes, truncNormal, zeros } from '../nn/init.js';
import { LayerNorm, Linear } from '../nn/layers.js';
import { type Mode, Module } from '../nn/module.js';
import { PatchEmbed } from '../nn/patch_embed.js';
import { sincos2d } from '../nn/positions.js';
import { Block } from '../nn/transformer.js';
import { add, meanTokens, prependToken, takeToken } from '../ops/index.js';
import { type Init, Parameter } from '../tensor/parameter.js';
import type { Tensor } from '../tensor/tensor.js';
import { type VitConfig, type VitOptions, vitConfig } from './config.js';

// timm draws the class token with deviation 1e-6 and positions with 0.02; PyTorch's own tutorials start both at zero.
const tokenInit: Record<Scheme, Init> = { timm: normal(1e-6), pytorch: zeros };
// Registers that start the same stay the same: whatever the scheme, timm's draw.
const registerInit = normal(1e-6);
const positionInit: Record<Scheme, Init> = { timm: truncNormal(0.02), pytorch: zeros };

export class VisionTransformer extends Module {
  readonly config: VitConfig;
  readonly clsToken: Parameter | null; // (1, 1, D)
  readonly regToken: Parameter | null; // (1, R, D)
  readonly posEmbed: Parameter; // (1, N, D)
  readonly patchEmbed: PatchEmbed;
  readonly blocks: readonly Block[];
  readonly norm: LayerNorm | null; // after the blocks, for the class token
  readonly fcNorm: LayerNorm | null; // after the mean, for mean pooling
  readonly head: Linear;
  private readonly dropout: Dropout;

  constructor(options: VitOptions = {}) {
    super();
    const config = vitConfig(options);
    const { embedDim: D, tokens, depth, channels, classes, geometry, eps, init, regTokens } = config;
    const streams = new Streams();
    this.config = config;
    this.clsToken = config.pool === 'cls' ? new Parameter([1, 1, D], tokenInit[init]) : null;
    this.regToken = regTokens > 0 ? new Parameter([1, regTokens, D], registerInit) : null;
    this.posEmbed =
      config.posEmbed === 'learn'
        ? new Parameter([1, tokens, D], positionInit[init])
        : new Parameter([1, tokens, D], sincos2d(config.grid, config.prefix), false);
    this.patchEmbed = new PatchEmbed(channels, D, geometry);
    this.dropout = new Dropout(config.embedDropout, streams);
    this.blocks = dropPathRates(config.dropPath, depth, config.dropPathMode).map(
      (dropPath) => new Block({ ...config, width: D, dropPath }, streams),
    );
    this.norm = config.pool === 'cls' ? new LayerNorm(D, eps) : null;
    this.fcNorm = config.pool === 'mean' ? new LayerNorm(D, eps) : null;
    this.head = new Linear(D, classes, schemes[init]);
    this.parameters(); // gives them their names
  }

  /** Logits (B, K) of images (B, C, H, W). */
  forward(images: Tensor, mode: Mode = { training: false }): Tensor {
    let x = this.patchEmbed.forward(images); // (B, patches, D)
    if (this.regToken) x = prependToken(x, this.regToken.tensor);
    if (this.clsToken) x = prependToken(x, this.clsToken.tensor); // (B, N, D): class token, registers, patches
    x = this.dropout.forward(add(x, this.posEmbed.tensor), mode);
    for (const block of this.blocks) x = block.forward(x, mode); // (B, N, D)
    // LayerNorm works token by token, so the class token may be taken first: the other tokens are not normalised in vain.
    const pooled = this.norm ? this.norm.forward(takeToken(x, 0)) : meanTokens(x, this.config.prefix); // (B, D)
    return this.head.forward(this.fcNorm ? this.fcNorm.forward(pooled) : pooled);
  }

  numParams(): number {
    return this.parameters().reduce((sum, parameter) => sum + parameter.size, 0);
  }

  /** Floating-point operations of one image's forward pass, matrix products and attention, a multiply-add being two. */
  flops(): number {
    const { embedDim: D, hidden, depth, tokens, grid, classes } = this.config;
    const patches = grid[0] * grid[1];
    const embed = 2 * patches * D * (this.patchEmbed.proj.weight.size / D);
    const block = 2 * tokens * (4 * D * D + 2 * D * hidden) + 4 * tokens * tokens * D;
    return embed + depth * block + 2 * D * classes;
  }

  /** A table of the parts with their shapes and parameters, for people. */
  summary(): string {
    const { imageSize, channels, tokens, embedDim, depth, heads, headDim, hidden, classes, pool, geometry } =
      this.config;
    const rows: [string, string, number][] = [];
    for (const parameter of this.parameters()) {
      const part = parameter.name
        .replace(/^blocks\.\d+\..*/, `blocks (${depth})`)
        .replace(/\.(weight|bias)$/, '');
      const row = rows.find(([name]) => name === part);
      if (row) row[2] += parameter.size;
      else rows.push([part, shapeOf(part, this.config), parameter.size]);
    }
    const table = rows.map(
      ([name, shape, size]) => `  ${name.padEnd(18)}${shape.padEnd(22)}${count(size).padStart(10)}`,
    );
    return [
      `VisionTransformer: images ${channels} x ${imageSize.join(' x ')}, patches ${geometry.patch.join(' x ')}, ${tokens} tokens, ` +
        `embed_dim ${embedDim}, depth ${depth}, ${heads} heads of ${headDim}, MLP ${hidden}, pool ${pool}, ${classes} classes`,
      ...table,
      `  ${count(this.numParams())} parameters, ${(this.flops() / 1e6).toFixed(1)} MFLOP an image forward`,
    ].join('\n');
  }
}

const count = (n: number): string => n.toLocaleString('en-US');

function shapeOf(part: string, { tokens, embedDim, grid, classes, regTokens }: VitConfig): string {
  if (part.startsWith('patch_embed')) return `(B, ${grid[0] * grid[1]}, ${embedDim})`;
  if (part === 'head') return `(B, ${classes})`;
  if (part === 'cls_token') return `(1, 1, ${embedDim})`;
  if (part === 'reg_token') return `(1, ${regTokens}, ${embedDim})`;
  if (part === 'norm' || part === 'fc_norm') return `(B, ${embedDim})`;
  return `(B, ${tokens}, ${embedDim})`;
}
