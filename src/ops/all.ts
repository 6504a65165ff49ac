/** The registry: every op with its functions, a line for each file. */
export { add, addOp } from './add.js';
export { attention, attentionOp } from './attention.js';
export { correct, correctOp } from './correct.js';
export { crossEntropy, crossEntropyOp } from './cross_entropy.js';
export { diagonalShifts, diagonalShiftsOp } from './diagonal_shifts.js';
export { dropout, dropoutOp, dropPath } from './dropout.js';
export { gelu, geluOp } from './gelu.js';
export { im2col, im2colOp, type PatchGeometry, patchGrid } from './im2col.js';
export { layerNorm, layerNormOp } from './layer_norm.js';
export { type LinearOptions, linear, linearOp } from './linear.js';
export { matmul, matmulOp } from './matmul.js';
export { mlp, mlpOp } from './mlp.js';
export { qkNorm, qkNormOp } from './qk_norm.js';
export { scale, scaleOp } from './scale.js';
export { scaleChannels, scaleChannelsOp } from './scale_channels.js';
export { softmax, softmaxOp } from './softmax.js';
export { sum, sumOp } from './sum.js';
export { meanTokens, meanTokensOp, prependToken, prependTokenOp, takeToken, takeTokenOp } from './tokens.js';
