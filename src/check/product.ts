/** Matrix products by every kernel and tile that the adapter can run, with all that may be done beside one, against float64. */

import { autocast } from '../autograd/autocast.js';
import { roundToHalf, toHalves } from '../core/half.js';
import type { Gpu } from '../gpu/gpu.js';
import type { Choice } from '../gpu/variants.js';
import { erf } from '../ops/gelu.js';
import { type Product, runMatmul } from '../ops/product.js';
import { everyChoice } from '../ops/product_kernels.js';
import { type HostArray, Tensor } from '../tensor/tensor.js';
import type { Finding } from './ops.js';
import { GUARD, guarded, readGuarded } from './run.js';
import { digest, EPSILON, HALF_EPSILON, normals, worst } from './values.js';

export interface Trial extends Partial<Product> {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly bias?: boolean;
  readonly sums?: boolean;
  readonly epilogue?: 'residual' | 'gelu' | 'gelu_gradient';
  readonly accumulate?: boolean;
  readonly half?: boolean;
  /** A, B, C and aux are f16. */
  readonly narrow?: boolean;
}

/** Ragged against every tile; sums long enough to be split. */
export const productTrials: readonly Trial[] = [
  { M: 141, N: 148, K: 40 },
  { M: 65, N: 132, K: 100, transB: true, bias: true, epilogue: 'gelu' },
  { M: 132, N: 68, K: 36, epilogue: 'gelu_gradient', transA: true },
  { M: 76, N: 140, K: 3000, transA: true, sums: true, accumulate: true },
  { batch: 3, M: 72, N: 20, K: 12, transA: true, transB: true, epilogue: 'residual' },
  { M: 66, N: 67, K: 65, bias: true },
  // In whole layers of 64 columns, for the kernels that read such.
  { M: 70, N: 128, K: 192, transB: true, bias: true, epilogue: 'gelu' },
  { M: 525, N: 64, K: 128, epilogue: 'gelu_gradient', accumulate: true },
  { M: 6, N: 64, K: 64, bias: true, epilogue: 'residual' },
  { M: 69, N: 64, K: 320, transB: true, bias: true, epilogue: 'residual' },
  { M: 128, N: 64, K: 75, transA: true, sums: true, accumulate: true },
  { M: 64, N: 64, K: 384, transA: true, transB: true },
].flatMap((trial) => [trial, { ...trial, half: true }, { ...trial, half: true, narrow: true }] as Trial[]);

export const describeTrial = ({ batch = 1, M, N, K, ...rest }: Trial): string =>
  [`${batch > 1 ? `${batch} x ` : ''}(${M}, ${K}) (${K}, ${N})`, ...Object.entries(rest).map(([k, v]) => (v === true ? k : `${v}`))].join(' '); // biome-ignore format: one line

const normal = (x: number): number => 0.5 * (1 + erf(x / Math.SQRT2));
const geluGradient = (x: number): number => normal(x) + (x * Math.exp(-0.5 * x * x)) / Math.sqrt(2 * Math.PI);

interface Values {
  readonly a: Float32Array<ArrayBuffer>;
  readonly b: Float32Array<ArrayBuffer>;
  readonly bias: Float32Array<ArrayBuffer>;
  /** Contents of C and of sums before the product, and of aux. */
  readonly old: Float32Array<ArrayBuffer>;
  readonly oldSums: Float32Array<ArrayBuffer>;
  readonly aux: Float32Array<ArrayBuffer>;
}

function valuesOf({ batch = 1, M, N, K, narrow = false }: Trial): Values {
  const held = (n: number, seed: number) => normals([n], seed).map((v) => (narrow ? roundToHalf(v) : v));
  return {
    a: held(batch * M * K, 1),
    b: held(batch * K * N, 2),
    bias: normals([N], 3),
    old: held(batch * M * N, 4),
    oldSums: normals([M], 5),
    aux: held(batch * M * N, 6),
  };
}

/** A result and, element by element, the sizes that its rounding errors are fractions of. */
interface Bounded {
  readonly value: Float64Array;
  readonly size: Float64Array;
}

const bounded = (n: number): Bounded => ({ value: new Float64Array(n), size: new Float64Array(n) });

/** The product and the bias, before the epilogue. */
function productOf(trial: Trial, { a, b, bias }: Values): Bounded {
  const { batch = 1, M, N, K, transA = false, transB = false, half = false } = trial;
  const [left, right] = half ? [a.map(roundToHalf), b.map(roundToHalf)] : [a, b];
  const result = bounded(batch * M * N);
  for (let z = 0; z < batch; z++)
    for (let m = 0; m < M; m++)
      for (let n = 0; n < N; n++) {
        let sum = trial.bias ? (bias[n] as number) : 0;
        let size = Math.abs(sum);
        for (let k = 0; k < K; k++) {
          const x = left[z * M * K + (transA ? k * M + m : m * K + k)] as number;
          const y = right[z * K * N + (transB ? n * K + k : k * N + n)] as number;
          sum += x * y;
          size += Math.abs(x * y);
        }
        result.value[(z * M + m) * N + n] = sum;
        result.size[(z * M + m) * N + n] = size;
      }
  return result;
}

