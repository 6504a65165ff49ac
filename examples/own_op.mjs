// An op of one's own, y = max(x, 0)², with its own kernels, and the project's check of both passes.
// Squared ReLU: So et al., 2021, "Primer", https://arxiv.org/abs/2109.08668
import { apply, checkOp, defineKernel, defineOp, Gpu, sum, Tape, Tensor } from 'patchlight';

// Bindings have the names that `run` uses below; the file docs/kernels.md says what else a kernel may declare.
const forwardKernel = defineKernel(
  'squared_relu_forward',
  `requires immediate_address_space;
struct Params { n: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= p.n) { return; }
  let positive = max(x[i], 0.0);
  y[i] = positive * positive;
}`,
);

const backwardKernel = defineKernel(
  'squared_relu_backward',
  `requires immediate_address_space;
override ACCUMULATE: bool = false; // adds to the gradient that is there
struct Params { n: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= p.n) { return; }
  let slope = 2.0 * max(x[i], 0.0) * dy[i];
  if (ACCUMULATE) { dx[i] += slope; } else { dx[i] = slope; }
}`,
);

const groups = (/** @type {number} */ n) => Math.ceil(n / 256);

const squaredReluOp = defineOp({
  name: 'squared_relu',
  inputs: ['x'],
  formula: 'y = max(x, 0)²',
  shape: ({ x }) => x,
  forward: ({ x }, y) => y.gpu.run(forwardKernel, { x, y }, { n: y.size }, groups(y.size)),
  backward: ({ inputs: { x }, dy, grad }) => {
    const { tensor: dx, accumulate } = grad('x');
    const overrides = { ACCUMULATE: accumulate };
    dy.gpu.run(backwardKernel, { x, dy, dx }, { n: dy.size }, groups(dy.size), { overrides });
  },
  needs: { inputs: ['x'] }, // the backward pass reads x, so the tape keeps it
  flops: ({ x }) => 2 * x.reduce((product, size) => product * size, 1),
  reference: ({ x }) => x.map((v) => Math.max(v, 0) ** 2), // the same in float64: the specification
  samples: [1, 3, 255, 1031].map((n) => ({ inputs: { x: [n] } })),
  errors: [],
});

/** The function of the op, for models. */
const squaredRelu = (/** @type {Tensor} */ x) => apply(squaredReluOp, { x });

const gpu = await Gpu.open();
for (const { sample, variant, problems } of await checkOp(gpu, squaredReluOp))
  console.log(`${sample}  ${variant}  ${problems.length === 0 ? 'right' : problems.join('; ')}`);

// It is on the tape as any other op.
const x = Tensor.from(gpu, Float32Array.of(-1, 0.5, 2));
x.requiresGrad = true;
x.grad = Tensor.zeros(gpu, x.shape);
const tape = new Tape();
tape.backward(tape.run(() => sum(squaredRelu(x))));
console.log(`the slope of max(x, 0)² at -1, 0.5 and 2: ${[...(await x.grad.toFloat32())].join(', ')}`);
gpu.close();
