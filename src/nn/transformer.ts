/** The parts of a pre-norm transformer encoder: attention, MLP, block. x is (B, N, C) throughout. */
import { add, attention, gelu, mlp } from '../ops/index.js';
import { scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { Dropout, DropPath, keyOf, type Streams } from './dropout.js';
import { attentionOutput, packedAttention, type Scheme, schemes } from './init.js';
import { LayerNorm, Linear } from './layers.js';
import { type Mode, Module } from './module.js';

export interface BlockOptions {
  readonly width: number;
  readonly heads: number;
  readonly hidden: number;
  readonly dropout: number;
  readonly attentionDropout: number;
  readonly dropPath: number;
  readonly eps: number;
  readonly init: Scheme;
}

/** Multi-head self-attention: qkv projection, scaled dot products with dropout on the weights, output projection. */
export class Attention extends Module {
  readonly qkv: Linear;
  readonly proj: Linear;
  private readonly heads: number;
  private readonly rate: number;
  private readonly stream: number;
  private readonly dropout: Dropout;

  constructor({ width, heads, attentionDropout, dropout, init }: BlockOptions, streams: Streams) {
    super();
    this.qkv = new Linear(width, 3 * width, packedAttention[init]);
    this.proj = new Linear(width, width, attentionOutput[init]);
    this.heads = heads;
    this.rate = attentionDropout;
    this.stream = streams.take();
    this.dropout = new Dropout(dropout, streams);
  }

  /** residual + branch(attention(x)). */
  forward(x: Tensor, mode: Mode, residual: Tensor, branch: DropPath): Tensor {
    const drop = this.rate > 0 && mode.training;
    const random = drop ? { rate: this.rate, stream: this.stream, key: keyOf(mode) } : undefined;
    const qkv = this.qkv.forward(x);
    mode.observeAttention?.(qkv);
    const mixed = attention(qkv, this.heads, random);
    if (!this.dropout.active(mode) && !branch.active(mode)) return this.proj.forward(mixed, residual);
    return add(residual, branch.forward(this.dropout.forward(this.proj.forward(mixed), mode), mode));
  }
}

/** Linear, GELU, linear, with dropout after both. */
export class Mlp extends Module {
  readonly fc1: Linear;
  readonly fc2: Linear;
  private readonly dropout1: Dropout;
  private readonly dropout2: Dropout;

  constructor({ width, hidden, dropout, init }: BlockOptions, streams: Streams) {
    super();
    this.fc1 = new Linear(width, hidden, schemes[init]);
    this.fc2 = new Linear(hidden, width, schemes[init]);
    this.dropout1 = new Dropout(dropout, streams);
    this.dropout2 = new Dropout(dropout, streams);
  }

  /** residual + branch(mlp(x)); one op when nothing is dropped on the way. */
  forward(x: Tensor, mode: Mode, residual: Tensor, branch: DropPath): Tensor {
    const { fc1, fc2, dropout1, dropout2 } = this;
    const drops = [dropout1, dropout2, branch].some((random) => random.active(mode));
    if (!drops)
      return mlp(x, fc1.weight.tensor, fc1.bias.tensor, fc2.weight.tensor, fc2.bias.tensor, residual);
    const hidden = dropout1.forward(gelu(fc1.forward(x)), mode);
    return add(residual, branch.forward(dropout2.forward(fc2.forward(hidden), mode), mode));
  }
}

/** x + attention(norm1(x)), then x + mlp(norm2(x)); a branch may be dropped for a sample. */
export class Block extends Module {
  readonly norm1: LayerNorm;
  readonly attn: Attention;
  readonly norm2: LayerNorm;
  readonly mlp: Mlp;
  private readonly dropPath1: DropPath;
  private readonly dropPath2: DropPath;

  constructor(options: BlockOptions, streams: Streams) {
    super();
    this.norm1 = new LayerNorm(options.width, options.eps);
    this.attn = new Attention(options, streams);
    this.norm2 = new LayerNorm(options.width, options.eps);
    this.mlp = new Mlp(options, streams);
    this.dropPath1 = new DropPath(options.dropPath, streams);
    this.dropPath2 = new DropPath(options.dropPath, streams);
  }

  forward(x: Tensor, mode: Mode): Tensor {
    return scope(() => {
      const mixed = this.attn.forward(this.norm1.forward(x), mode, x, this.dropPath1);
      return this.mlp.forward(this.norm2.forward(mixed), mode, mixed, this.dropPath2);
    });
  }
}
