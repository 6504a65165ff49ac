/** From settings and a data set to a model: the one place where the two meet. */
import { ConfigError } from '../core/errors.js';
import type { Dataset } from '../data/sources.js';
import type { VitOptions } from '../models/config.js';
import type { Parameter } from '../tensor/parameter.js';
import type { Settings } from './settings.js';

type Images = Pick<Dataset, 'channels' | 'height' | 'width' | 'classes'>;

export function modelOptions(settings: Settings, { channels, height, width, classes }: Images): VitOptions {
  const {
    embedDim,
    depth,
    numHeads,
    mlpRatio,
    ffnDim,
    patchSize,
    pool,
    dropout,
    attentionDropout,
    dropPath,
  } = settings;
  return {
    imageSize: [height, width],
    channels,
    classes: classes.length,
    patchSize,
    embedDim,
    depth,
    ...(numHeads > 0 ? { heads: numHeads } : {}),
    mlpRatio: ffnDim > 0 ? ffnDim / embedDim : mlpRatio,
    pool,
    dropout,
    attentionDropout,
    dropPath,
    eps: settings.layerNormEps,
    init: settings.initScheme,
  };
}

/** `matrices` is timm's rule: weights of two and more axes decay, but not positions and the class token. */
export function decayRule(decay: Settings['decay']): (parameter: Parameter) => boolean {
  if (decay === 'all') return () => true;
  const tokens = new Set(['cls_token', 'pos_embed']);
  return ({ name, shape }) => shape.length >= 2 && !tokens.has(name);
}

/** A preset made for larger images than the data set's would be another model: refused. */
export function checkImageSize(
  preset: string,
  wanted: number | undefined,
  { height, width }: Images,
  dataset: string,
): void {
  if (wanted === undefined || (wanted === height && wanted === width)) return;
  throw new ConfigError(
    `--preset ${preset} is for images of ${wanted} x ${wanted}; ${dataset} has ${height} x ${width}.`,
  );
}
