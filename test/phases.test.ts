/** FLOPs of training, counted; runs that FLOPs end; phases of a run, and what they take over. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { TensorInfo } from '../src/io/safetensors.js';
import { phasesOf } from '../src/recipe/phases.js';
import { resolveSettings, type Settings } from '../src/recipe/settings.js';
import { Trainer } from '../src/runs/trainer.js';
import { fit } from '../src/training/fit.js';
import { stepMemory } from '../src/training/forecast.js';
import { Plan } from '../src/training/plan.js';
import type { StepEntry } from '../src/training/progress.js';
import { setup } from '../src/training/setup.js';
import { scratch } from './faults/common.js';
import { few, results, silent, steps, tiny, trainerInput } from './faults/run.js';
import { withGpu } from './gpu.js';

const gpuOf = withGpu();
const settings = (more: Partial<Settings> = {}) => resolveSettings({ ...tiny, ...more });

describe('FLOPs', () => {
  // 20 images of 32 x 32 in patches of 16: a class token and 4 patches of 768 numbers; width 16, one block, MLP of 32.
  const [B, N, D, H] = [20, 5, 16, 32];
  const products = 3 * 2 * B * N * (3 * D * D + D * D + 2 * D * H); // qkv, projection, MLP: forward, and two gradients
  const attention = 3.5 * 4 * B * N * N * D; // two products forward, five backward
  const embedding = 2 * 2 * B * 4 * 768 * D; // the images have no gradient
  const head = 3 * 2 * B * D * 10; // classes
  const adamw = products + attention + embedding + head;
  // Newton-Schulz, five iterations of three products, on q, k, v and the projection (16 x 16) and two of 32 x 16.
  const square = (rows: number, columns: number) => {
    const [side, long] = [Math.min(rows, columns), Math.max(rows, columns)];
    return 5 * (2 * side * side * long + 2 * side ** 3 + 2 * side * side * long);
  };
  // Two of the four patches and the class token.
  const kept = embedding + head + (products * 3) / N + (attention * 9) / N ** 2;
  const muon = adamw + 4 * square(D, D) + 2 * square(H, D);

  it.each([
    ['adamw', {}, adamw],
    ['muon', { optimizer: 'muon' as const }, muon],
    ['half of the patches', { keepTokens: 0.5 }, kept],
    ['two micro-batches', { gradAccumSteps: 2 }, 2 * adamw],
    // The last block is not computed again, and it is the only one.
    ['checkpointing', { gradCheckpointing: true }, adamw],
    ['checkpointing of two blocks', { gradCheckpointing: true, depth: 2 }, adamw + products + attention + products / 3 + attention / 3.5],
  ])('of a step with %s are those counted by hand', async (_, more, expected) => {
    const { phases } = await stepMemory(gpuOf(), settings(more), few);
    expect(phases).toHaveLength(1);
    expect(phases[0]!.flops.whole).toBe(expected);
  }); // biome-ignore format: a case a line

  it('of a run are those that the device counts, step by step', async () => {
    const gpu = gpuOf();
    const training = await setup(gpu, settings({ epochs: 2 }), few);
    const before = gpu.flops;
    const counted: number[] = [];
    const logged: StepEntry[] = [];
    await fit(
      training,
      { log: (entry) => void logged.push(entry) },
      { onStep: () => void counted.push(gpu.flops - before) },
    );
    training.release();
    // Evaluation after an epoch is counted by the device and not by the run.
    expect(logged.slice(0, 3).map(({ flops }) => flops)).toEqual(counted.slice(0, 3));
    expect(counted[0]).toBe(adamw);
    expect(logged.map(({ flops }) => flops)).toEqual([1, 2, 2.5, 3.5, 4.5, 5].map((n) => n * adamw));
  });
});

describe('a plan', () => {
  const phase = (until: number, whole: number, last = whole) => ({
    until,
    settings: tiny,
    flops: { whole, last },
  });
  const planOf = (more: Partial<Settings>, phases: readonly ReturnType<typeof phase>[], batches = 10) =>
    new Plan(settings({ warmupEpochs: 0, epochs: 10, ...more }), batches, phases);

  it.each([
    ['all epochs', {}, [phase(1, 5)], 100, 'finished', [0]],
    ['--max-steps', { maxSteps: 30 }, [phase(1, 5)], 30, 'max-steps', [0]],
    ['--max-flops', { maxFlops: 99 }, [phase(1, 5)], 19, 'max-flops', [0]],
    ['--max-flops with a cheap last batch', { maxFlops: 99 }, [phase(1, 5, 1)], 21, 'max-flops', [0]],
    ['--max-flops beyond all epochs', { maxFlops: 1000 }, [phase(1, 5)], 100, 'finished', [0]],
    ['phases by steps', {}, [phase(0.25, 1), phase(1, 4)], 100, 'finished', [0, 25]],
    // 50 steps of 1 are half of 100 FLOPs, and 12 of 4 are the rest.
    ['phases by FLOPs', { maxFlops: 100 }, [phase(0.5, 1), phase(1, 4)], 62, 'max-flops', [0, 50]],
    ['--max-steps within a phase', { maxFlops: 100, maxSteps: 40 }, [phase(0.5, 1), phase(1, 4)], 40, 'max-steps', [0]],
  ] as const)('of %s', (_, more, phases, steps, limit, begins) => {
    const plan = planOf(more, phases);
    expect(plan.totalSteps).toBe(steps);
    expect(plan.limit).toBe(limit);
    const found = Array.from({ length: steps }, (_, step) => plan.phaseAt(step));
    expect(begins.map((_, i) => found.indexOf(i))).toEqual(begins);
    expect(found).toEqual([...found].sort());
    if ('maxFlops' in more) expect(plan.flopsAt(steps)).toBeLessThanOrEqual(more.maxFlops);
  }); // biome-ignore format: a case a line

  it('counts each step once', () => {
    const plan = planOf({}, [phase(0.3, 2, 1), phase(0.5, 3), phase(1, 7, 4)], 7);
    let sum = 0;
    for (let step = 0; step < plan.totalSteps; step++) {
      expect(plan.flopsAt(step)).toBe(sum);
      sum += plan.flopsOf(plan.phaseAt(step), step % 7);
    }
    expect(plan.flopsAt(plan.totalSteps)).toBe(sum);
  });

  it('has learning rates that fall with the FLOPs spent', () => {
    const plan = planOf({ maxFlops: 100, learningRate: 1 }, [phase(0.5, 1), phase(1, 4)]);
    const cosine = (share: number) => 0.5 * (1 + Math.cos(Math.PI * share));
    expect(plan.learningRate(0)).toBe(1);
    expect(plan.learningRate(50)).toBeCloseTo(cosine(50 / 98), 12); // the steps spend 98 of the 100
    expect(plan.learningRate(61)).toBeCloseTo(cosine(94 / 98), 12);
  });

  it.each([
    [{ maxFlops: 4 }, '--max-flops 4 is less than the 5 of one step. Use a larger one or a smaller --batch-size.'],
    [{ maxFlops: 100, warmupEpochs: 2 }, '--warmup-epochs 2 means 20 steps: it must be shorter than the 20 steps of --max-flops 100.'],
  ])('refuses %j', (more, says) => {
    expect(() => planOf(more, [phase(1, 5)])).toThrow(says);
  }); // biome-ignore format: a case a line
});

describe('--phases', () => {
  it('are shares of the run, and then the settings as they are', () => {
    const phases = phasesOf(settings({ phases: '0.3: patchSize=8, augment=none; 0.5: patch-size=8;' }));
    expect(phases.map(({ until }) => until)).toEqual([0.3, 0.5, 1]);
    const shown = phases.map(({ settings: { patchSize, augment, phases: inner } }) => [
      patchSize,
      augment,
      inner,
    ]);
    expect(shown).toEqual([[8, 'none', ''], [8, 'flip-crop', ''], [16, 'flip-crop', '']]); // biome-ignore format: short
    expect(
      phasesOf(settings({ phases: '0.9: ; 1: augment=none' })).map(({ settings: { augment } }) => augment),
    ).toEqual(['flip-crop', 'none']);
    expect(phasesOf(settings())).toHaveLength(1);
  });

  it.each([
    ['half: patch_size=8', '--phases half: patch_size=8 must be a share of the run and settings, such as 0.5: patch_size=8.'],
    ['1.5: patch_size=8', 'The share is above 0 and at most 1.'],
    ['0.5: patch_size=8; 0.4: patch_size=4', '--phases: a phase until 0.4 cannot follow one until 0.5; order them.'],
    ['0.5: patch_sise=8', '--phases 0.5: patch_sise=8: there is no setting called patch_sise;'],
    ['0.5: patch_size=wide', '--phases 0.5: patch_size=wide: patch_size is a number, not "wide".'],
    ['0.5: embed_dim=8', '--phases 0.5: embed_dim=8: a phase cannot change embed_dim. Set it for the whole run.'],
    ['0.5: seed=3', 'a phase cannot change seed.'],
    ['0.5: patch_size=0', '--patch-size must be at least 1, not 0.'],
  ])('%s is refused in a sentence', (phases, says) => {
    expect(() => phasesOf(settings({ phases }))).toThrow(says);
  }); // biome-ignore format: a case a line
});

describe('a run of three phases', () => {
  const phased = settings({
    phases: '0.3: patch_size=8, augment=none, freeze_patch_embed=true; 0.7: input_size=16, keep_tokens=0.5',
    optimizer: 'muon',
  });

  async function train(name: string, options: { resume?: string; stopAfter?: number } = {}) {
    const path = options.resume ?? join(scratch(`phases-${name}`), 'run');
    let seen = 0;
    const notes: string[] = [];
    const reporter = {
      ...silent,
      note: (sentence: string) => void notes.push(sentence),
      step: () => {
        if (++seen === options.stopAfter) trainer.stopRequested = true;
      },
    };
    const input = trainerInput(gpuOf(), path, {
      settings: phased,
      reporter,
      ...(options.resume && { resume: path }),
    });
    const trainer = await Trainer.prepare(input);
    const outcome = await trainer.run();
    const { label } = trainer.model;
    trainer.release();
    return { path, outcome, notes, label };
  }

  it('ends with the last model, and continues exactly from any step', async () => {
    const whole = await train('whole');
    expect(whole.outcome.reason).toBe('finished');
    // Nine steps: phases begin after ceil(0.3 * 9) = 3 and ceil(0.7 * 9) = 7 of them.
    expect(whole.notes.filter((note) => note.includes('phase'))).toEqual([
      'Step 3: phase 2 begins, 16/1/2 p16 mlp 2 cls 16x16.',
      'Step 7: phase 3 begins, 16/1/2 p16 mlp 2 cls.',
    ]);
    expect(steps(whole.path).map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    for (const stopAfter of [2, 3, 4, 7, 8]) {
      const { path, outcome } = await train(`stopped-${stopAfter}`, { stopAfter });
      expect(outcome.reason).toBe('stopped');
      await train('', { resume: path });
      expect(results(path)).toEqual(results(whole.path));
    }
  });

  it('has weights files that say which model they are of', async () => {
    const { path } = await train('kept');
    const files = Object.fromEntries(results(path).tensors) as Record<
      string,
      ReadonlyMap<string, TensorInfo>
    >;
    const final = files['final.safetensors']!;
    expect(final.get('pos_embed')!.shape).toEqual([1, 5, 16]);
    expect(final.get('patch_embed.proj.weight')!.shape).toEqual([16, 3, 16, 16]);
  });

  it('is refused at once where the next model cannot take over', async () => {
    const shifted = settings({ tokenizer: 'shifted', phases: '0.5: patch_size=8' });
    await expect(setup(gpuOf(), shifted, few)).rejects.toThrow(
      /^--phases cannot change the size of patch_embed\./,
    );
  });
});
