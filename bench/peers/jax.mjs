// A Vision Transformer's training step in jax-js: one jitted function of loss, gradients and AdamW.
// Every array is consumed by its first use, and `.ref` is a use more.
import { draws, labels, parameters, report, shimNavigator, spec } from './common.mjs';

const { backend, dim, heads, batch, tokens, inputs, classes } = spec;
await shimNavigator(backend === 'webgpu');
const { defaultDevice, init, jit, nn, numpy: np, tree, valueAndGrad } = await import('@jax-js/jax');
if (!(await init(backend)).includes(backend)) throw new Error(`jax-js has no ${backend} here.`);
defaultDevice(backend);

const array = (values, shape) => np.array(values, { shape });
const size = (shape) => shape.reduce((a, b) => a * b, 1);
let weights = parameters({
  random: (shape, deviation) => array(draws(size(shape), deviation), shape),
  constant: (shape, value) => array(new Float32Array(size(shape)).fill(value), shape),
});

const linear = (x, { weight, bias }) => np.matmul(x, weight).add(bias);
const norm = (x, { weight, bias }) => nn.standardize(x, -1, { epsilon: 1e-6 }).mul(weight).add(bias);

function attention(x, { qkv, proj }) {
  const parts = np.split(linear(x, qkv), 3, -1);
  const [q, k, v] = parts.map((it) => it.reshape([batch, tokens, heads, dim / heads]));
  return linear(nn.dotProductAttention(q, k, v).reshape([batch, tokens, dim]), proj);
}

function loss(p, x, target) {
  let h = linear(x, p.embed).add(p.positions);
  for (const block of p.blocks) {
    h = h.ref.add(attention(norm(h, block.norm1), block));
    const wide = nn.gelu(linear(norm(h.ref, block.norm2), block.fc1), { approximate: false });
    h = h.add(linear(wide, block.fc2));
  }
  const logits = linear(norm(h.mean(1), p.norm), p.head);
  return nn.logSoftmax(logits, -1).mul(target).sum(-1).mean().mul(-1);
}

const [rate, decay, beta1, beta2, eps] = [1e-3, 0.05, 0.9, 0.999, 1e-8];
const step = jit((p, m, v, x, target, c1, c2) => {
  const [value, g] = valueAndGrad(loss)(tree.ref(p), x, target);
  const m2 = tree.map((a, b) => a.mul(beta1).add(b.mul(1 - beta1)), m, tree.ref(g));
  const v2 = tree.map((a, b) => a.mul(beta2).add(b.ref.mul(b).mul(1 - beta2)), v, g);
  const next = tree.map(
    (w, a, b) => {
      const update = a.div(c1.ref).div(np.sqrt(b.div(c2.ref)).add(eps));
      return w.mul(1 - rate * decay).sub(update.mul(rate));
    },
    p,
    tree.ref(m2),
    tree.ref(v2),
  );
  return { p: next, m: m2, v: v2, value };
});

const x = array(draws(batch * tokens * inputs, 1), [batch, tokens, inputs]);
const hot = new Float32Array(batch * classes);
labels(batch).forEach((label, i) => {
  hot[i * classes + label] = 1;
});
const target = array(hot, [batch, classes]);
let m = tree.map((w) => np.zerosLike(w), tree.ref(weights));
let v = tree.map((w) => np.zerosLike(w), tree.ref(weights));

await report('jax-js', async (i) => {
  const c1 = np.array(1 - beta1 ** (i + 1));
  const c2 = np.array(1 - beta2 ** (i + 1));
  const out = step(weights, m, v, x.ref, target.ref, c1, c2);
  [weights, m, v] = [out.p, out.m, out.v];
  return (await out.value.data())[0];
});
