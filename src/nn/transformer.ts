/** The parts of a pre-norm transformer encoder: attention, MLP, block. x is always (B, N, C). */
import { productType } from '../autograd/autocast.js';
import { add, attention, gelu, mlp, qkNorm, scaleQueries } from '../ops/index.js';
import { Parameter } from '../tensor/parameter.js';
import { scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { Dropout, DropPath, requireKey, type Streams } from './dropout.js';
import {
  attentionOutput,
  constant,
  type LayerInit,
  packedAttention,
  type Scheme,
  schemes,
  zeros,
} from './init.js';
import { LayerNorm, LayerScale, Linear } from './layers.js';
import { mimeticAttention } from './mimetic.js';
import { type Mode, Module } from './module.js';

/** Sizes and rates of a block. */
export interface BlockOptions {
  /** C, the embedding width. */
  readonly width: number;
  readonly heads: number;
  /** Hidden width of the MLP. */
  readonly hidden: number;
  /** Dropout rate after the MLP's GELU. */
  readonly mlpDropout: number;
  /** Dropout rate after the output projections of attention and MLP. */
  readonly residualDropout: number;
  /** Dropout rate of attention weights. */
  readonly attentionDropout: number;
  /** Drop path rate of both branches. */
  readonly dropPath: number;
  /** Initial gamma of LayerScale; 0 for no LayerScale. */
  readonly layerScale: number;
  /** True for a LayerNorm of queries and keys in each head. */
  readonly qkNorm: boolean;
  /**
   * True for locality self-attention (Lee, Lee and Song, 2021, "Vision Transformer for Small-Size Datasets"): a learned
   * temperature for each head in place of 1 / √head_dim, and no attention of a token to itself.
   */
  readonly locality: boolean;
  readonly eps: number;
  readonly init: Scheme;
  /** `mimetic`: the weights of attention's projections start as in `mimetic.ts`, whatever the scheme. */
  readonly attentionInit: 'default' | 'mimetic';
  /** The number of the block in the model, from 0. */
  readonly index: number;
}

/** LayerScale and drop path, which are applied to a branch before it is added to the residual stream. */
class Branch {
  constructor(
    private readonly scale: LayerScale | null,
    private readonly dropPath: DropPath,
  ) {}

  /** True if it is the identity. */
  plain(mode: Mode): boolean {
    return this.scale === null && !this.dropPath.active(mode);
  }

  forward(x: Tensor, mode: Mode): Tensor {
    return this.dropPath.forward(this.scale ? this.scale.forward(x) : x, mode);
  }
}

/** The initial values of attention's two projections. */
function projectionInits({
  init,
  attentionInit,
  heads,
  index,
}: BlockOptions): Record<'qkv' | 'proj', LayerInit> {
  if (attentionInit === 'default') return { qkv: packedAttention[init], proj: attentionOutput[init] };
  const { qkv, proj } = mimeticAttention(heads, index);
  const bias = () => zeros;
  return { qkv: { weight: qkv, bias }, proj: { weight: proj, bias } };
}

/** Multi-head self-attention (timm's Attention): qkv projection, softmax(q·kᵀ / √head_dim)·v, output projection. */
export class Attention extends Module {
  readonly qkv: Linear;
  readonly qNorm: LayerNorm | null;
  readonly kNorm: LayerNorm | null;
  /** Factors of the scores (heads), 1 / √head_dim at first; null for that constant. */
  readonly temperature: Parameter | null;
  readonly proj: Linear;
  private readonly heads: number;
  private readonly rate: number;
  private readonly stream: number;
  private readonly dropout: Dropout;

  constructor(options: BlockOptions, streams: Streams) {
    super();
    const { width, heads, attentionDropout, residualDropout, eps } = options;
    const { qkv, proj } = projectionInits(options);
    const norm = () => (options.qkNorm ? new LayerNorm(width / heads, eps) : null);
    this.qkv = new Linear(width, 3 * width, qkv, 3); // queries, keys and values
    this.qNorm = norm();
    this.kNorm = norm();
    this.temperature = options.locality ? new Parameter([heads], constant(Math.sqrt(heads / width))) : null;
    this.proj = new Linear(width, width, proj, 1);
    this.heads = heads;
    this.rate = attentionDropout;
    this.stream = streams.take();
    this.dropout = new Dropout(residualDropout, streams);
  }

  /** residual + branch(attention(x)). */
  forward(x: Tensor, mode: Mode, residual: Tensor, branch: Branch): Tensor {
    const drop = this.rate > 0 && mode.training;
    const random = drop ? { rate: this.rate, stream: this.stream, key: requireKey(mode) } : undefined;
    const qkv = this.scaled(this.projected(x));
    mode.observeAttention?.(qkv);
    const mixed = attention(qkv, this.heads, random, this.temperature !== null);
    if (!this.dropout.active(mode) && branch.plain(mode)) return this.proj.forward(mixed, { residual });
    return add(residual, branch.forward(this.dropout.forward(this.proj.forward(mixed), mode), mode));
  }

  /** qkv with queries that the temperatures scale, if there are any. */
  private scaled(qkv: Tensor): Tensor {
    return this.temperature ? scaleQueries(qkv, this.temperature.tensor) : qkv;
  }

  /** Queries, keys and values (B, N, 3·C), after the QK norm if there is one. */
  private projected(x: Tensor): Tensor {
    const { qNorm: q, kNorm: k } = this;
    if (!q || !k) return this.qkv.forward(x, { dtype: x.dtype });
    const qkv = this.qkv.forward(x);
    const affine = ({ weight, bias }: LayerNorm) => ({ weight: weight.tensor, bias: bias.tensor });
    return qkNorm(qkv, affine(q), affine(k), this.heads, q.eps);
  }
}

/** Linear, GELU, linear, with dropout after the GELU and after the second linear layer (timm's Mlp). */
export class Mlp extends Module {
  readonly fc1: Linear;
  readonly fc2: Linear;
  private readonly dropout1: Dropout;
  private readonly dropout2: Dropout;

  constructor({ width, hidden, mlpDropout, residualDropout, init }: BlockOptions, streams: Streams) {
    super();
    this.fc1 = new Linear(width, hidden, schemes[init], 1);
    this.fc2 = new Linear(hidden, width, schemes[init], 1);
    this.dropout1 = new Dropout(mlpDropout, streams);
    this.dropout2 = new Dropout(residualDropout, streams);
  }

  /** residual + branch(mlp(x)); one fused op if there is no dropout and the branch is the identity. */
  forward(x: Tensor, mode: Mode, residual: Tensor, branch: Branch): Tensor {
    const { dropout1, dropout2 } = this;
    if (!dropout1.active(mode) && !dropout2.active(mode) && branch.plain(mode))
      return this.fused(x, residual);
    const y = dropout1.active(mode) ? this.withDropout(x, mode) : this.fused(x);
    return add(residual, branch.forward(dropout2.forward(y, mode), mode));
  }

  private fused(x: Tensor, residual?: Tensor): Tensor {
    const { fc1, fc2 } = this;
    return mlp(x, fc1.weight.tensor, fc1.bias.tensor, fc2.weight.tensor, fc2.bias.tensor, residual);
  }

  private withDropout(x: Tensor, mode: Mode): Tensor {
    const { fc1, fc2, dropout1 } = this;
    return fc2.forward(dropout1.forward(gelu(fc1.forward(x, { dtype: x.dtype })), mode));
  }
}

/** x + branch1(attention(norm1(x))), then x + branch2(mlp(norm2(x))); a branch is LayerScale and drop path. timm's Block. */
export class Block extends Module {
  readonly norm1: LayerNorm;
  readonly attn: Attention;
  readonly ls1: LayerScale | null;
  readonly norm2: LayerNorm;
  readonly mlp: Mlp;
  readonly ls2: LayerScale | null;
  private readonly branch1: Branch;
  private readonly branch2: Branch;

  constructor(options: BlockOptions, streams: Streams) {
    super();
    const { width, eps, layerScale, dropPath } = options;
    const scale = () => (layerScale > 0 ? new LayerScale(width, layerScale) : null);
    this.norm1 = new LayerNorm(width, eps);
    this.attn = new Attention(options, streams);
    this.ls1 = scale();
    this.norm2 = new LayerNorm(width, eps);
    this.mlp = new Mlp(options, streams);
    this.ls2 = scale();
    this.branch1 = new Branch(this.ls1, new DropPath(dropPath, streams));
    this.branch2 = new Branch(this.ls2, new DropPath(dropPath, streams));
  }

  forward(x: Tensor, mode: Mode): Tensor {
    const dtype = productType(x.gpu);
    return scope(() => {
      const mixed = this.attn.forward(this.norm1.forward(x, dtype), mode, x, this.branch1);
      return this.mlp.forward(this.norm2.forward(mixed, dtype), mode, mixed, this.branch2);
    });
  }
}
