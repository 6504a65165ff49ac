/** Measures the knobs of `src/gpu/tuning.ts` on this adapter: each candidate at the shapes of a ViT-Tiny step that fills it. */
import { Tape } from '../autograd/tape.js';
import type { Gpu } from '../gpu/gpu.js';
import type { Knobs } from '../gpu/tuning.js';
import { columnSum } from '../ops/column_sum.js';
import { layerNorm, linear } from '../ops/index.js';
import { keep } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { type Effort, median, timed } from './measure.js';

export interface TuneRow {
  readonly knob: keyof Knobs;
  readonly value: number;
  readonly ms: number;
  readonly chosen: boolean;
}

interface Trial {
  readonly knob: keyof Knobs;
  readonly candidates: readonly number[];
  readonly body: () => void;
}

// A candidate must beat the present value by this much: less is noise.
const MARGIN = 0.97;
const ROUNDS = 3;

const leaf = (gpu: Gpu, ...shape: number[]): Tensor => {
  const tensor = keep(Tensor.zeros(gpu, shape));
  tensor.requiresGrad = true;
  tensor.grad = keep(Tensor.zeros(gpu, shape));
  return tensor;
};

function trials(gpu: Gpu): Trial[] {
  const [batch, C, classes] = [gpu.info.software ? 64 : 512, 192, 10];
  const rows = batch * 65;
  const x = leaf(gpu, rows, C);
  const weight = leaf(gpu, C);
  const bias = leaf(gpu, C);
  const pooled = leaf(gpu, batch, C);
  const head = leaf(gpu, classes, C);
  const dhead = keep(Tensor.zeros(gpu, [batch, classes]));
  const hidden = leaf(gpu, 4 * C, C);
  const dhidden = keep(Tensor.zeros(gpu, [rows, 4 * C]));
  const backward = (forward: () => Tensor, gradient: Tensor) => {
    const tape = new Tape();
    tape.backward(tape.run(forward), { gradient });
  };
  return [
    {
      knob: 'layerNormSubgroups',
      candidates: [16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192],
      body: () => backward(() => layerNorm(x, weight, bias), x),
    },
    {
      knob: 'columnChunks',
      candidates: [4, 8, 16, 32, 64, 128, 256],
      body: () => columnSum(x, bias, { rows, columns: C }),
    },
    {
      knob: 'plainProducts',
      candidates: [0, 2 ** 24],
      body: () => backward(() => linear(pooled, head), dhead),
    },
    {
      knob: 'productGroups',
      candidates: [64, 128, 256, 512, 1024],
      body: () => backward(() => linear(x, hidden), dhidden),
    },
  ];
}

/** Sets every knob to its best value on this device; returns the knobs and all measurements. */
export async function tune(gpu: Gpu, effort: Effort): Promise<{ knobs: Knobs; rows: TuneRow[] }> {
  const { knobs } = gpu.info;
  const rows: TuneRow[] = [];
  for (const { knob, candidates, body } of trials(gpu)) {
    const present = knobs[knob];
    const all = [...new Set([present, ...candidates])];
    const times = new Map<number, number[]>(all.map((value) => [value, []]));
    // Round by round, so that a slow moment of the machine falls on all candidates alike.
    for (let round = 0; round < ROUNDS; round++)
      for (const value of all) {
        knobs[knob] = value;
        times.get(value)?.push((await timed(gpu, body, effort)) ?? 0);
      }
    const ms = (value: number) => median(times.get(value) ?? []);
    const best = all.reduce((a, b) => (ms(b) < ms(a) ? b : a));
    knobs[knob] = ms(best) < MARGIN * ms(present) ? best : present;
    for (const value of all.toSorted((a, b) => a - b))
      rows.push({ knob, value, ms: ms(value), chosen: value === knobs[knob] });
  }
  return { knobs, rows };
}
