/** The configuration of a Vision Transformer, from options with defaults. */
import { ConfigError } from '../core/errors.js';
import { settle } from '../core/setting.js';
import type { DropPathMode } from '../nn/dropout.js';
import type { Scheme } from '../nn/init.js';
import { type PatchGeometry, patchGrid } from '../ops/index.js';
import { type VitSettings, vitSettings } from './vit_settings.js';

/** One number for both axes, or height and width. */
export type Pair = number | readonly [number, number];

/** The settings of `vitSettings`, and sizes that have no flag. All are optional. */
export interface VitOptions extends Partial<Omit<VitSettings, 'patchSize'>> {
  /** In pixels; 32 if absent. */
  readonly imageSize?: Pair;
  /** 3 if absent. */
  readonly channels?: number;
  /** 10 if absent. */
  readonly classes?: number;
  /** In pixels; 4 if absent. */
  readonly patchSize?: Pair;
  /** Pixels from one patch to the next; the patch size if absent. */
  readonly stride?: Pair;
  /** Pixels of zero padding on each side of the image; 0 if absent. */
  readonly padding?: Pair;
}

/** All sizes and rates of a Vision Transformer, with defaults filled in. */
export interface VitConfig {
  readonly imageSize: readonly [number, number];
  readonly channels: number;
  readonly classes: number;
  readonly geometry: PatchGeometry;
  /** Height and width that images are averaged to; those of the images if they are used as they are. */
  readonly seen: readonly [number, number];
  /** Number of patches along height and width. */
  readonly grid: readonly [number, number];
  /** Number of tokens before the patches: the class token, if there is one, and registers. */
  readonly prefix: number;
  /** Number of all tokens. */
  readonly tokens: number;
  readonly embedDim: number;
  readonly depth: number;
  readonly heads: number;
  readonly headDim: number;
  readonly mlpRatio: number;
  /** Width of the MLP's hidden layer. */
  readonly hidden: number;
  /** `shifted`: shifted patch tokenisation; `conv`: a convolutional stem. Only `patch` is a plain ViT, as timm's. */
  readonly tokenizer: 'patch' | 'shifted' | 'conv';
  readonly pool: 'cls' | 'mean';
  /** Initial gamma of LayerScale; 0 for no LayerScale. */
  readonly layerScale: number;
  readonly qkNorm: boolean;
  /** Locality self-attention: a learned temperature for each head, and no attention of a token to itself. */
  readonly locality: boolean;
  /** Number of register tokens between class token and patches. The classifier ignores them. */
  readonly regTokens: number;
  /** Position embedding: learned, or fixed sines and cosines. Both cover all tokens (timm without no_embed_class). */
  readonly posEmbed: 'learn' | 'sincos2d';
  readonly dropout: number;
  readonly embedDropout: number;
  readonly mlpDropout: number;
  readonly residualDropout: number;
  readonly attentionDropout: number;
  readonly dropPath: number;
  readonly dropPathMode: DropPathMode;
  /** PatchDropout: the share of the patches that a training step keeps; 1 keeps all. */
  readonly keepTokens: number;
  /** Number of tokens of a training step: the prefix, and the patches that are kept. */
  readonly trainingTokens: number;
  /** True if the backward pass computes the activations of each block again. Changes no result. */
  readonly gradCheckpointing: boolean;
  /** LayerNorm's epsilon; timm uses 1e-6, PyTorch 1e-5. */
  readonly eps: number;
  readonly init: Scheme;
  /** True if the classifier's weight and bias start at zero. */
  readonly zeroHead: boolean;
  /** `mimetic`: attention starts as in trained networks (Trockman and Kolter, 2023). */
  readonly attentionInit: 'default' | 'mimetic';
  /** `whiten`: the patch embedding's first values whiten the patches of training images; see `fromImages`. */
  readonly patchInit: 'default' | 'whiten';
  /** True if the patch embedding keeps its first values. */
  readonly freezePatchEmbed: boolean;
}

const pair = (value: Pair): readonly [number, number] => (typeof value === 'number' ? [value, value] : value);

/** The number of heads for a head dimension of about 64; the nearest smaller number if it does not divide the width. */
function defaultHeads(embedDim: number): number {
  const wanted = Math.max(1, Math.round(embedDim / 64));
  for (let heads = wanted; heads > 1; heads--) if (embedDim % heads === 0) return heads;
  return 1;
}

function refuse(sentence: string): never {
  throw new ConfigError(`[vit] ${sentence}`);
}

