/** The tokenizer of a Vision Transformer, and how it starts. */
import { ConvStem } from '../nn/conv_stem.js';
import { kaimingUniform, schemes, zeros } from '../nn/init.js';
import { PatchEmbed, type Tokenizer } from '../nn/patch_embed.js';
import { ShiftedPatches } from '../nn/shifted_patches.js';
import { whiten } from '../nn/whiten.js';
import type { ImageInit } from './model.js';
import type { VitConfig } from './vit_config.js';

/** Rows that do not whiten keep the default of nn.Conv2d. Normalised pixels have mean zero, so no bias is needed. */
const whitenedInit = { weight: kaimingUniform, bias: () => zeros };
/** The number of images that a whitened patch embedding is computed from, as in airbench. */
const WHITENING_IMAGES = 5000;

/** The tokenizer of the configuration. */
export function tokenizerOf(config: VitConfig): Tokenizer {
  const { tokenizer, channels, embedDim, geometry, eps, init, patchInit, freezePatchEmbed } = config;
  if (tokenizer === 'shifted')
    return new ShiftedPatches(channels, embedDim, geometry, { eps, init: schemes[init] });
  if (tokenizer === 'conv') return new ConvStem(channels, embedDim, geometry.patch[0], eps);
  return new PatchEmbed(channels, embedDim, geometry, {
    init: patchInit === 'whiten' ? whitenedInit : schemes.pytorch,
    kind: freezePatchEmbed ? 'fixed' : 'trained',
  });
}

/** The tokenizer's initial values that depend on images; null if none do. */
export function tokenizerFromImages(
  { patchInit, geometry }: VitConfig,
  tokenizer: Tokenizer,
): ImageInit | null {
  if (patchInit === 'default' || !(tokenizer instanceof PatchEmbed)) return null;
  return {
    parameter: tokenizer.proj.weight,
    count: WHITENING_IMAGES,
    amend: (values, images) => whiten(values, images, geometry),
  };
}
