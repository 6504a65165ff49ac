/**
 * docs/ops.md is made from the registry of ops. This writes it:
 * `node node_modules/vitest/vitest.mjs run test/ops_page.test.ts -u`
 */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { given, hasGradient, mapInputs } from '../src/autograd/inputs.js';
import { type AnyOp, type AnySample, apply } from '../src/autograd/op.js';
import { describeSample, shapesOf } from '../src/autograd/sample.js';
import { Tape } from '../src/autograd/tape.js';
import { numel } from '../src/core/shape.js';
import { Gpu } from '../src/gpu/gpu.js';
import { infoOf, knownAdapters } from '../src/gpu/known_adapters.js';
import { ops } from '../src/ops/index.js';
import { Tensor } from '../src/tensor/tensor.js';

const HEAD = `# Ops

Every op of the registry (\`src/ops/all.ts\`). \`test/ops_page.test.ts\` writes this page: change an op, not the page.

- **Formula**: what the op computes; its inputs have these names in kernels and errors, and a \`?\` marks one that may be left out.
- **Gradients**: the inputs that have one, all where it says so.
- **MFLOP, MB**: the operations of the forward pass, a multiply-add counting as two, and the bytes of its inputs and output in
  float32, at the shapes beside them: those of a ViT-Tiny step of 64 images, or the op's largest sample.

The function of an op is its name in camelCase, such as \`layerNorm\`. \`npm run docs\` writes the reference of all of them,
[kernels.md](kernels.md) says how an op is made, and \`checkOp\` checks it.
`;

/** The shapes of the benchmark, or the largest sample. */
function sampleOf(op: AnyOp): AnySample {
  const size = (sample: AnySample) =>
    given(shapesOf(sample)).reduce((sum, [, shape]) => sum + numel(shape), 0);
  return op.bench?.[0] ?? (op.samples.toSorted((a, b) => size(b) - size(a))[0] as AnySample);
}

/** The names of all kernels of the op on some adapters: of those that run, and of what could run in their place. */
function kernelsOf(op: AnyOp, sample: AnySample): string[] {
  const names = new Set<string>();
  for (const known of knownAdapters) {
    const gpu = Gpu.dry(infoOf(known), known.limits);
    gpu.diagnostics.onDispatch = ({ kernel }) => names.add(kernel.name);
    const inputs = mapInputs(sample.inputs, (input, name) => {
      const [shape, dtype] =
        'u32' in input
          ? [input.u32, 'u32' as const]
          : [shapesOf({ inputs: { name: input } }).name, 'f32' as const];
      const tensor = Tensor.zeros(gpu, shape ?? [], dtype);
      tensor.requiresGrad = hasGradient(op, name);
      if (tensor.requiresGrad) tensor.grad = Tensor.zeros(gpu, tensor.shape);
      return tensor;
    });
    const tape = new Tape();
    const y = tape.run(() => apply(op, inputs, sample.attrs));
    if (op.backward) tape.backward(y, { gradient: Tensor.zeros(gpu, y.shape, y.dtype) });
    for (const { family } of gpu.diagnostics.picked.values())
      for (const { kernel } of family.variants) names.add(kernel.name);
  }
  return [...names].sort();
}

const millions = (count: number): string => String(Number((count / 1e6).toPrecision(3)));
const cell = (text: string): string =>
  text.replaceAll('|', '\\|').replaceAll('*', '\\*').replace(/\s+/g, ' ');
const row = (...cells: string[]): string => `| ${cells.join(' | ')} |`;

function gradients(op: AnyOp): string {
  const names = op.inputs.map((name) => name.replace('?', ''));
  const has = names.filter((name) => hasGradient(op, name));
  if (has.length === 0) return 'none';
  return has.length === names.length ? 'all' : has.join(', ');
}

function page(): string {
  const samples = ops.map((op) => [op, sampleOf(op)] as const);
  const formulas = samples.map(([op]) =>
    row(`\`${op.name}\``, op.inputs.map((name) => `\`${name}\``).join(', '), cell(op.formula), gradients(op)),
  );
  const costs = samples.map(([op, sample]) => {
    const shapes = shapesOf(sample);
    const output = op.shape(shapes, sample.attrs);
    const floats = [...given(shapes).map(([, shape]) => shape), output].reduce(
      (sum, shape) => sum + numel(shape),
      0,
    );
    const flops = millions(op.flops(shapes, sample.attrs));
    return row(`\`${op.name}\``, cell(describeSample(op, sample)), flops, millions(4 * floats));
  });
  const kernels = samples.map(([op, sample]) =>
    row(
      `\`${op.name}\``,
      kernelsOf(op, sample)
        .map((name) => `\`${name}\``)
        .join(', '),
    ),
  );
  return [
    ...[HEAD, '## Formulas\n', row('op', 'inputs', 'formula', 'gradients'), '|---|---|---|---|', ...formulas],
    ...['\n## Cost\n', row('op', 'sample', 'MFLOP', 'MB'), '|---|---|---:|---:|', ...costs],
    '\n## Kernels\n\nAll kernels that an op may run in either pass, every variant among them.\n',
    ...[row('op', 'kernels'), '|---|---|', ...kernels, ''],
  ].join('\n');
}

it('docs/ops.md is what the registry gives', async () => {
  await expect(page()).toMatchFileSnapshot(join(import.meta.dirname, '../docs/ops.md'));
});
