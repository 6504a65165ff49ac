/** The registry: every differentiable op, and through it their tests, benchmarks and tables. */
import type { Op } from '../autograd/op.js';
import { addOp } from './add.js';
import { attentionOp } from './attention.js';
import { correctOp } from './correct.js';
import { crossEntropyOp } from './cross_entropy.js';
import { dropoutOp } from './dropout.js';
import { geluOp } from './gelu.js';
import { im2colOp } from './im2col.js';
import { layerNormOp } from './layer_norm.js';
import { linearOp } from './linear.js';
import { matmulOp } from './matmul.js';
import { mlpOp } from './mlp.js';
import { qkNormOp } from './qk_norm.js';
import { scaleOp } from './scale.js';
import { scaleChannelsOp } from './scale_channels.js';
import { softmaxOp } from './softmax.js';
import { sumOp } from './sum.js';
import { meanTokensOp, prependTokenOp, takeTokenOp } from './tokens.js';

// biome-ignore lint/suspicious/noExplicitAny: each op has attributes of its own type; whoever iterates passes an op's own.
export const ops: readonly Op<any>[] = [
  matmulOp,
  linearOp,
  mlpOp,
  addOp,
  scaleOp,
  scaleChannelsOp,
  sumOp,
  layerNormOp,
  qkNormOp,
  geluOp,
  softmaxOp,
  attentionOp,
  im2colOp,
  prependTokenOp,
  takeTokenOp,
  meanTokensOp,
  dropoutOp,
  crossEntropyOp,
  correctOp,
];

export { add } from './add.js';
export { attention } from './attention.js';
export { correct } from './correct.js';
export { crossEntropy } from './cross_entropy.js';
export { dropout, dropPath } from './dropout.js';
export { gelu } from './gelu.js';
export { im2col, type PatchGeometry, patchGrid } from './im2col.js';
export { layerNorm } from './layer_norm.js';
export { type LinearOptions, linear } from './linear.js';
export { matmul } from './matmul.js';
export { mlp } from './mlp.js';
export { qkNorm } from './qk_norm.js';
export { scale } from './scale.js';
export { scaleChannels } from './scale_channels.js';
export { softmax } from './softmax.js';
export { sum } from './sum.js';
export { meanTokens, prependToken, takeToken } from './tokens.js';
