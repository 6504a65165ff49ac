/** The report of a run: its computations, and the page itself. */
import { describe, expect, it } from 'vitest';
import type { Dataset, Split } from '../src/data/dataset.js';
import { generateShapes10 } from '../src/data/shapes10.js';
import { mirrored, uploadSplit } from '../src/data/store.js';
import { attentionWeights, meanOf, overPatches, rollout } from '../src/inspect/rollout.js';
import { VisionTransformer } from '../src/models/vit.js';
import { attention } from '../src/ops/index.js';
import { resolveSettings } from '../src/recipe/settings.js';
import { attentionMaps, attentionSection } from '../src/report/attention.js';
import { classesSection } from '../src/report/classes.js';
import { html } from '../src/report/html.js';
import { reportPage } from '../src/report/page.js';
import { fromPlanes, upsample } from '../src/report/picture.js';
import { evenly } from '../src/report/predictions.js';
import type { RunFiles } from '../src/report/run_files.js';
import { Arena } from '../src/tensor/arena.js';
import { Tensor } from '../src/tensor/tensor.js';
import { evaluate, evaluateLogits, predict } from '../src/training/evaluate.js';
import { score } from '../src/training/score.js';
import { normals, withGpu } from './gpu.js';

const gpuOf = withGpu();

const COUNT = 30;
const classes = Array.from({ length: 10 }, (_, c) => `<i>${c}&"'`);
const images: Split = { ...generateShapes10('test', COUNT), count: COUNT };
const dataset: Dataset = {
  name: 'shapes & <script>',
  classes,
  channels: 3,
  height: 32,
  width: 32,
  mean: [0.5, 0.5, 0.5],
  std: [0.3, 0.3, 0.3],
  load: async () => images,
};

function modelOf(pool: 'cls' | 'mean', regTokens = 0) {
  const model = new VisionTransformer({
    patchSize: 8,
    embedDim: 24,
    numHeads: 3,
    depth: 2,
    mlpRatio: 2,
    pool,
    regTokens,
  });
  const arena = new Arena(gpuOf(), model.parameters(), () => true);
  arena.write(arena.values, (parameter) => parameter.initial(1, 7 * parameter.size));
  const store = uploadSplit(gpuOf(), dataset, images, 'cifar');
  const records = Uint32Array.from({ length: COUNT }, (_, i) => i);
  return { model, store, input: { model, store, records, labels: images.labels, classes, batchSize: 8 } };
}

it('HTML escapes what is put into it', () => {
  expect(html`<p title="${'"<&>\''}">${['<b>', html`<b>${1}</b>`, null]}</p>`.text).toBe(
    '<p title="&quot;&lt;&amp;&gt;&#39;">&lt;b&gt;<b>1</b></p>',
  );
});

