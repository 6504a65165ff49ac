/** Tuning: what a file may say, which file is used, which kernels its knobs choose, and a tuner that ends in time. */
import { spawn, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type TuneRow, tune } from '../src/bench/tune.js';
import { savingFolder, tuningNotes } from '../src/cli/tuning.js';
import type { AdapterInfo } from '../src/gpu/device.js';
import { type Knobs, tuningName, tuningOf } from '../src/gpu/tuning.js';
import { userTuningFolder } from '../src/gpu/tuning_folder.js';
import { pick } from '../src/gpu/variants.js';
import { forwards as attentionForwards, keyBackwards } from '../src/ops/attention_kernels.js';
import { layerNorm } from '../src/ops/index.js';
import { matmulKernels } from '../src/ops/product_kernels.js';
import { Tensor } from '../src/tensor/tensor.js';
import { small, withBuild } from './faults/commands.js';
import { withGpu } from './gpu.js';

const temporary = (): string => {
  const folder = mkdtempSync(join(tmpdir(), 'patchlight-tuning-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
};

const card = {
  ...{ vendor: 'Acme', architecture: 'One 2', software: false, subgroupMatrix: [] },
  features: new Set<string>(),
};
const file = (knobs: unknown) => ({ path: '/x/acme.json', text: JSON.stringify({ knobs }) });

describe('a tuning file', () => {
  // biome-ignore format: a table
  const refused: [string, string, string][] = [
    ['that is not JSON', '{', '/x/acme.json: the file is not JSON: '],
    ['without knobs', '{"adapter": "a"}', '/x/acme.json: the file has no object "knobs".'],
    ['that is a list', '[]', '/x/acme.json: the file has no object "knobs".'],
    ['with a knob that does not exist', '{"knobs": {"speed": 9}}', '/x/acme.json: there is no knob "speed".'],
    ['with a text for a number', '{"knobs": {"productGroups": "many"}}', 'productGroups in /x/acme.json must be a number, not "many".'],
    ['with a part of a chunk', '{"knobs": {"columnChunks": 1.5}}', 'columnChunks in /x/acme.json must be a whole number, not 1.5.'],
    ['with no subgroup', '{"knobs": {"layerNormSubgroups": 0}}', 'layerNormSubgroups in /x/acme.json must be at least 1, not 0.'],
    ['with a third choice of two', '{"knobs": {"halfTensors": 2}}', 'halfTensors in /x/acme.json must be at most 1, not 2.'],
    ['with a large power', '{"knobs": {"tileGrowth": -3}}', 'tileGrowth in /x/acme.json must be at least -2, not -3.'],
    ['with an unknown variant', '{"knobs": {"attention": "fast"}}', 'attention in /x/acme.json must be one of auto, subgroup_matrix, texture, subgroup, plain, not "fast".'],
    ["with another family's variant", '{"knobs": {"layerNorm": "texture"}}', 'layerNorm in /x/acme.json must be one of auto, subgroup, plain, not "texture".'],
  ];

  it.each(refused)('%s is refused', (_, text, says) => {
    expect(() => tuningOf(card, { path: '/x/acme.json', text })).toThrow(says);
  });

  const able = {
    ...card,
    vendor: 'mesa',
    software: true,
    subgroupMatrix: [{}],
    features: new Set(['subgroups']),
  };
  it.each<[Partial<Knobs>, string]>([
    [{ products: 'subgroup_matrix' }, 'products is subgroup_matrix, which is for adapters with matrix units'],
    [{ halfAttention: 'texture' }, "halfAttention is texture, which is for Mesa's CPU driver"],
    [{ layerNorm: 'subgroup' }, 'layerNorm is subgroup, which is for adapters with subgroups'],
  ])('%j is ignored, with a note, where the adapter cannot run it', (knobs, says) => {
    const { knobs: found, tuning } = tuningOf(card, file({ ...knobs, columnChunks: 3 }));
    expect(found).toEqual({ ...tuningOf(card).knobs, columnChunks: 3 });
    expect(tuning.ignored).toEqual([`/x/acme.json: ${says}; this adapter ignores it.`]);
    expect(tuningOf(able, file(knobs))).toMatchObject({ knobs, tuning: { ignored: [] } });
  });

  it('gives the knobs that it has; the others, and those of an adapter without one, are safe', () => {
    const { knobs, tuning } = tuningOf(card);
    expect(tuning).toEqual({ file: null, ignored: [] });
    expect(tuningOf(card, file({ tileGrowth: 0.5, products: 'tile' }))).toEqual({
      knobs: { ...knobs, tileGrowth: 0.5, products: 'tile' },
      tuning: { file: '/x/acme.json', ignored: [] },
    });
    const mesa = { ...card, vendor: 'mesa', architecture: 'software' };
    expect(tuningOf(mesa).tuning.file).toBe('tuning/mesa-software.json');
    expect(tuningOf(mesa, file({ columnChunks: 9 })).knobs).toEqual({
      ...tuningOf(mesa).knobs,
      columnChunks: 9,
    });
  });

  it('is missed in one line, which names the adapter that was chosen', () => {
    const notes = (tuning: AdapterInfo['tuning'], adapter?: string) =>
      tuningNotes({ tuning } as AdapterInfo, adapter);
    const never = { file: null, ignored: [] };
    expect(notes(never)).toEqual([
      'This adapter was never tuned: node dist/bench.js tune --save takes about a minute.',
    ]);
    expect(notes(never, 'RTX 3080')[0]).toMatch('tune --save --adapter "RTX 3080" takes');
    expect(notes({ file: 'a.json', ignored: [] })).toEqual([]);
    expect(notes({ file: 'a.json', ignored: ['a.json: no.'] })).toEqual(['a.json: no.']);
  });
});

describe('a choice of knobs', () => {
  const unit = (componentType: string) => ({ componentType, resultComponentType: 'f32', M: 8, N: 8, K: 8 });
  const adapter = (software: boolean, knobs: Partial<Knobs>): AdapterInfo => ({
    ...{
      ...card,
      vendor: software ? 'mesa' : 'nvidia',
      name: 'card',
      driver: '',
      software,
      lanes: 8,
      subgroupSizes: [8, 8],
      immediates: true,
    },
    ...{ features: new Set(['subgroups', 'shader-f16']), workgroupBytes: 49152 },
    subgroupMatrix: software ? [] : [unit('f16'), unit('f32')],
    ...tuningOf(card, file({ productGroups: 64 })),
    knobs: { ...tuningOf(card, file({ productGroups: 64 })).knobs, ...knobs },
  });
  const product = (half: boolean) => ({
    ...{ batch: 1, M: 4160, N: 768, K: 192, transA: false, transB: true, half },
  });
  const sizes = (half: boolean) => ({ B: 2, N: 65, H: 3, head: 64, bits: 32, half });

  // biome-ignore format: a table
  const products: [Partial<Knobs>, boolean, boolean, string][] = [
    [{}, false, false, 'matmul_forward_subgroup_matrix'],
    [{ products: 'tile' }, false, false, 'matmul_forward'],
    [{ products: 'tile' }, false, true, 'matmul_forward_subgroup_matrix'],
    [{ halfProducts: 'tile' }, false, true, 'matmul_forward'],
    [{ products: 'texture' }, false, false, 'matmul_forward'],
    [{ products: 'plain' }, false, false, 'matmul_forward_plain'],
    [{}, true, false, 'matmul_forward_texture'],
    [{ products: 'tile' }, true, false, 'matmul_forward'],
  ];
  it.each(products)('%j: product, software %s, half %s: %s', (knobs, software, half, kernel) => {
    expect(pick(matmulKernels, adapter(software, knobs), product(half)).kernel.name).toBe(kernel);
  });

  // biome-ignore format: a table
  const attentions: [Partial<Knobs>, boolean, boolean, string][] = [
    [{}, false, false, '_subgroup_matrix'],
    [{ attention: 'subgroup' }, false, false, '_subgroup'],
    [{ attention: 'subgroup' }, false, true, '_subgroup_matrix'],
    [{ halfAttention: 'plain' }, false, true, ''],
    [{}, true, false, '_texture'],
    [{ attention: 'subgroup' }, true, false, '_subgroup'],
    [{ attention: 'plain' }, true, false, ''],
  ];
  it.each(attentions)('%j: attention, software %s, half %s: %s', (knobs, software, half, kind) => {
    for (const family of [attentionForwards, keyBackwards])
      expect(pick(family, adapter(software, knobs), sizes(half)).kernel.name).toBe(`${family.name}${kind}`);
  });

  it('moves the cost model to larger or smaller tiles', () => {
    const area = (knobs: Partial<Knobs>, half: boolean) => {
      const { tune } = pick(matmulKernels, adapter(false, knobs), product(half));
      const { HIGH = 0, QM = 0, QN = 0, TILE_M = 4 * HIGH * QM, TILE_N = 64 * QN } = tune;
      return TILE_M * TILE_N;
    };
    for (const [name, half, fixed] of [
      ['tileGrowth', false, { products: 'tile' }],
      ['matrixTileGrowth', true, {}],
    ] as const) {
      const areas = [-1, 0, 1].map((growth) => area({ ...fixed, [name]: growth }, half));
      expect(areas[0], name).toBeLessThan(areas[1] as number);
      expect(areas[1], name).toBeLessThanOrEqual(areas[2] as number);
    }
  });
});

it.each([
  ['linux', { XDG_CONFIG_HOME: '/etc/me' }, '/home/me', '/etc/me/patchlight/tuning'],
  ['linux', { XDG_CONFIG_HOME: 'relative' }, '/home/me', '/home/me/.config/patchlight/tuning'],
  ['darwin', {}, '/Users/me', '/Users/me/.config/patchlight/tuning'],
  ['linux', {}, '', null],
  ['linux', {}, '/', null],
  ['win32', { APPDATA: 'C:\\Users\\me' }, 'C:\\Users\\me', 'C:\\Users\\me\\patchlight\\tuning'],
  ['win32', {}, 'C:\\Users\\me', null],
])("the user's folder on %s, %j, home %j", (platform, env, home, expected) => {
  expect(userTuningFolder(platform, env, home)).toBe(expected);
});

it.each<[string, string[], boolean, 'user' | 'project']>([
  ['a checkout', ['.git', 'tuning'], false, 'project'],
  ['a checkout, by --save-user', ['.git', 'tuning'], true, 'user'],
  ['an installed copy', ['tuning'], false, 'user'],
  ['a checkout without the folder', ['.git'], false, 'user'],
])('%s keeps its tuning', (_, made, forced, expected) => {
  const root = temporary();
  for (const name of made) mkdirSync(join(root, name));
  const folders = { user: join(root, 'user'), project: join(root, 'tuning') };
  expect(savingFolder(folders, forced)).toBe(folders[expected]);
  if (expected === 'user')
    expect(() => savingFolder({ ...folders, user: null }, forced)).toThrow('XDG_CONFIG_HOME');
});

describe('on this adapter', () => {
  const gpuOf = withGpu();
  withBuild();

  const root = resolve(import.meta.dirname, '..');
  const chosen = process.env.PATCHLIGHT_ADAPTER ? ['--adapter', process.env.PATCHLIGHT_ADAPTER] : [];

  /** Runs a command with a configuration folder of its own. */
  const run = (config: string, args: readonly string[], more: { cwd?: string; timeout?: number } = {}) =>
    spawnSync(process.execPath, [...args, ...chosen], {
      ...{ cwd: root, encoding: 'utf8', timeout: 100_000, ...more },
      env: { ...process.env, XDG_CONFIG_HOME: config, APPDATA: config },
    });
  const fileIn = (config: string) => join(config, 'patchlight/tuning', `${tuningName(gpuOf().info)}.json`);
  const put = (path: string, knobs: unknown) => {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, JSON.stringify({ knobs }));
  };
  const train = [...small, '--max-steps', '1'];

  it('layerNorm names the kernels of LayerNorm', () => {
    const gpu = gpuOf();
    const { layerNorm: before } = gpu.info.knobs;
    const [x, one] = [Tensor.zeros(gpu, [3, 8]), Tensor.zeros(gpu, [8])];
    gpu.info.knobs.layerNorm = 'plain';
    layerNorm(x, one, one);
    gpu.info.knobs.layerNorm = before;
    expect(gpu.diagnostics.picked.get('layer_norm_forward')?.kernel).toBe('layer_norm_forward');
  });

  // The trials of GPUs and of mixed precision, on any adapter: as if it were a GPU, at a batch of one image.
  it('the trials of a GPU run, leave legal values, and pass over knobs without effect', async () => {
    const { info } = gpuOf();
    const { software, knobs: before } = structuredClone({ software: info.software, knobs: info.knobs });
    const rows: TuneRow[] = [];
    try {
      Object.assign(info, { software: false });
      Object.assign(info.knobs, { halfTensors: 1 });
      const found = (more: readonly TuneRow[]) => rows.push(...more);
      const effort = { batchMs: 1, runs: 1, steps: 1 };
      await tune(gpuOf(), effort, { over: () => false, done: found, batch: 1 });
      const chosen = { ...info.knobs };
      expect(tuningOf(info, file(chosen)).knobs).toEqual(chosen);
      for (const { knob, value, chosen: is } of rows) expect(is, knob).toBe(value === chosen[knob]);
    } finally {
      Object.assign(info, { software });
      Object.assign(info.knobs, before);
    }
    const knobs = [...new Set(rows.map(({ knob }) => knob))];
    // With so few measurements any value may win, and one image leaves some knobs without effect.
    expect(knobs).toEqual(expect.arrayContaining(['attention', 'layerNorm']));
    if (info.features.has('shader-f16'))
      expect(knobs).toEqual(expect.arrayContaining(['halfTensors', 'halfAttention']));
    for (const knob of knobs) expect(rows.filter((row) => row.knob === knob).length, knob).toBeGreaterThan(1);
    for (const { knob, ms } of rows) expect(ms, knob).toBeGreaterThan(0);
  }, 400_000); // a slow CPU compiles its kernels for two minutes

  it("the user's file comes before the project's; config.json has the knobs; a wrong file is refused", () => {
    // A copy of the program whose folder of tuning the test may fill.
    const copy = temporary();
    cpSync(join(root, 'dist'), join(copy, 'dist'), { recursive: true });
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
    const config = join(copy, 'config');
    const project = join(copy, 'tuning', `${tuningName(gpuOf().info)}.json`);
    const chunks = (name: string): number => {
      const { status, stderr } = run(config, ['dist/train.js', ...train, '--output', name], { cwd: copy });
      expect(status, stderr).toBe(0);
      return JSON.parse(readFileSync(join(copy, name, 'config.json'), 'utf8')).knobs.columnChunks;
    };
    expect(chunks('none')).toBe(tuningOf(gpuOf().info).knobs.columnChunks);
    put(project, { columnChunks: 5 });
    expect(chunks('project')).toBe(5);
    put(fileIn(config), { columnChunks: 6 });
    expect(chunks('user')).toBe(6);
    put(fileIn(config), { columnChunks: 'six' });
    const { status, stderr } = run(config, ['dist/train.js', ...train, '--output', 'no'], { cwd: copy });
    expect(stderr).toMatch(`patchlight: columnChunks in ${fileIn(config)} must be a number, not "six".\n`);
    expect(status).toBe(1);
    expect(existsSync(join(copy, 'no'))).toBe(false);
  });

  it('tune ends when its time is over, says what it did not measure, and saves nothing', () => {
    const config = temporary();
    const args = 'dist/bench.js tune --quick --seconds 0.01 --save-user'.split(' ');
    const { status, stdout, stderr } = run(config, args, { timeout: 30_000 });
    expect(status, stderr).toBe(0);
    for (const knob of ['products', 'attention', 'layerNorm', 'columnChunks'])
      expect(stdout).toMatch(new RegExp(`^\\| ${knob} .*\\| not measured \\|$`, 'm'));
    expect(stdout).toMatch(
      'The time of --seconds 0.01 is over. Knobs that were not measured keep their values.',
    );
    expect(stdout).toMatch('Nothing was measured, so nothing is saved.');
    expect(existsSync(fileIn(config))).toBe(false);
  });

  it('tune saves what it has measured when a signal stops it, and the next start uses that', async () => {
    const config = temporary();
    const args = ['dist/bench.js', 'tune', '--quick', '--seconds', '600', '--save-user', ...chosen];
    const child = spawn(process.execPath, args, {
      ...{ cwd: root, stdio: ['ignore', 'pipe', 'ignore'] },
      env: { ...process.env, XDG_CONFIG_HOME: config, APPDATA: config },
    });
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
      if (/^(products|attention|layerNorm\w*): /m.test(out)) child.kill('SIGINT');
    });
    const code = await new Promise((done) => child.on('close', done));
    expect(code, out).toBe(130);
    expect(out).toMatch('Stopped by a signal. Knobs that were not measured keep their values.');
    expect(out).toMatch(`Saved: ${fileIn(config)}.`);
    const { knobs } = JSON.parse(readFileSync(fileIn(config), 'utf8'));
    expect(tuningOf(gpuOf().info, { path: 'saved', text: JSON.stringify({ knobs }) }).knobs).toEqual(knobs);
    const again = run(config, ['dist/bench.js', 'tune', '--quick', '--seconds', '0.01']);
    expect(again.status, again.stderr).toBe(0);
  });

  it.each([
    ['--seconds 5', '--seconds only works with: node dist/bench.js tune'],
    ['--save-user', '--save-user only works with: node dist/bench.js tune'],
    ['tune --seconds 0', '--seconds must be above 0'],
    ['tune --seconds 1e9', '--seconds must be above 0 and at most 86400'],
  ])('bench.js %s is refused', (args, says) => {
    const { status, stderr } = run('', ['dist/bench.js', ...args.split(' ')]);
    expect(stderr).toMatch(says);
    expect(status).toBe(2);
  });
});
