/** From settings to the optimizer of a model. */
import { ConfigError } from '../core/errors.js';
import type { Gpu } from '../gpu/gpu.js';
import type { Model } from '../models/model.js';
import { AdamW } from '../optim/adamw.js';
import { LossScale } from '../optim/loss_scale.js';
import { type HiddenMatrix, hiddenFirst, Muon, type MuonOptions } from '../optim/muon.js';
import type { Optimizer, RateScale } from '../optim/optimizer.js';
import { Arena } from '../tensor/arena.js';
import type { Parameter } from '../tensor/parameter.js';
import type { Settings } from './settings.js';

/** A function that says whether weight decay applies to a parameter. */
export const decayRule = (decay: Settings['decay']): ((parameter: Parameter) => boolean) =>
  decay === 'all' ? () => true : ({ role }) => role.decays;

/**
 * Layer-wise learning rate decay (BEiT; timm's layer_decay). The last layer, with the classifier, has the full learning
 * rate, and each layer below it has `decay` times the rate of the one above. Throws a ConfigError for a model without
 * `layers()`.
 */
export function layerDecayScale(decay: number, layers: ReturnType<Model['layers']>): RateScale {
  if (!layers)
    throw new ConfigError(
      `--layer-decay ${decay} needs a model that lists its layers, and this one does not. Use --layer-decay 1.`,
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

/** The weights that Muon updates: those of hidden layers. A qkv weight counts as three matrices. */
export const hiddenMatrices = (parameters: readonly Parameter[]): HiddenMatrix[] =>
  parameters.flatMap((parameter) => {
    const { matrices } = parameter.role;
    return matrices > 0 ? [{ parameter, parts: matrices }] : [];
  });

/** Muon's own constants. Its learning rate follows the schedule, so it is a multiple of --learning-rate. */
const muonOptions = (settings: Settings): MuonOptions => ({
  norm: settings.muonNorm,
  momentum: settings.muonMomentum,
  steps: settings.muonSteps,
  rate: settings.muonLearningRate > 0 ? settings.muonLearningRate / settings.learningRate : 1,
});

/** Allocates the model's parameters in an arena on the device, and makes the optimizer that updates them. */
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
  const options = { ...constants, ...muonOptions(settings) };
  return { arena, optimizer: new Muon(arena, hidden, options, rateScale) };
}

/** The loss scale of --amp; null without --amp. Throws a ConfigError if the adapter lacks shader-f16. */
export function buildLossScale(gpu: Gpu, settings: Settings): LossScale | null {
  if (!settings.amp) return null;
  if (!gpu.info.features.has('shader-f16'))
    throw new ConfigError(
      `--amp needs the WebGPU feature shader-f16, which ${gpu.info.name} does not have. Train without --amp.`,
    );
  return new LossScale(gpu, settings);
}
