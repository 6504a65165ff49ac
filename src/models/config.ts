/** What a Vision Transformer is, as data: every size a parameter, with defaults, and refused when it cannot be. */
import { ConfigError } from '../core/errors.js';
import type { DropPathMode } from '../nn/dropout.js';
import type { Scheme } from '../nn/init.js';
import { type PatchGeometry, patchGrid } from '../ops/index.js';

/** One number for both axes, or height and width. */
export type Pair = number | readonly [number, number];

export interface VitOptions {
  readonly imageSize?: Pair;
  readonly channels?: number;
  readonly classes?: number;
  readonly patchSize?: Pair;
  /** Pixels from one patch to the next; the patch size when absent. */
  readonly stride?: Pair;
  /** Zeros around the image. */
  readonly padding?: Pair;
  readonly embedDim?: number;
  readonly depth?: number;
  readonly heads?: number;
  /** Width of the MLP's hidden layer, as a multiple of embedDim. */
  readonly mlpRatio?: number;
  /** A class token that the head reads, or the mean over all tokens. */
  readonly pool?: 'cls' | 'mean';
  /** First value of LayerScale's gamma on both branches of a block; 0 for no LayerScale. */
  readonly layerScale?: number;
  /** LayerNorm of queries and keys over the channels of a head. */
  readonly qkNorm?: boolean;
  /** Tokens of their own that attend and are attended to, between class token and patches, read by no head. */
  readonly regTokens?: number;
  /** Positions that are learned, or fixed sines; both cover all tokens (timm without no_embed_class). */
  readonly posEmbed?: 'learn' | 'sincos2d';
  /** The rate of the next three, unless they have their own. */
  readonly dropout?: number;
  /** Of the embedded tokens, positions added. */
  readonly embedDropout?: number;
  /** Of MLP hidden units. */
  readonly mlpDropout?: number;
  /** Of what the projections at the end of both branches give. */
  readonly residualDropout?: number;
  /** Of attention weights. */
  readonly attentionDropout?: number;
  /** Of whole branches: the rate of the last block. */
  readonly dropPath?: number;
  /** Whether that rate grows linearly from 0 in the first block (a model of one block then has none), or is that of all. */
  readonly dropPathMode?: DropPathMode;
  /** Under the root of LayerNorm; timm uses 1e-6, PyTorch 1e-5. */
  readonly eps?: number;
  readonly init?: Scheme;
}

export interface VitConfig
  extends Required<Omit<VitOptions, 'imageSize' | 'patchSize' | 'stride' | 'padding'>> {
  readonly imageSize: readonly [number, number];
  readonly geometry: PatchGeometry;
  /** Patches down and across. */
  readonly grid: readonly [number, number];
  /** Tokens before the patches: the class token where there is one, and registers. */
  readonly prefix: number;
  /** Patches and prefix. */
  readonly tokens: number;
  readonly headDim: number;
  readonly hidden: number;
}

const pair = (value: Pair): readonly [number, number] => (typeof value === 'number' ? [value, value] : value);

/** The head count whose heads are 64 wide, or the nearest that divides the width. */
function defaultHeads(embedDim: number): number {
  const wanted = Math.max(1, Math.round(embedDim / 64));
  for (let heads = wanted; heads > 1; heads--) if (embedDim % heads === 0) return heads;
  return 1;
}

function refuse(sentence: string): never {
  throw new ConfigError(`[vit] ${sentence}`);
}

