// What the peers' scripts share: their argument, a browser's navigator, random numbers, the timed loop.
import { availableParallelism } from 'node:os';

/** The one argument: `{"backend", "dim", "depth", "heads", "mlp", "batch", "steps"}`, with images of 64 patches of 48 numbers. */
export const spec = { tokens: 64, inputs: 48, classes: 10, ...JSON.parse(process.argv[2] ?? '{}') };

/** What both packages look for; the object that create() returns must stay reachable, and does so here. */
export async function shimNavigator(webgpu) {
  const navigator = { userAgent: 'node', hardwareConcurrency: availableParallelism() };
  if (webgpu) {
    const { create, globals } = await import('webgpu');
    Object.assign(globalThis, globals);
    navigator.gpu = create([]);
  }
  Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true });
}

let word = 12345;
function uniform() {
  word = (Math.imul(word, 1664525) + 1013904223) >>> 0;
  return word / 2 ** 32;
}

/** Values of mean 0 and the given deviation. */
export const draws = (count, deviation) =>
  Float32Array.from({ length: count }, () => (uniform() + uniform() + uniform() - 1.5) * 2 * deviation);

export const labels = (count) => Array.from({ length: count }, (_, i) => i % spec.classes);

/** The model's parameters by name, `make(shape, deviation or constant)` giving the peer's own arrays. */
export function parameters({ random, constant }) {
  const { dim, depth, mlp, tokens, inputs, classes } = spec;
  const hidden = dim * mlp;
  const linear = (from, to) => ({ weight: random([from, to], 0.02), bias: constant([to], 0) });
  const norm = () => ({ weight: constant([dim], 1), bias: constant([dim], 0) });
  return {
    embed: linear(inputs, dim),
    positions: random([1, tokens, dim], 0.02),
    blocks: Array.from({ length: depth }, () => ({
      norm1: norm(),
      qkv: linear(dim, 3 * dim),
      proj: linear(dim, dim),
      norm2: norm(),
      fc1: linear(dim, hidden),
      fc2: linear(hidden, dim),
    })),
    norm: norm(),
    head: linear(dim, classes),
  };
}

/** Runs the steps, each awaited to its loss; after each, a line of JSON with all so far: the last one counts. */
export async function report(peer, step) {
  const { backend, dim, depth, heads, batch, steps } = spec;
  const model = `${dim}/${depth}/${heads}`;
  const ms = [];
  let first_ms = 0;
  for (let i = 0; i <= steps; i++) {
    const start = performance.now();
    const loss = await step(i);
    const took = performance.now() - start;
    if (!Number.isFinite(loss)) throw new Error(`The loss of step ${i} is ${loss}.`);
    if (i === 0) first_ms = took;
    else ms.push(took);
    console.log(JSON.stringify({ peer, backend, model, batch_size: batch, ms, first_ms, loss }));
  }
  process.exit(0);
}
