// Times onnxruntime's matrix products on all cores: milliseconds by name, for a JSON list of shapes.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { matmulModel } from './onnx_matmul.mjs';
import { median, operandValues, repeatsFor } from './timing.mjs';

const require = createRequire(import.meta.url);
const { InferenceSession, Tensor } = require('onnxruntime-node');
const { version } = JSON.parse(
  readFileSync(new URL('node_modules/onnxruntime-node/package.json', import.meta.url), 'utf8'),
);

const { shapes, batch_ms, runs } = JSON.parse(process.argv[2]);
const count = (shape) => shape.reduce((n, size) => n * size, 1);

const ms = {};
for (const product of shapes) {
  const { model, shapes: stored } = matmulModel(product);
  const session = await InferenceSession.create(model, { executionProviders: ['cpu'] });
  const tensor = (shape) => new Tensor('float32', operandValues(count(shape)), shape);
  const feeds = { a: tensor(stored.a), b: tensor(stored.b) };
  const time = async (repeats) => {
    const start = performance.now();
    for (let i = 0; i < repeats; i++) await session.run(feeds);
    return (performance.now() - start) / repeats;
  };
  await time(1);
  const repeats = repeatsFor(batch_ms, await time(1));
  const times = [];
  for (let run = 0; run < runs; run++) times.push(await time(repeats));
  ms[product.name] = median(times);
  await session.release();
}
console.log(JSON.stringify({ peer: `onnxruntime-node ${version}`, ms }));
