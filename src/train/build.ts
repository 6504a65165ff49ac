/** From settings to a model and its optimizer: the one place where they meet. */
import { ConfigError } from '../core/errors.js';
import type { Dataset } from '../data/sources.js';
import type { Gpu } from '../gpu/gpu.js';
import type { VitOptions } from '../models/config.js';
import type { VisionTransformer } from '../models/vit.js';
import { AdamW } from '../optim/adamw.js';
import { LossScale } from '../optim/loss_scale.js';
import { type HiddenMatrix, hiddenFirst, Muon } from '../optim/muon.js';
import type { Optimizer, RateScale } from '../optim/optimizer.js';
import { Arena } from '../tensor/arena.js';
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
    layerScale,
    qkNorm,
    regTokens,
    posEmbed,
    dropout,
    attentionDropout,
    dropPath,
    dropPathMode,
  } = settings;
  const rate = (own: number) => (own < 0 ? dropout : own);
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
    layerScale,
    qkNorm,
    regTokens,
    posEmbed,
    dropout,
    embedDropout: rate(settings.embedDropout),
    mlpDropout: rate(settings.mlpDropout),
    residualDropout: rate(settings.residualDropout),
    attentionDropout,
    dropPath,
    dropPathMode,
    eps: settings.layerNormEps,
    init: settings.initScheme,
  };
}

/**
 * `matrices` is timm's rule (its VisionTransformer.no_weight_decay, 1.0.29): weights of two and more axes decay, but not
 * positions, class token and registers.
 */
export function decayRule(decay: Settings['decay']): (parameter: Parameter) => boolean {
  if (decay === 'all') return () => true;
  const tokens = new Set(['cls_token', 'reg_token', 'pos_embed']);
  return ({ name, shape }) => shape.length >= 2 && !tokens.has(name);
}

/** Layer 0 of layer decay, and what comes after the last block. */
const STEM = /^(cls_token|reg_token|pos_embed)$|^patch_embed\./;
const TOP = /^(fc_)?norm\.|^head\./;

/**
 * BEiT's rule: the rate falls by the factor `decay` from layer to layer, counted from the head. Layer 0 are patches,
 * tokens and positions, then come the blocks; the last norm and the head have the full rate. A parameter that is none of
 * these is refused.
 */
export function layerDecayScale(decay: number, depth: number): RateScale {
  return ({ name }) => {
    const block = /^blocks\.(\d+)\./.exec(name)?.[1];
    if (block !== undefined) return decay ** (depth - Number(block));
    if (STEM.test(name)) return decay ** (depth + 1);
    if (TOP.test(name)) return 1;
    throw new ConfigError(
      `--layer-decay ${decay} cannot tell which layer the parameter ${name} belongs to. Use --layer-decay 1.`,
    );
  };
}

/** What Muon moves: the matrices inside of blocks, queries, keys and values each by themselves. */
export function hiddenMatrices(parameters: readonly Parameter[]): HiddenMatrix[] {
  return parameters.flatMap((parameter) => {
    const layer = /^blocks\.\d+\.(attn\.qkv|attn\.proj|mlp\.fc1|mlp\.fc2)\.weight$/.exec(parameter.name)?.[1];
    return layer ? [{ parameter, parts: layer === 'attn.qkv' ? 3 : 1 }] : [];
  });
}

/** The parameters on the device and what moves them. */
export function buildOptimizer(
  gpu: Gpu,
  model: Pick<VisionTransformer, 'parameters' | 'config'>,
  settings: Settings,
): { arena: Arena; optimizer: Optimizer } {
  const { beta1, beta2, adamEps: eps, weightDecay, layerDecay, decay } = settings;
  const constants = { beta1, beta2, eps, weightDecay };
  const rateScale = layerDecay < 1 ? layerDecayScale(layerDecay, model.config.depth) : undefined;
  const parameters = model.parameters();
  if (settings.optimizer === 'adamw') {
    const arena = new Arena(gpu, parameters, decayRule(decay));
    return { arena, optimizer: new AdamW(arena, constants, { rateScale }) };
  }
  const hidden = hiddenMatrices(parameters);
  const arena = new Arena(gpu, hiddenFirst(parameters, hidden), decayRule(decay));
  return { arena, optimizer: new Muon(arena, hidden, constants, rateScale) };
}

/** What --amp needs; null without it. Throws a ConfigError where the adapter has no f16. */
export function buildLossScale(gpu: Gpu, settings: Settings): LossScale | null {
  if (!settings.amp) return null;
  if (!gpu.info.features.has('shader-f16'))
    throw new ConfigError(
      `--amp multiplies 16-bit floats (WebGPU's shader-f16), which ${gpu.info.name} does not have: train without it.`,
    );
  return new LossScale(gpu, settings);
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
