/** From settings to the optimizer of a model. */
import { ConfigError } from '../core/errors.js';
import type { Gpu } from '../gpu/gpu.js';
import type { Model } from '../models/model.js';
import { AdamW } from '../optim/adamw.js';
import { LossScale } from '../optim/loss_scale.js';
import { type HiddenMatrix, hiddenFirst, Muon } from '../optim/muon.js';
import type { Optimizer, RateScale } from '../optim/optimizer.js';
import { Arena } from '../tensor/arena.js';
import type { Parameter } from '../tensor/parameter.js';
import type { Settings } from './settings.js';

/** Whether weight decay applies to a parameter. */
export const decayRule = (decay: Settings['decay']): ((parameter: Parameter) => boolean) =>
  decay === 'all' ? () => true : ({ role }) => role.decays;

/**
 * Layer-wise rate decay (BEiT): the learning rate falls by the factor `decay` from layer to layer, counted from the
 * classifier, which has the full rate. Throws a ConfigError for a model that names no layers.
 */
export function layerDecayScale(decay: number, layers: ReturnType<Model['layers']>): RateScale {
  if (!layers)
    throw new ConfigError(
      `--layer-decay ${decay} needs a model that names its layers, and this one does not. Use --layer-decay 1.`,
    );
  const scales = new Map(
    layers.flatMap((layer, i) => layer.map((parameter) => [parameter, decay ** (layers.length - 1 - i)])),
  );
  return (parameter) => {
    const scale = scales.get(parameter);
    if (scale === undefined)
      throw new ConfigError(
        `--layer-decay ${decay} cannot tell which layer the parameter ${parameter.name} belongs to. Use --layer-decay 1.`,
      );
    return scale;
  };
}

/** The weights of hidden layers, which Muon moves; queries, keys and values count as three matrices. */
export const hiddenMatrices = (parameters: readonly Parameter[]): HiddenMatrix[] =>
  parameters.flatMap((parameter) => {
    const { matrices } = parameter.role;
    return matrices > 0 ? [{ parameter, parts: matrices }] : [];
  });

/** Puts the model's parameters on the device, and makes the optimizer that moves them. */
export function buildOptimizer(
  gpu: Gpu,
  model: Pick<Model, 'parameters' | 'layers'>,
  settings: Settings,
): { arena: Arena; optimizer: Optimizer } {
  const { beta1, beta2, adamEps: eps, weightDecay, layerDecay, decay } = settings;
  const constants = { beta1, beta2, eps, weightDecay };
  const rateScale = layerDecay < 1 ? layerDecayScale(layerDecay, model.layers()) : undefined;
  const parameters = model.parameters();
  if (settings.optimizer === 'adamw') {
    const arena = new Arena(gpu, parameters, decayRule(decay));
    return { arena, optimizer: new AdamW(arena, constants, { rateScale }) };
  }
  const hidden = hiddenMatrices(parameters);
  const arena = new Arena(gpu, hiddenFirst(parameters, hidden), decayRule(decay));
  return { arena, optimizer: new Muon(arena, hidden, constants, rateScale) };
}

/** The loss scale that --amp needs; null without it. Throws a ConfigError where the adapter has no f16. */
export function buildLossScale(gpu: Gpu, settings: Settings): LossScale | null {
  if (!settings.amp) return null;
  if (!gpu.info.features.has('shader-f16'))
    throw new ConfigError(
      `--amp multiplies 16-bit floats (WebGPU's shader-f16), which ${gpu.info.name} does not have: train without it.`,
    );
  return new LossScale(gpu, settings);
}
