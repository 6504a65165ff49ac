// A Vision Transformer's training step in TensorFlow.js, which has Adam but no AdamW.
import { createRequire } from 'node:module';
import { draws, labels, parameters, report, shimNavigator, spec } from './common.mjs';

const { backend, dim, heads, batch, tokens, inputs, classes } = spec;
await shimNavigator(backend === 'webgpu');
const require = createRequire(import.meta.url);
const tf = require('@tensorflow/tfjs');
require(`@tensorflow/tfjs-backend-${backend}`);
if (!(await tf.setBackend(backend))) throw new Error(`tfjs has no ${backend} here.`);
await tf.ready();

const size = (shape) => shape.reduce((a, b) => a * b, 1);
const weights = parameters({
  random: (shape, deviation) => tf.variable(tf.tensor(draws(size(shape), deviation), shape)),
  constant: (shape, value) => tf.variable(tf.fill(shape, value)),
});

function linear(x, { weight, bias }) {
  const [from, to] = weight.shape;
  const flat = tf.matMul(x.reshape([-1, from]), weight).add(bias);
  return flat.reshape([...x.shape.slice(0, -1), to]);
}

function norm(x, { weight, bias }) {
  const { mean, variance } = tf.moments(x, -1, true);
  return x
    .sub(mean)
    .mul(tf.rsqrt(variance.add(1e-6)))
    .mul(weight)
    .add(bias);
}

const gelu = (x) => x.mul(0.5).mul(tf.erf(x.mul(Math.SQRT1_2)).add(1));

function attention(x, { qkv, proj }) {
  const split = tf.split(linear(x, qkv), 3, -1);
  const [q, k, v] = split.map((it) =>
    it.reshape([batch, tokens, heads, dim / heads]).transpose([0, 2, 1, 3]),
  );
  const scores = tf.matMul(q, k, false, true).mul(1 / Math.sqrt(dim / heads));
  const mixed = tf.matMul(tf.softmax(scores), v).transpose([0, 2, 1, 3]);
  return linear(mixed.reshape([batch, tokens, dim]), proj);
}

function forward(x) {
  let h = linear(x, weights.embed).add(weights.positions);
  for (const block of weights.blocks) {
    h = h.add(attention(norm(h, block.norm1), block));
    h = h.add(linear(gelu(linear(norm(h, block.norm2), block.fc1)), block.fc2));
  }
  return linear(norm(h.mean(1), weights.norm), weights.head);
}

const x = tf.tensor(draws(batch * tokens * inputs, 1), [batch, tokens, inputs]);
const target = tf.oneHot(tf.tensor1d(labels(batch), 'int32'), classes).toFloat();
const optimizer = tf.train.adam(1e-3);

await report('tfjs', async () => {
  const cost = optimizer.minimize(() => tf.losses.softmaxCrossEntropy(target, forward(x)), true);
  const [value] = await cost.data();
  cost.dispose();
  return value;
});
