/** The random draws of augmentation: frequencies, ranges, and magnitudes as torchvision and timm define them. */
import { describe, expect, it } from 'vitest';
import { Counter, stream } from '../src/core/rng.js';
import { type AugmentationOptions, type ImageKey, planImage } from '../src/data/augmentation.js';
import { drawMix, symmetricBeta } from '../src/data/mixing.js';
import {
  autoAugment,
  cifar10Policy,
  randAugment,
  torchvisionOps,
  trivialAugment,
} from '../src/data/policies.js';
import { timmOps, timmRandAugment } from '../src/data/timm_policy.js';
import { NO_MIX } from '../src/ops/batch_plan.js';
import { augmentationOptions } from '../src/recipe/augmentation.js';
import { resolveSettings, type Settings } from '../src/recipe/settings.js';

const SIZE = { height: 32, width: 32 };

const optionsOf = (settings: Partial<Settings>): AugmentationOptions =>
  augmentationOptions(resolveSettings(settings), [0.5, 0.25, 0.75], 1);

const keyOf = (b: number): ImageKey => ({ seed: 1, step: 2, b, record: b });

describe('draws', () => {
  const N = 9000;
  const shareOf = (counts: Map<string, number>, key: string, total: number) => (counts.get(key) ?? 0) / total;
  const count = (keys: readonly string[]) => {
    const counts = new Map<string, number>();
    for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
    return counts;
  };
  const opsOf = (policy: { choose: typeof autoAugment.choose }) =>
    Array.from({ length: N }, (_, b) => policy.choose(new Counter(1, stream.policy, 0, b * 1024), SIZE));

  it('mirror half of the images and shift them evenly by up to four pixels', () => {
    const frames = Array.from({ length: N }, (_, b) => planImage(optionsOf({}), SIZE, keyOf(b)).frame);
    expect(frames.filter(({ flip }) => flip).length / N).toBeCloseTo(0.5, 1.5);
    for (const side of ['top', 'left'] as const) {
      const counts = count(frames.map((frame) => String(frame[side])));
      expect([...counts.keys()].map(Number).sort((a, b) => a - b)).toEqual([-4, -3, -2, -1, 0, 1, 2, 3, 4]);
      for (const key of counts.keys()) expect(shareOf(counts, key, N)).toBeCloseTo(1 / 9, 1.7);
    }
  });

  it('mirror half of the images in the first epoch with --flip alternating, and then the others in turn', () => {
    const settings = resolveSettings({ flip: 'alternating' });
    const [alternating, random] = [augmentationOptions(settings, [0.5], 5), optionsOf({})];
    const planOf = (options: AugmentationOptions, key: ImageKey) => planImage(options, SIZE, key).frame;
    const flips = (seed: number, step: number, shift = 0) =>
      Array.from(
        { length: N },
        (_, record) => planOf(alternating, { seed, step, b: record + shift, record }).flip,
      );
    const first = flips(1, 0);
    expect(first.filter((flip) => flip).length / N).toBeCloseTo(0.5, 1.5);
    expect(flips(2, 0)).not.toEqual(first);
    // Every fifth step begins an epoch. The place in the batch does not matter.
    for (const step of [4, 5, 9, 10, 15])
      expect(flips(1, step, 3)).toEqual(first.map((flip) => flip !== (Math.floor(step / 5) % 2 === 1)));
    const { flip: _, ...crop } = planOf(alternating, keyOf(7));
    expect(planOf(random, keyOf(7))).toMatchObject(crop);
  });

  it('take windows of the asked area and proportions, inside of the image', () => {
    const options = optionsOf({ scaleMin: 0.25, ratioMax: 1.5 });
    for (let b = 0; b < 500; b++) {
      const { top, left, height, width } = planImage(options, SIZE, keyOf(b)).frame;
      expect(top >= 0 && left >= 0 && top + height <= 32 && left + width <= 32).toBe(true);
      expect(height * width).toBeGreaterThan(0.25 * 1024 - 32);
      expect(Math.max(height / width, width / height)).toBeLessThan(1.6);
    }
  });

  it('of colour jitter are even within its limits, every op once and in any order', () => {
    const [jitter] = optionsOf({ augment: 'none', colorJitter: 0.4, hueJitter: 0.1 }).policies.slice(-1);
    const drawn = opsOf(jitter!);
    for (const [op, low, high] of [
      ['Brightness', 0.6, 1.4],
      ['Contrast', 0.6, 1.4],
      ['Color', 0.6, 1.4],
      ['Hue', -0.1, 0.1],
    ] as const) {
      const values = drawn.map((ops) => ops.filter((it) => it.op === op)).map(([it]) => it!.value);
      const mean = values.reduce((a, b) => a + b, 0) / N;
      const spread = high - low;
      expect(Math.min(...values)).toBeGreaterThanOrEqual(low);
      expect(Math.max(...values)).toBeLessThanOrEqual(high);
      expect(Math.max(...values) - Math.min(...values)).toBeGreaterThan(0.99 * spread);
      expect(Math.abs(mean - (low + high) / 2) / spread).toBeLessThan(0.015);
      const first = drawn.filter((ops) => ops[0]!.op === op).length / N;
      expect(first).toBeCloseTo(0.25, 1.7);
    }
    expect(drawn.every((ops) => ops.length === 4)).toBe(true);
  });

  it('erase as often as asked, boxes of 2 % to a third', () => {
    const options = optionsOf({ randomErasing: 0.25 });
    const boxes = Array.from({ length: N }, (_, b) => planImage(options, SIZE, keyOf(b)).frame.erase).filter(
      (box) => box,
    );
    expect(boxes.length / N).toBeCloseTo(0.25, 1.5);
    for (const box of boxes) {
      const area = (box!.bottom - box!.top) * (box!.right - box!.left);
      expect(area > 12 && area < 370).toBe(true);
    }
  });

  it('of RandAugment and TrivialAugmentWide take every op equally often', () => {
    for (const policy of [randAugment(2, 9), trivialAugment]) {
      const chosen = opsOf(policy).flat();
      const counts = count(chosen.map(({ op }) => op));
      expect(chosen).toHaveLength(N * policy.slots);
      for (const op of torchvisionOps) expect(shareOf(counts, op, chosen.length)).toBeCloseTo(1 / 14, 1.9);
      const shears = chosen.filter(({ op, value }) => op === 'ShearX' && value !== 0);
      expect(shears.filter(({ value }) => value < 0).length / shears.length).toBeCloseTo(0.5, 0.9);
    }
  });

  it("of timm's RandAugment apply half of them, at magnitudes around its own", () => {
    const policy = timmRandAugment({ numOps: 2, magnitude: 7, std: 0.5, increasing: true });
    const chosen = opsOf(policy).flat();
    const counts = count(chosen.map(({ op }) => op));
    expect(chosen.length / (2 * N)).toBeCloseTo(0.5, 1.7);
    for (const op of timmOps) expect(shareOf(counts, op, chosen.length)).toBeCloseTo(1 / 15, 1.7);
    const angles = chosen.filter(({ op }) => op === 'Rotate').map(({ value }) => Math.abs(value));
    expect(angles.reduce((a, b) => a + b, 0) / angles.length / 3).toBeCloseTo(7, 0.9);
    expect(Math.max(...angles) > 22 && Math.max(...angles) < 30).toBe(true);
  });

  it.each([
    [9, { Rotate: 27, TranslateX: 12.96, Posterize: 1, Solarize: 26, SolarizeAdd: 99, ShearX: 0.27 }],
    [10, { Rotate: 30, Posterize: 0, Solarize: 0, SolarizeAdd: 110 }],
  ])("of timm's RandAugment at %d mean what timm means", (magnitude, expected) => {
    const chosen = opsOf(timmRandAugment({ numOps: 2, magnitude, std: 0, increasing: true })).flat();
    for (const [op, value] of Object.entries(expected))
      for (const found of chosen.filter((it) => it.op === op))
        expect(Math.abs(found.value)).toBeCloseTo(value, 9);
    for (const { op, value } of chosen)
      if (op === 'Color')
        expect(Math.max(Math.abs(value - 1), value < 1 ? 1 - value : 0)).toBeCloseTo(magnitude * 0.09, 9);
  });

  it('of RandAugment(2, 9) mean what torchvision means', () => {
    const expected: Record<string, number[]> = {
      ShearX: [-0.09, 0.09],
      Rotate: [-9, 9],
      TranslateY: [-4, 4],
      Color: [0.73, 1.27],
      Posterize: [7],
      Solarize: [178.5],
    };
    const chosen = opsOf(randAugment(2, 9)).flat();
    for (const [op, wanted] of Object.entries(expected)) {
      const found = new Set(chosen.filter((it) => it.op === op).map(({ value }) => value.toFixed(6)));
      expect([...found].sort()).toEqual(wanted.map((value) => value.toFixed(6)).sort());
    }
  });

  it('of AutoAugment follow its table', () => {
    const chosen = opsOf(autoAugment);
    const expected = new Map<string, number>();
    for (const [first, p, , second, q] of cifar10Policy) {
      expected.set(first, (expected.get(first) ?? 0) + p / 25);
      expected.set(second, (expected.get(second) ?? 0) + q / 25);
    }
    const counts = count(chosen.flat().map(({ op }) => op));
    for (const [op, share] of expected) expect(shareOf(counts, op, N)).toBeCloseTo(share, 1.6);
    const signless = new Set(chosen.flat().map(({ op, value }) => `${op} ${Math.abs(value).toFixed(2)}`));
    for (const known of [
      'TranslateY 14.00',
      'Rotate 6.67',
      'Solarize 198.33',
      'Solarize 170.00',
      'Posterize 5.00',
      'Color 0.10',
    ])
      expect([...signless]).toContain(known);
  });
});