function finished({ epilogue, accumulate }: Trial, { aux, old }: Values, product: Bounded): Bounded {
  const result = bounded(product.value.length);
  product.value.forEach((value, i) => {
    const [other, before] = [aux[i] as number, accumulate ? (old[i] as number) : 0];
    const made = {
      residual: value + other,
      gelu: value * normal(value),
      gelu_gradient: value * geluGradient(other),
    };
    result.value[i] = (epilogue ? made[epilogue] : value) + before;
    // |gelu'| stays below 1.13; gelu itself, below its argument, is computed to a part of 1.
    const beside = epilogue === 'residual' ? Math.abs(other) : epilogue ? 1 : 0;
    result.size[i] = 1.2 * (product.size[i] as number) + beside + Math.abs(before);
  });
  return result;
}

function sumsOf({ M, K, transA, accumulate }: Trial, { a, oldSums }: Values): Bounded {
  const result = bounded(M);
  for (let m = 0; m < M; m++) {
    let [sum, size] = accumulate ? [oldSums[m] as number, Math.abs(oldSums[m] as number)] : [0, 0];
    for (let k = 0; k < K; k++) {
      const x = a[transA ? k * M + m : m * K + k] as number;
      sum += x;
      size += Math.abs(x);
    }
    result.value[m] = sum;
    result.size[m] = size;
  }
  return result;
}

/** Runs a trial by the adapter's own choice, or by each of the given ones. */
export async function checkProduct(
  gpu: Gpu,
  trial: Trial,
  choices: readonly (Choice | undefined)[] = [undefined],
): Promise<Finding[]> {
  const values = valuesOf(trial);
  const product = productOf(trial, values);
  const wanted = { c: finished(trial, values, product), aux: product, sums: sumsOf(trial, values) };
  const findings: Finding[] = [];
  for (const choice of choices) findings.push(await run(gpu, trial, { values, wanted, choice }));
  return findings;
}

interface Plan {
  readonly values: Values;
  readonly wanted: { readonly c: Bounded; readonly aux: Bounded; readonly sums: Bounded };
  readonly choice: Choice | undefined;
}

async function run(gpu: Gpu, trial: Trial, { values, wanted, choice }: Plan): Promise<Finding> {
  const { batch = 1, M, N, K, transA = false, transB = false, epilogue, accumulate = false } = trial;
  const { narrow = false } = trial;
  gpu.diagnostics.slackBytes = 4 * GUARD;
  const held = (data: Float32Array<ArrayBuffer>) => (narrow ? toHalves(data) : data);
  const written = (data: HostArray) => {
    const it = guarded(gpu, [data.length], data instanceof Uint16Array ? 'f16' : 'f32');
    it.tensor.upload(data);
    return it;
  };
  const operands = { a: Tensor.from(gpu, held(values.a)), b: Tensor.from(gpu, held(values.b)) };
  const bias = trial.bias ? Tensor.from(gpu, values.bias) : undefined;
  const c = written(held(values.old));
  const aux = epilogue && written(held(values.aux));
  const sums = trial.sums ? written(values.oldSums) : undefined;
  const finish = epilogue && aux && { kind: epilogue, aux: aux.tensor };
  const all = { ...operands, c: c.tensor, bias, epilogue: finish, sums: sums?.tensor, accumulate };
  const multiply = () => runMatmul({ batch, M, N, K, transA, transB }, all, choice);
  if (trial.half) autocast(multiply);
  else multiply();

  const problems: string[] = [];
  let most = 0;
  const outputs: Float32Array[] = [];
  const compare = async (name: 'c' | 'aux' | 'sums', is: typeof c | undefined) => {
    if (!is) return;
    const { value, size } = wanted[name];
    const actual = await readGuarded(is, problems);
    outputs.push(actual);
    // A result that is stored in f16 is rounded once more.
    const rounding = narrow && name !== 'sums' ? HALF_EPSILON : 0;
    const { ratio, at } = worst(actual, value, (i) => 2 * (K + 4) * EPSILON * (size[i] as number) + rounding * Math.abs(value[i] as number));
    most = Math.max(most, ratio);
    if (!(ratio <= 1)) problems.push(`${name} at ${at}: ${actual[at]} for ${value[at]}, ${ratio} times the tolerance`);
  }; // biome-ignore format: sentences on one line
  await compare('c', c);
  if (epilogue === 'gelu') await compare('aux', aux);
  await compare('sums', sums);
  for (const it of [c, aux, sums].flatMap((x) => (x ? [x.whole, x.tensor] : []))) it.release();
  for (const it of [operands.a, operands.b, bias]) it?.release();
  const variant = choice ? nameOf(choice) : (gpu.diagnostics.picked.get('matmul_forward')?.kernel ?? '');
  return { variant, worst: most, digest: digest(outputs), problems };
}

/** `matmul_forward DEPTH=16 QM=2 QN=2` */
const nameOf = ({ kernel, tune }: Choice): string =>
  [kernel.name, ...Object.entries(tune).map(([name, value]) => `${name}=${value}`)].join(' ');

/** A trial by every kernel with every tile that the adapter can run it with. */
export const checkEveryProduct = (gpu: Gpu, trial: Trial): Promise<Finding[]> =>
  checkProduct(gpu, trial, everyChoice(gpu.info, trialShape(trial)));

const trialShape = (trial: Trial) => ({
  ...{ batch: 1, transA: false, transB: false, ...trial },
  ...{ aux: trial.epilogue !== undefined, half: trial.half === true },
});