describe('attention', () => {
  it.each([
    [1, 1, 4, false],
    [5, 2, 8, false],
    [17, 3, 16, false],
    [9, 2, 8, true],
  ])(
    'of %i tokens, %i heads of %i, masked %s, is that of the fused op',
    async (tokens, heads, dim, masked) => {
      const values = normals([1, tokens, 3 * heads * dim], 5);
      const qkv = Tensor.from(gpuOf(), values, [1, tokens, 3 * heads * dim]);
      const fused = attention(qkv, heads, undefined, masked);
      const expected = await fused.toFloat32();
      const weights = attentionWeights({ qkv: values, tokens, heads, masked });
      expect(weights).toHaveLength(heads);
      for (const [h, matrix] of weights.entries())
        for (let i = 0; i < tokens; i++) {
          const row = matrix.subarray(i * tokens, (i + 1) * tokens);
          expect(row.reduce((sum, w) => sum + w, 0)).toBeCloseTo(1, 12);
          for (let d = 0; d < dim; d++) {
            const output = row.reduce(
              (sum, w, j) => sum + w * values[((j * 3 + 2) * heads + h) * dim + d]!,
              0,
            );
            expect(output).toBeCloseTo(expected[(i * heads + h) * dim + d]!, 5);
          }
        }
    },
  );

  it('rolls out as computed by hand', () => {
    // A' is [[3/4, 1/4], [0, 1]] and then [[1, 0], [1/4, 3/4]].
    const layers = [Float64Array.of(0.5, 0.5, 0, 1), Float64Array.of(1, 0, 0.5, 0.5)];
    expect([...rollout(layers, 2)]).toEqual([0.75, 0.25, 0.1875, 0.8125]);
    expect([...rollout([], 2)]).toEqual([1, 0, 0, 1]);
    expect([...meanOf(layers)]).toEqual([0.75, 0.25, 0.25, 0.75]);
  });

  it.each([
    // The first row belongs to a class token or register; the others belong to three patches.
    ['cls', [0.2, 0.3, 0.4]],
    ['mean', [0.75 / 3, 0.5 / 3, 1 / 3]],
  ] as const)('over patches, pool %s, reads the rows that the head reads', (pool, expected) => {
    const matrix = Float64Array.of(0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0, 0, 0, 0.25, 0.5, 0.25, 0.25, 0, 0, 0.75);
    const found = overPatches(matrix, 4, 3, pool);
    expect([...found]).toEqual(expected.map((value) => expect.closeTo(value, 14)));
  });

  it.each([
    ['cls', 0, 'the row of the class token'],
    ['cls', 2, 'the row of the class token'],
    ['mean', 0, 'the mean over the rows of all patches'],
    ['mean', 2, 'the mean over the rows of all patches'],
  ] as const)(
    'with pool %s and %i registers the page says which rows it shows',
    async (pool, regTokens, says) => {
      const { model, store } = modelOf(pool, regTokens);
      const prediction = { record: 3, actual: classes[0]!, ranked: [{ name: classes[0]!, probability: 1 }] };
      const shown = { prediction, picture: fromPlanes(images.images.subarray(0, 3072), 32, 32) };
      const { text } = (await attentionSection(model, store, [shown]))!;
      expect(text).toContain(`Shown is ${says}`);
      expect(text.includes('without the registers')).toBe(pool === 'mean' && regTokens > 0);
    },
  );

  it.each(['cls', 'mean'] as const)('maps of a model with pool %s cover its patches', async (pool) => {
    const { model, store } = modelOf(pool);
    const all = await attentionMaps(model, store, [3, 4]);
    const [alone] = await attentionMaps(model, store, [4]);
    expect(all[1]).toEqual(alone);
    for (const map of [...alone!.heads, alone!.rollout]) {
      const mass = map.reduce((sum, w) => sum + w, 0);
      expect(map).toHaveLength(16);
      if (pool === 'mean') expect(mass).toBeCloseTo(1, 10);
      else expect(mass).toBeLessThan(1);
    }
    expect(alone!.heads).toHaveLength(3);
  });
});

describe('pictures', () => {
  it('are interleaved', () => {
    expect([...fromPlanes(Uint8Array.of(1, 2, 3, 4, 5, 6), 1, 2).pixels]).toEqual([1, 3, 5, 2, 4, 6]);
  });

  it('grow bilinearly between the centres of cells', () => {
    expect([...upsample([0, 4], [1, 2], 1, 4)]).toEqual([0, 1, 3, 4]);
    expect([...upsample([7], [1, 1], 2, 2)]).toEqual([7, 7, 7, 7]);
  });

  it('of a set are drawn at equal distances', () => {
    expect(evenly([0, 1, 2, 3, 4, 5, 6], 3)).toEqual([0, 2, 4]);
    expect(evenly([1, 2], 5)).toEqual([1, 2]);
  });

  it('are mirrored left to right', () => {
    const split = { images: Uint8Array.of(1, 2, 3, 4, 5, 6), labels: Uint8Array.of(9), count: 1 };
    expect(mirrored({ ...dataset, width: 3 }, split)).toEqual({
      ...split,
      images: Uint8Array.of(3, 2, 1, 6, 5, 4),
    });
  });
});

describe('test-time augmentation', () => {
  it('with the image itself changes nothing, with the mirror image it does', async () => {
    const { input, store } = modelOf('cls');
    const plain = await evaluate(input);
    expect(plain.tta).toBeUndefined();
    const same = await evaluate({ ...input, mirrored: store });
    expect(same.tta).toMatchObject({ method: 'flip', images: COUNT, top1: plain.top1, top5: plain.top5 });
    expect(same.tta!.loss).toBeCloseTo(plain.loss, 10);
    const flipped = uploadSplit(gpuOf(), dataset, mirrored(dataset, images), 'cifar');
    const other = await evaluate({ ...input, mirrored: flipped });
    expect(other.tta!.loss).not.toBeCloseTo(plain.loss, 6);
    expect({ ...other, tta: undefined }).toEqual({ ...plain, tta: undefined });
  });
});

