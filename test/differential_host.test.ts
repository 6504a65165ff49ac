/** Host computations against PyTorch and timm at fifty random settings each: schedules, decays, boxes, initial values. */
import { describe, expect, it } from 'vitest';
import { cutMix } from '../src/data/mixing.js';
import { VisionTransformer } from '../src/models/vit.js';
import { dropPathRates } from '../src/nn/dropout.js';
import { emaDecay } from '../src/optim/ema.js';
import { learningRate } from '../src/optim/schedule.js';
import { decayRule } from '../src/recipe/optimizer.js';
import { scheduleOf } from '../src/recipe/schedule.js';
import { resolveSettings } from '../src/recipe/settings.js';
import { cases, type Law, numbered, vitOptions } from './differential.js';

describe('learning rates', () => {
  it.each(numbered(cases.schedule))('$setting.kind $i: PyTorch has the same in every step', ({ setting }) => {
    const { kind, batches, epochs, lr, lrs } = setting;
    const settings = resolveSettings({
      ...{ schedule: kind, epochs, learningRate: lr, warmupLr: setting.warmup_lr, minLr: setting.min_lr },
      warmupEpochs: setting.warmup_epochs,
    });
    const schedule = scheduleOf(settings, batches);
    expect(schedule.totalSteps).toBe(lrs.length);
    // PyTorch computes each rate from the one before, so its rounding error is relative to the peak rate, in float64.
    for (const [done, rate] of lrs.entries())
      expect(Math.abs(learningRate(schedule, done) - rate), `step ${done}`).toBeLessThanOrEqual(2e-15 * lr);
  });
});

it.each(numbered(cases.ema))("the moving average's decay $i: timm has the same", ({ setting }) => {
  expect(setting.steps.map((step) => emaDecay(setting.decay, step))).toEqual(setting.decays);
});

it.each(numbered(cases.cutmix))('the box of cutmix $i: timm cuts the same', ({ setting }) => {
  const { height, width, lam, row, column, box, corrected } = setting;
  const [top, bottom, left, right] = box;
  const expected = { share: corrected, weight: 1, box: { top, bottom, left, right } };
  expect(cutMix(lam, { height, width }, row, column)).toEqual(expected);
});

it.each(numbered(cases.drop_path))(
  'drop path at depth $setting.depth and rate $setting.rate: timm has the same in every block',
  ({ setting: { depth, rate, rates } }) => {
    const found = dropPathRates(rate, depth, 'linear');
    expect(found).toHaveLength(depth);
    for (const [i, expected] of rates.entries()) expect(Math.abs(found[i]! - expected)).toBeLessThan(1e-6);
    expect(dropPathRates(rate, depth, 'constant')).toEqual(Array(depth).fill(rate));
  },
);

it('weight decay spares what timm spares', () => {
  const model = new VisionTransformer({
    ...{ imageSize: 8, embedDim: 8, depth: 1, numHeads: 2 },
    ...{ layerScale: 0.1, qkNorm: true, regTokens: 2 },
  });
  const found = model.parameters().map((parameter) => [parameter.name, decayRule('matrices')(parameter)]);
  expect(Object.fromEntries(found)).toEqual(cases.decays);
});

/** Moments of the drawn values, and of their distribution. */
function expectLaw(
  name: string,
  drawn: readonly number[],
  [kind, number]: Law,
  bounds: Record<string, number>,
) {
  const n = drawn.length;
  const most = drawn.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  const mean = drawn.reduce((sum, v) => sum + v, 0) / n;
  const square = drawn.reduce((sum, v) => sum + v * v, 0) / n;
  if (kind === 'constant') {
    expect(new Set(drawn), name).toEqual(new Set([Math.fround(number)]));
    return;
  }
  const scale = kind === 'uniform' ? bounds[number]! : number;
  const second = kind === 'uniform' ? scale ** 2 / 3 : scale ** 2;
  const fourth = kind === 'uniform' ? scale ** 4 / 5 : 3 * scale ** 4;
  // Mean and variance are within five standard deviations of their estimates.
  expect(Math.abs(mean), `mean of ${name}`).toBeLessThanOrEqual(5 * Math.sqrt(second / n));
  expect(Math.abs(square - second), `second moment of ${name}`).toBeLessThanOrEqual(
    5 * Math.sqrt((fourth - second ** 2) / n),
  );
  if (kind !== 'uniform') return;
  expect(most, `bound of ${name}`).toBeLessThanOrEqual(scale * (1 + 1e-6));
  // The probability that no one of n draws is closer to the bound is e^-14.
  expect(most, `largest of ${name}`).toBeGreaterThanOrEqual(scale * (1 - Math.min(1, 14 / n)));
}

describe.each(['timm', 'pytorch'] as const)('first values as %s', (scheme) => {
  const laws = cases.laws[scheme];

  it.each(numbered(cases.init))('model $i: every parameter has its law', ({ setting }) => {
    const model = new VisionTransformer({
      ...vitOptions(setting),
      ...{ layerScale: 0.1, qkNorm: true, initScheme: scheme },
    });
    // The values of a parameter in all blocks and for several seeds are tested as one sample.
    const drawn = new Map<string, number[]>();
    for (const [index, parameter] of model.parameters().entries())
      for (const seed of [1, 2, 3]) {
        const name = parameter.name.replace(/^blocks\.\d+/, 'blocks');
        drawn.set(name, [...(drawn.get(name) ?? []), ...parameter.initial(seed, index)]);
      }
    for (const [name, values] of drawn) {
      const law = laws[name];
      if (law) expectLaw(name, values, law, setting.bounds);
      else expect(scheme === 'pytorch' && /_token$|^pos_embed$/.test(name), name).toBe(true);
    }
  });
});
