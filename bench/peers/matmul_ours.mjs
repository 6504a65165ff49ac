// Times our matrix products: milliseconds by name, for a JSON list of shapes.
import { Gpu, keep, matmul, scope, Tensor } from '../../dist/index.js';
import { median, operandValues, repeatsFor } from './timing.mjs';

const { shapes, batch_ms, runs } = JSON.parse(process.argv[2]);
const gpu = await Gpu.open();

const operand = (lead, rows, columns, transposed) => {
  const shape = [...lead, ...(transposed ? [columns, rows] : [rows, columns])];
  return keep(Tensor.from(gpu, operandValues(shape.reduce((n, d) => n * d, 1)), shape));
};

async function duration(recording) {
  const start = performance.now();
  gpu.play(recording);
  await gpu.finish();
  return performance.now() - start;
}

const ms = {};
for (const { name, batch, M, K, N, transA, transB } of shapes) {
  const lead = batch > 1 ? [batch] : [];
  const [a, b] = [operand(lead, M, K, transA), operand(lead, K, N, transB)];
  const recorded = (times) =>
    gpu.record(() => {
      for (let i = 0; i < times; i++) scope(() => void matmul(a, b, { transA, transB }));
    }).recording;
  const once = recorded(1);
  await gpu.finish();
  const repeats = repeatsFor(batch_ms, await duration(once));
  const many = recorded(repeats);
  await gpu.finish();
  const times = [];
  for (let run = 0; run < runs; run++) times.push((await duration(many)) / repeats);
  ms[name] = median(times);
  for (const recording of [once, many]) gpu.pool.trim(recording.buffers);
  for (const tensor of [a, b]) tensor.release();
}
console.log(JSON.stringify({ peer: 'patchlight', ms }));
process.exit(0);