describe('the page', () => {
  const step = { epoch: 1, lr: 1e-3, grad_norm: 1, images_per_second: 900 };
  const epoch = {
    train_loss: 2,
    train_accuracy: 0.2,
    val_loss: 2.1,
    val_accuracy: 0.25,
    images: 90,
    ema_val_loss: null,
    ema_val_accuracy: null,
    lr: 1e-3,
    seconds: 9,
  };
  const run: RunFiles = {
    steps: [1, 2, 3, 4].map((n) => ({ ...step, step: n, loss: 3 / n, epoch: n > 2 ? 2 : 1 })),
    history: [
      { ...epoch, epoch: 1 },
      { ...epoch, epoch: 2, val_loss: null, val_accuracy: null },
    ],
  };

  async function page(
    pool: 'cls' | 'mean',
    more: { run?: RunFiles; valSplit?: number; weights?: string; ownData?: boolean } = {},
  ) {
    const { model, store, input } = modelOf(pool);
    const logits = await predict(input);
    return reportPage({
      weights: more.weights ?? 'runs/<one>/checkpoints/best.safetensors',
      settings: resolveSettings({ pool, dataset: '<dataset>', valSplit: more.valSplit ?? 0 }),
      model,
      dataset,
      ownData: more.ownData ?? true,
      split: images,
      store,
      logits,
      evaluation: await evaluateLogits({ ...input, mirrored: store }, logits),
      run: more.run ?? run,
      environment: { adapter: '<adapter>', driver: 'd' },
      adapter: gpuOf().info,
      version: '1',
      date: new Date(0),
    });
  }

  it('has every section, needs nothing else, and escapes what it was given', async () => {
    const text = await page('mean');
    const sections = [...text.matchAll(/<section id="(\w+)"/g)].map(([, id]) => id);
    expect(sections).toEqual([
      'training',
      'classes',
      'calibration',
      'predictions',
      'attention',
      'settings',
      'environment',
    ]);
    expect(text).not.toMatch(/https?:/);
    expect(text).not.toContain('<script');
    for (const [, address] of text.matchAll(/\b(?:src|href)="([^"]*)"/g))
      expect(address).toMatch(/^(data:|#)/);
    expect(text).not.toMatch(/<i>|<one>|<adapter>|<dataset>/);
    for (const shown of ['&lt;i&gt;3&amp;&quot;&#39;', '&lt;one&gt;', '&lt;adapter&gt;', '&lt;dataset&gt;'])
      expect(text).toContain(shown);
    // Without pictures, because base64 may contain any three letters.
    expect(text.replace(/base64,[^"]*/g, '')).not.toMatch(/undefined|NaN|\[object/);
    for (const name of ['bg', 'fg', 'muted', 'line', 'series1', 'series2', 'series3', 'series4'])
      expect(text.match(new RegExp(`--${name}: #`, 'g')), name).toHaveLength(2); // light and dark
  });

  it.each([
    ['mean', {}, /mean over the rows of all patches/],
    ['cls', {}, /row of the class token/],
    ['cls', {}, /best of the run on the test images themselves/],
    ['cls', { valSplit: 500 }, /best of the run on 500 validation images[^<]*no part in the choice/],
    ['cls', { ownData: false }, /best of a run on &lt;dataset&gt;, chosen there/],
    ['cls', { weights: 'final.safetensors' }, /final\.safetensors was not chosen by its accuracy/],
    ['cls', { run: { steps: [], history: [] } }, /<\/header>\s*<section id="classes"/],
  ] as const)('pool %s, %o: says so', async (pool, more, says) => {
    expect(await page(pool, more)).toMatch(says);
  });
});

it('many classes are a map with a list of mistakes instead of a table of numbers', async () => {
  const many = Array.from({ length: 25 }, (_, c) => `class ${c}`);
  const logits = Float64Array.from({ length: 50 * 25 }, (_, i) => Math.sin(i * i));
  const labels = Array.from({ length: 50 }, (_, i) => i % 25);
  const { text } = await classesSection(score(logits, labels, many));
  expect(text).toMatch(/<svg[\s\S]*<\/svg>/);
  expect(text).not.toContain('class="confusion"');
  expect(text).toContain('The 10 most frequent mistakes');
});