describe('mixing', () => {
  it.each([0.1, 0.8, 1, 4])('λ has the moments of Beta(%d, %d)', (alpha) => {
    const draw = new Counter(1, 2);
    const all = Array.from({ length: 20_000 }, () => symmetricBeta(alpha, draw));
    const mean = all.reduce((a, b) => a + b, 0) / all.length;
    const variance = all.reduce((a, b) => a + (b - mean) ** 2, 0) / all.length;
    expect(all.every((v) => v >= 0 && v <= 1)).toBe(true);
    expect(mean).toBeCloseTo(0.5, 1.7);
    expect(variance / (1 / (4 * (2 * alpha + 1)))).toBeCloseTo(1, 1.3);
  });

  it('is drawn with its probabilities, and ends where it should', () => {
    const options = { mixup: 0.8, cutmix: 1, probability: 0.7, switchProbability: 0.25, offStep: 4000 };
    const mixes = Array.from({ length: 4000 }, (_, step) => drawMix(options, SIZE, 1, step));
    const cuts = mixes.filter(({ weight, share }) => weight === 1 && share < 1);
    expect(mixes.filter((mix) => mix === NO_MIX).length / 4000).toBeCloseTo(0.3, 1);
    expect(cuts.length / 4000).toBeCloseTo(0.7 * 0.25, 1.3);
    for (const { share, box } of cuts)
      expect(share).toBeCloseTo(1 - ((box.bottom - box.top) * (box.right - box.left)) / 1024, 12);
    const always = { ...options, probability: 1, offStep: 3 };
    expect([2, 3, 4].map((step) => drawMix(always, SIZE, 1, step) === NO_MIX)).toEqual([false, true, true]);
    expect(drawMix({ ...options, mixup: 0, probability: 1 }, SIZE, 1, 3).weight).toBe(1);
  });
});
