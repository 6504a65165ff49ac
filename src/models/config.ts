/** What a Vision Transformer is, as data: every size a parameter, with defaults, and refused when it cannot be. */
import { ConfigError } from '../core/errors.js';
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
  /** Of residual branches, MLP hidden units and the embedded tokens. */
  readonly dropout?: number;
  /** Of attention weights. */
  readonly attentionDropout?: number;
  /** Of whole branches; grows linearly from 0 in the first block to this in the last. */
  readonly dropPath?: number;
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
  /** Patches, and the class token where there is one. */
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
  const { embedDim = 192 } = options;
  const given = {
    channels: 3,
    classes: 10,
    depth: 12,
    heads: defaultHeads(embedDim),
    mlpRatio: 4,
    pool: 'cls' as const,
    dropout: 0,
    attentionDropout: 0,
    dropPath: 0,
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
  const { heads, mlpRatio, pool } = given;
  const tokens = grid[0] * grid[1] + (pool === 'cls' ? 1 : 0);
  const hidden = Math.round(embedDim * mlpRatio);
  return { ...given, imageSize, geometry, grid, tokens, headDim: embedDim / heads, hidden };
}

type Sizes = Pick<
  VitConfig,
  | 'channels'
  | 'classes'
  | 'depth'
  | 'heads'
  | 'embedDim'
  | 'mlpRatio'
  | 'dropout'
  | 'attentionDropout'
  | 'dropPath'
  | 'eps'
  | 'pool'
>;

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
  for (const name of ['dropout', 'attentionDropout', 'dropPath'] as const)
    if (!(given[name] >= 0 && given[name] < 1))
      refuse(`${name} must be at least 0 and below 1, not ${given[name]}.`);
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
