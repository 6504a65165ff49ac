/** The inside of a model, a run's state in memory, and the profile of a step by op. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { shapes10 } from '../src/data/named.js';
import { Gpu } from '../src/gpu/gpu.js';
import { cosines, learned, look } from '../src/inspect/look.js';
import type { VisionTransformer } from '../src/models/vit.js';
import { resolveSettings } from '../src/recipe/settings.js';
import { forward } from '../src/training/evaluate.js';
import { fit, snapshotOf } from '../src/training/fit.js';
import { probabilities } from '../src/training/score.js';
import { setup, type Training } from '../src/training/setup.js';
import type { Snapshot } from '../src/training/sink.js';
import { encodeState, encodeWeights, progressIn, restoreState } from '../src/training/state.js';

let gpu: Gpu;
beforeAll(async () => {
  gpu = await Gpu.open();
});
afterAll(() => gpu.close());

const sizes = { embedDim: 32, depth: 2, numHeads: 2, patchSize: 8, pool: 'mean' };
const recipe = { epochs: 2, limitTrain: 96, batchSize: 32, learningRate: 2e-3, logInterval: 1 };

async function withTraining<T>(extra: object, body: (training: Training) => Promise<T>): Promise<T> {
  const training = await setup(gpu, resolveSettings(sizes, { ...recipe, ...extra }), shapes10());
  try {
    return await body(training);
  } finally {
    training.release();
  }
}

describe('look', () => {
  it('shows attention whose rows sum to 1, and a lens that ends with the prediction', async () => {
    await withTraining({ pool: 'cls' }, async ({ model, validation: { store } }) => {
      const looks = await look(model as VisionTransformer, store, [5, 9]);
      const logits = forward(model, store, Uint32Array.from([5, 9]));
      const values = await logits.toFloat32();
      logits.release();
      for (const [i, { attention, lens, rollout }] of looks.entries()) {
        expect(attention.map((heads) => heads.length)).toEqual([2, 2]);
        for (const matrix of [...attention.flat(), rollout])
          for (let row = 0; row < 17; row++) {
            const sum = matrix.subarray(17 * row, 17 * row + 17).reduce((total, value) => total + value, 0);
            expect(sum).toBeCloseTo(1, 12);
          }
        const predicted = probabilities(Float64Array.from(values.subarray(10 * i, 10 * i + 10)));
        expect(lens.length).toBe(2);
        lens[1]!.forEach((p, k) => {
          expect(p).toBeCloseTo(predicted[k]!, 6);
        });
        expect(lens[0]).not.toEqual(lens[1]);
      }
    });
  });

  it('reads filters and the similarity of positions', async () => {
    await withTraining({}, async ({ model }) => {
      const { filters, similarity } = await learned(model as VisionTransformer);
      expect(filters?.shape).toEqual([32, 3, 8, 8]);
      expect(filters?.values.length).toBe(32 * 3 * 64);
      for (let i = 0; i < 16; i++) expect(similarity[17 * i]).toBeCloseTo(1, 6);
      expect(similarity[1]).toBeCloseTo(similarity[16]!, 12);
    });
  });

  it('finds parallel, opposite and perpendicular vectors, and none for zero', () => {
    const rows = Float32Array.from([1, 0, 2, 0, -1, 0, 0, 3, 0, 0]);
    expect([...cosines(rows, 5)].slice(0, 5)).toEqual([1, 1, -1, 0, 0]);
  });
});

describe('a state in memory', () => {
  const optimizers = [{ optimizer: 'adamw', emaDecay: 0.9 }, { optimizer: 'muon' }];
  it.each(optimizers)('continues a run with $optimizer to the same bits', async (extra) => {
    const undisturbed = await withTraining(extra, async (training) => {
      let end!: Snapshot;
      await fit(training, {
        async end(snapshot) {
          end = snapshot;
        },
      });
      return encodeWeights(end);
    });
    let state!: Uint8Array;
    await withTraining(extra, async (training) => {
      let steps = 0;
      const sink = {
        async state(snapshot: Snapshot) {
          state = await encodeState(snapshot);
        },
      };
      await fit(training, sink, {
        onStep: (step) => {
          steps = step;
        },
        stopped: () => steps === 2,
      });
    });
    expect(progressIn(state)).toMatchObject({ step: 2, batch: 2, epoch: 0 });
    await withTraining(extra, async (training) => {
      const progress = restoreState(training, state);
      await fit(training, {}, { progress });
      expect(await encodeWeights(snapshotOf(training, progress))).toEqual(undisturbed);
    });
  });

  it('is refused if it is damaged, no state, or of another model', async () => {
    await withTraining({}, async (training) => {
      const snapshot = snapshotOf(training, progressIn(await freshState(training)));
      const state = await encodeState(snapshot);
      const damaged = state.slice();
      damaged[damaged.length - 5]! ^= 1;
      expect(() => restoreState(training, damaged)).toThrow(/^the saved state: .*checksum/);
      const weights = await encodeWeights(snapshot);
      expect(() => restoreState(training, weights)).toThrow('it is not the state of a run');
      await withTraining({ embedDim: 64 }, async (other) => {
        expect(() => restoreState(other, state)).toThrow(/does not fit this model/);
      });
    });
  });

  async function freshState(training: Training): Promise<Uint8Array> {
    let state!: Uint8Array;
    const sink = {
      async state(snapshot: Snapshot) {
        state = await encodeState(snapshot);
      },
    };
    await fit(training, sink, { stopped: () => true });
    return state;
  }
});

it('takes the learning rate that the caller gives', async () => {
  const rates: number[] = [];
  await withTraining({}, (training) =>
    fit(
      training,
      { log: ({ lr }) => rates.push(lr) },
      { learningRate: (scheduled, done) => (done < 2 ? scheduled : 0.5 * scheduled) },
    ),
  );
  const plain: number[] = [];
  await withTraining({}, (training) => fit(training, { log: ({ lr }) => plain.push(lr) }));
  expect(rates).toEqual(plain.map((lr, i) => (i < 2 ? lr : lr / 2)));
});

it('profiles a step by op and pass', async (context) => {
  const { profiler } = gpu;
  if (!profiler) return context.skip('This adapter has no timestamp queries.');
  await withTraining({}, async (training) => {
    profiler.reset();
    profiler.enabled = true;
    await fit(
      training,
      {},
      {
        onStep: () => {
          profiler.enabled = false;
        },
        stopped: () => !profiler.enabled,
      },
    );
    await profiler.collect();
  });
  const times = profiler.byOp();
  profiler.reset();
  const find = (op: string, parameter: string, pass: string) =>
    times.find((time) => time.op === op && time.parameter === parameter && time.pass === pass);
  const qkv = find('linear', 'blocks.1.attn.qkv.weight', 'forward');
  // 32 images of 16 tokens, (16, 32) x (32, 96) each, and a bias.
  expect(qkv?.flops).toBeGreaterThanOrEqual(32 * 2 * 16 * 32 * 96);
  expect(qkv?.kernels.join()).toMatch(/matmul_forward/);
  expect(qkv?.milliseconds).toBeGreaterThan(0);
  const backward = find('linear', 'blocks.1.attn.qkv.weight', 'backward');
  expect(backward?.flops).toBe(2 * qkv!.flops);
  expect(find('attention', '', 'backward')?.kernels.length).toBeGreaterThan(0);
  expect(find('adamw_step', '', 'forward')?.flops).toBe(0);
});
