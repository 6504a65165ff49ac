/** The settings of a Vision Transformer: their defaults, ranges and help texts. */
import { choice, count, flag, number, type SettingsOf } from '../core/setting.js';

/** A dropout rate that is equal to --dropout unless it is set. */
const ownRate = (about: string) =>
  number('Regularisation', -1, `${about}; -1 for the rate of --dropout`, { below: 1, or: -1 });

export const vitSettings = {
  embedDim: count('Model', 192, 'width of the tokens', { min: 1 }),
  depth: count('Model', 12, 'number of blocks', { min: 1, most: 1000, alias: ['num-blocks'] }),
  numHeads: count('Model', 0, 'attention heads; 0 for heads of about 64 channels', { alias: ['heads'] }),
  mlpRatio: number('Model', 4, 'hidden width of the MLP, as a multiple of embed-dim'),
  ffnDim: count('Model', 0, 'hidden width of the MLP itself; 0 to use mlp-ratio'),
  patchSize: count('Model', 4, 'pixels of a patch, down and across', { min: 1 }),
  inputSize: count(
    'Model',
    0,
    'pixels, down and across, of the images that the model sees: means of windows of the given ones; 0 for these themselves',
  ),
  tokenizer: choice(
    'Model',
    ['patch', 'shifted', 'conv'],
    'patch',
    'tokens from patches, from patches with four diagonal shifts of the image, or from a convolutional stem',
  ),
  pool: choice(
    'Model',
    ['cls', 'mean'],
    'cls',
    'input of the head: the class token or the mean of all tokens',
  ),
  layerScale: number('Model', 0, 'initial gamma of LayerScale, such as 1e-5; 0 for no LayerScale'),
  qkNorm: flag('Model', false, 'LayerNorm of queries and keys, head by head'),
  locality: flag(
    'Model',
    false,
    'locality self-attention: a learned temperature for each head, and no attention of a token to itself',
  ),
  regTokens: count('Model', 0, 'register tokens between class token and patches'),
  posEmbed: choice(
    'Model',
    ['learn', 'sincos2d'],
    'learn',
    'position embedding: learned, or fixed two-dimensional sines and cosines',
  ),
  layerNormEps: number('Model', 1e-6, "LayerNorm's epsilon"),
  initScheme: choice(
    'Model',
    ['timm', 'pytorch', 'orthogonal'],
    'timm',
    'weight initialisation: truncated normal 0.02 (timm), the defaults of PyTorch layers, or orthogonal matrices',
  ),
  zeroHead: flag('Model', false, 'start the weight and bias of the classifier at zero'),
  attentionInit: choice(
    'Model',
    ['default', 'mimetic'],
    'default',
    "initial weights of attention: those of init-scheme, or mimetic: products of weights start as trained networks' do",
  ),
  patchInit: choice(
    'Model',
    ['default', 'whiten'],
    'default',
    'initial patch embedding: the default of nn.Conv2d, or one that whitens the patches of 5000 training images',
  ),
  freezePatchEmbed: flag('Model', false, 'keep the patch embedding at its initial values'),
  gradCheckpointing: flag(
    'Optimisation',
    false,
    'gradient checkpointing: the backward pass computes the activations of each block again, which saves memory and costs time',
  ),
  dropout: number('Regularisation', 0, 'dropout rate of embedded tokens, MLPs and projections', { below: 1 }),
  embedDropout: ownRate('dropout rate of embedded tokens'),
  mlpDropout: ownRate("dropout rate of MLPs' hidden units"),
  residualDropout: ownRate('dropout rate after the output projections of attention and MLP'),
  attentionDropout: number('Regularisation', 0, 'dropout rate of attention weights', { below: 1 }),
  keepTokens: number(
    'Regularisation',
    1,
    'share of the patches of an image that a training step keeps, chosen at random (PatchDropout); 1 keeps all',
    { most: 1 },
  ),
  dropPath: number(
    'Regularisation',
    0,
    'stochastic depth: rate of dropped residual branches, in the last block',
    {
      below: 1,
    },
  ),
  dropPathMode: choice(
    'Regularisation',
    ['linear', 'constant'],
    'linear',
    'drop-path grows linearly from 0 in the first block, or is the same in all',
  ),
} as const;

export type VitSettings = SettingsOf<typeof vitSettings>;