/** Fills in defaults. Throws a ConfigError that names the sizes if they do not fit together. */
export function vitConfig(options: VitOptions = {}): VitConfig {
  const { imageSize: image = 32, channels = 3, classes = 10, padding = 0, patchSize, ...rest } = options;
  refuseUnknown(rest);
  const {
    numHeads,
    ffnDim,
    layerNormEps: eps,
    initScheme: init,
    ...settings
  } = settle(vitSettings, [rest], (name) => `[vit] ${name}`);
  const { embedDim, dropout } = settings;
  const patch = pair(patchSize ?? settings.patchSize);
  const geometry = { patch, stride: pair(options.stride ?? patch), padding: pair(padding) };
  const heads = numHeads > 0 ? numHeads : defaultHeads(embedDim);
  const rate = (own: number) => (own < 0 ? dropout : own);
  const sizes = {
    ...settings,
    ...{ channels, classes, heads, eps, init },
    imageSize: pair(image),
    mlpRatio: ffnDim > 0 ? ffnDim / embedDim : settings.mlpRatio,
    embedDropout: rate(settings.embedDropout),
    mlpDropout: rate(settings.mlpDropout),
    residualDropout: rate(settings.residualDropout),
  };
  checkSizes(sizes);
  const { inputSize } = settings;
  const seen = inputSize > 0 ? ([inputSize, inputSize] as const) : sizes.imageSize;
  if (seen.some((size, i) => size > (sizes.imageSize[i] as number)))
    refuse(`inputSize ${inputSize} must be at most the size of the images, ${sizes.imageSize.join(' x ')}.`);
  if (inputSize > 0 && sizes.patchInit === 'whiten')
    refuse('patchInit whiten is computed from whole images: leave inputSize out, or use patchInit default.');
  checkPatches(seen, geometry);
  checkTokenizer(sizes, geometry);
  const grid = patchGrid(seen, geometry);
  const prefix = (sizes.pool === 'cls' ? 1 : 0) + sizes.regTokens;
  const patches = grid[0] * grid[1];
  const tokens = patches + prefix;
  const trainingTokens = prefix + Math.max(1, Math.round(sizes.keepTokens * patches));
  if (sizes.locality && trainingTokens < 2)
    refuse(
      'locality needs two tokens, because a token does not attend to itself; a training step has one. Use smaller patches, a class token or a larger keep_tokens.',
    );
  const hidden = Math.round(embedDim * sizes.mlpRatio);
  return {
    ...sizes,
    geometry,
    seen,
    grid,
    prefix,
    tokens,
    trainingTokens,
    headDim: embedDim / heads,
    hidden,
  };
}

function refuseUnknown({ stride: _, ...rest }: Partial<VitOptions>): void {
  const unknown = Object.keys(rest).find((name) => !Object.hasOwn(vitSettings, name));
  if (unknown) refuse(`there is no option called ${unknown}.`);
}

type Sizes = Omit<
  VitConfig,
  'geometry' | 'seen' | 'grid' | 'prefix' | 'tokens' | 'trainingTokens' | 'headDim' | 'hidden'
>;

function checkSizes(sizes: Sizes): void {
  const { channels, classes, heads, embedDim, mlpRatio, posEmbed, qkNorm, eps } = sizes;
  const [height, width] = sizes.imageSize;
  demandCounts({ channels, classes, 'image height': height, 'image width': width });
  if (embedDim % heads !== 0)
    refuse(`embed_dim ${embedDim} must be divisible by the number of heads, ${heads}.`);
  if (Math.round(embedDim * mlpRatio) < 1) refuse(`mlp_ratio must be positive, not ${mlpRatio}.`);
  if (posEmbed === 'sincos2d' && (embedDim % 4 !== 0 || embedDim < 8))
    refuse(`sincos2d positions need an embed_dim that is divisible by 4 and at least 8, not ${embedDim}.`);
  if (qkNorm && embedDim === heads)
    refuse(`qk_norm needs a head dimension of at least 2: embed_dim ${embedDim} with ${heads} heads has 1.`);
  if (sizes.keepTokens === 0) refuse('keep_tokens must be above 0 and at most 1, not 0.');
  if (eps === 0) refuse('layerNormEps must be positive, not 0.');
}

function demandCounts(values: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(values))
    if (!Number.isInteger(value) || value < 1) refuse(`${name} must be a positive integer, not ${value}.`);
}

function checkTokenizer(
  { tokenizer, patchInit, freezePatchEmbed }: Sizes,
  { patch, stride, padding }: PatchGeometry,
): void {
  if (tokenizer === 'patch') return;
  if (patchInit === 'whiten')
    refuse(`patch_init whiten needs the tokenizer patch, whose weight reads pixels; it is ${tokenizer}.`);
  if (freezePatchEmbed)
    refuse(`freeze_patch_embed needs the tokenizer patch, which is one layer; it is ${tokenizer}.`);
  if (tokenizer !== 'conv') return;
  const [size] = patch;
  if (patch[1] !== size || size < 2 || !Number.isInteger(Math.log2(size)))
    refuse(
      `tokenizer conv needs a patch size of 2, 4, 8, 16 or another power of two, not ${patch.join(' x ')}.`,
    );
  if (stride.some((step) => step !== size) || padding.some((border) => border !== 0))
    refuse('tokenizer conv needs a stride equal to the patch size, and no padding.');
}

function checkPatches(image: readonly [number, number], { patch, stride, padding }: PatchGeometry): void {
  demandCounts({
    'patch height': patch[0],
    'patch width': patch[1],
    'stride down': stride[0],
    'stride across': stride[1],
  });
  for (const value of padding)
    if (!Number.isInteger(value) || value < 0)
      refuse(`padding must be a whole number of pixels, not ${value}.`);
  for (const i of [0, 1] as const) {
    const axis = i === 0 ? 'height' : 'width';
    const size = image[i] + 2 * padding[i];
    if (size < patch[i]) refuse(`patch ${axis} ${patch[i]} is larger than the padded image's ${size}.`);
    const rest = (size - patch[i]) % stride[i];
    if (rest !== 0)
      refuse(
        `image ${axis} ${size} (padding included) is not covered by patches of ${patch[i]} every ${stride[i]} pixels: ${rest} are left over.`,
      );
  }
}
