/** The page's parts that need no browser: links, the command for Node, remedies, and which box an op belongs to. */
// @module-tag quick
import { describe, expect, it } from 'vitest';
import { commandLine, settingOptions, typedSettings } from '../src/cli/arguments.js';
import { ops } from '../src/ops/index.js';
import { boxOf, costs } from '../src/page/box_costs.js';
import {
  commandOf,
  controls,
  defaults,
  linkOf,
  readLink,
  settingsOf,
  slowness,
} from '../src/page/choices.js';
import type { Choices } from '../src/page/messages.js';
import { remedy } from '../src/page/remedy.js';
import { resolveSettings } from '../src/recipe/settings.js';

const others: Choices = {
  ...defaults,
  ...{ dataset: 'cifar10', embedDim: 96, depth: 6, numHeads: 2, patchSize: 4, optimizer: 'adamw' },
  ...{ learningRate: 2e-3, augment: 'trivial', batchSize: 32, epochs: 8, steps: 30, seed: 7 },
};

describe('a link', () => {
  it('carries the choices, and nothing that is a default', () => {
    expect(linkOf(defaults)).toBe('?');
    expect(linkOf({ ...defaults, seed: 7, depth: 1 })).toBe('?depth=1&seed=7');
    expect(readLink(linkOf(others))).toEqual({ choices: others, auto: false, problems: [] });
    expect(readLink('?auto=1&dataset=shapes10&steps=20&seed=3')).toEqual({
      choices: { ...defaults, steps: 20, seed: 3 },
      auto: true,
      problems: [],
    });
  });

  it.each([
    ['?depth=5', 'depth=5 is none'],
    ['?seed=-1', 'seed=-1 is none'],
    ['?steps=1.5', 'steps=1.5 is none'],
    ['?dataset=imagenet', 'dataset=imagenet is none'],
    ['?learningRate=nan', 'learningRate=nan is none'],
  ])('%s is named, and the default is used', (query, says) => {
    const { choices, problems } = readLink(query);
    expect(choices).toEqual(defaults);
    expect(problems.join()).toContain(says);
  });

  it('says where choices do not fit together', () => {
    expect(readLink('?embedDim=32&numHeads=8').problems).toEqual([]);
    expect(controls.map(({ name }) => name)).toContain('numHeads');
  });
});

it.each([
  ['the defaults', defaults],
  ['other choices', others],
])('the command for Node has the settings of the page: %s', (_, choices) => {
  const [program, script, ...flags] = commandOf(choices).split(' ');
  expect([program, script]).toEqual(['node', 'dist/train.js']);
  const parsed = commandLine('', settingOptions()).parseSync(flags);
  const typed = resolveSettings(typedSettings(parsed as never));
  expect(typed).toEqual(resolveSettings(settingsOf(choices)));
});

it('a model that is slow here is said to be', () => {
  expect(slowness(defaults, true)).toBeNull();
  expect(slowness({ ...defaults, patchSize: 2, embedDim: 192, depth: 12 }, true)).toContain('without a GPU');
  expect(slowness({ ...defaults, patchSize: 2, embedDim: 192, depth: 12 }, false)).toContain('many GPUs');
});

it.each([
  ['Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0', 'about:config'],
  ['Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/110.0 Safari/537.36 Edg/110.0', 'This Edge'],
  ['Mozilla/5.0 (Linux; Android 13) AppleWebKit/537.36 Chrome/110.0 Mobile Safari/537.36', 'Android'],
  ['Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/110.0 Safari/537.36', 'chrome://flags'],
  ['Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 Version/17.0 Safari/605.1.15', 'Safari 26'],
  ['something else', 'This browser has no WebGPU'],
])('%s gets a remedy', (agent, says) => {
  expect(remedy(agent, true)).toContain(says);
  expect(remedy(agent, false)).toContain('https');
});

describe('the boxes of the model', () => {
  it.each([
    ['linear', 'blocks.11.attn.qkv.weight', 'qkv'],
    ['linear', 'blocks.0.attn.proj.weight', 'proj'],
    ['layer_norm', 'blocks.3.norm2.weight', 'norm2'],
    ['mlp', 'blocks.3.mlp.fc1.weight', 'mlp'],
    ['attention', '', 'attention'],
    ['im2col', '', 'embed'],
    ['add', 'pos_embed', 'embed'],
    ['layer_norm', 'norm.weight', 'head'],
    ['linear', 'head.weight', 'head'],
    ['augment_forward', '', 'batch'],
    ['adamw_step', '', 'optimizer'],
  ])('%s of %s is in %s', (op, parameter, box) => {
    expect(boxOf({ op, parameter })).toBe(box);
  });

  it('has a place for every op of a model without dropout', () => {
    const elsewhere = ops
      .map(({ name }) => name)
      .filter((op) => boxOf({ op, parameter: '' }) === 'optimizer');
    // Ops that have a parameter in the page's models, that Muon uses, or that those models have not.
    const known = ['add', 'linear', 'layer_norm', 'mlp', 'matmul', 'scale', 'gelu', 'dropout', 'softmax'];
    expect(elsewhere.filter((op) => !known.includes(op)).sort()).toEqual(
      ['diagonal_shifts', 'qk_norm', 'scale_queries'].sort(),
    );
  });

  it('adds up the times of all blocks', () => {
    const time = (parameter: string, pass: 'forward' | 'backward', milliseconds: number) => ({
      ...{ op: 'linear', parameter, pass, milliseconds, flops: 10, kernels: [`${pass}_kernel`] },
    });
    const all = costs([
      time('blocks.0.attn.qkv.weight', 'forward', 1),
      time('blocks.1.attn.qkv.weight', 'forward', 2),
      time('blocks.1.attn.qkv.weight', 'backward', 4),
    ]);
    expect(all.get('qkv')).toEqual({
      ...{ forward: 3, backward: 4, flops: 30 },
      kernels: { forward: ['forward_kernel'], backward: ['backward_kernel'] },
    });
  });
});