/** Fills in defaults and checks; throws ConfigError with a sentence that names the sizes. */
export function vitConfig(options: VitOptions = {}): VitConfig {
  const { embedDim = 192, dropout = 0 } = options;
  const given = {
    channels: 3,
    classes: 10,
    depth: 12,
    heads: defaultHeads(embedDim),
    mlpRatio: 4,
    pool: 'cls' as const,
    layerScale: 0,
    qkNorm: false,
    regTokens: 0,
    posEmbed: 'learn' as const,
    dropout,
    embedDropout: dropout,
    mlpDropout: dropout,
    residualDropout: dropout,
    attentionDropout: 0,
    dropPath: 0,
    dropPathMode: 'linear' as const,
    eps: 1e-6,
    init: 'timm' as const,
    ...options,
    embedDim,
  };
  const imageSize = pair(options.imageSize ?? 32);
  const patch = pair(options.patchSize ?? 4);
  const geometry = { patch, stride: pair(options.stride ?? patch), padding: pair(options.padding ?? 0) };
  checkSizes(given, imageSize, geometry);
  const grid = patchGrid(imageSize, geometry);
  const { heads, mlpRatio, pool, regTokens } = given;
  const prefix = (pool === 'cls' ? 1 : 0) + regTokens;
  const tokens = grid[0] * grid[1] + prefix;
  const hidden = Math.round(embedDim * mlpRatio);
  return { ...given, imageSize, geometry, grid, prefix, tokens, headDim: embedDim / heads, hidden };
}

type Sizes = Omit<
  VitConfig,
  'imageSize' | 'geometry' | 'grid' | 'prefix' | 'tokens' | 'headDim' | 'hidden' | 'init'
>;

const RATES = [
  'dropout',
  'embedDropout',
  'mlpDropout',
  'residualDropout',
  'attentionDropout',
  'dropPath',
] as const;

function checkSizes(
  given: Sizes,
  [H, W]: readonly [number, number],
  { patch, stride, padding }: PatchGeometry,
): void {
  const { channels, classes, depth, heads, embedDim, mlpRatio } = given;
  const whole = { channels, classes, depth, heads, embedDim, 'image height': H, 'image width': W };
  const all = {
    ...whole,
    'patch height': patch[0],
    'patch width': patch[1],
    'stride down': stride[0],
    'stride across': stride[1],
  };
  for (const [name, value] of Object.entries(all))
    if (!Number.isInteger(value) || value < 1) refuse(`${name} must be a positive integer, not ${value}.`);
  for (const value of padding)
    if (!Number.isInteger(value) || value < 0)
      refuse(`padding must be a whole number of pixels, not ${value}.`);
  if (embedDim % heads !== 0) refuse(`embed_dim ${embedDim} must divide by ${heads} heads.`);
  if (!(mlpRatio > 0) || Math.round(embedDim * mlpRatio) < 1)
    refuse(`mlp_ratio must be positive, not ${mlpRatio}.`);
  for (const name of RATES)
    if (!(given[name] >= 0 && given[name] < 1))
      refuse(`${name} must be at least 0 and below 1, not ${given[name]}.`);
  if (!Number.isInteger(given.regTokens) || given.regTokens < 0)
    refuse(`regTokens must be a whole number of tokens, not ${given.regTokens}.`);
  if (!(given.layerScale >= 0)) refuse(`layerScale must be at least 0, not ${given.layerScale}.`);
  if (given.posEmbed === 'sincos2d' && (embedDim % 4 !== 0 || embedDim < 8))
    refuse(`sincos2d positions need an embed_dim that divides by 4 and is at least 8, not ${embedDim}.`);
  if (given.qkNorm && embedDim === heads)
    refuse(`qk_norm needs heads of two channels or more: ${heads} heads of embed_dim ${embedDim} have one.`);
  if (!(given.eps > 0)) refuse(`eps must be positive, not ${given.eps}.`);
  if (given.pool !== 'cls' && given.pool !== 'mean') refuse(`pool must be cls or mean, not ${given.pool}.`);
  for (const [i, axis] of (['height', 'width'] as const).entries()) {
    const size = (i === 0 ? H : W) + 2 * padding[i as 0 | 1];
    const rest = (size - patch[i as 0 | 1]) % stride[i as 0 | 1];
    if (size < patch[i as 0 | 1])
      refuse(`patch ${axis} ${patch[i as 0 | 1]} is larger than the padded image's ${size}.`);
    if (rest !== 0)
      refuse(
        `image ${axis} ${size} (padding included) is not covered by patches of ${patch[i as 0 | 1]} every ${stride[i as 0 | 1]} pixels: ${rest} are left over.`,
      );
  }
}
