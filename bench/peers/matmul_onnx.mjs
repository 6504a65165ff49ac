// Times the matrix products of onnxruntime: milliseconds by name, for a JSON list of shapes.
import { createRequire } from 'node:module';
import ort from 'onnxruntime-node';
import { matmulModel, shapesOf } from './onnx_matmul.mjs';

const { shapes, batch_ms, runs } = JSON.parse(process.argv[2]);
const { version } = createRequire(import.meta.url)('onnxruntime-node/package.json');

const filled = (shape) => {
  const values = Float32Array.from(
    { length: shape.reduce((n, d) => n * d, 1) },
    (_, i) => ((i * 7919) % 4099) / 4099 - 0.5,
  );
  return new ort.Tensor('float32', values, shape);
};
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

const ms = {};
for (const product of shapes) {
  const session = await ort.InferenceSession.create(matmulModel(product), { logSeverityLevel: 3 });
  const { a, b, c } = shapesOf(product);
  const feeds = { a: filled(a), b: filled(b) };
  const fetches = { c: filled(c) };
  const batch = async (repeats) => {
    const start = performance.now();
    for (let i = 0; i < repeats; i++) await session.run(feeds, fetches);
    return (performance.now() - start) / repeats;
  };
  await batch(1);
  const repeats = Math.max(1, Math.min(500, Math.ceil(batch_ms / (await batch(1)))));
  const times = [];
  for (let run = 0; run < runs; run++) times.push(await batch(repeats));
  ms[product.name] = median(times);
  await session.release();
}
console.log(JSON.stringify({ peer: `onnxruntime ${version}`, ms }));
