/** `node scripts/gpu.mjs`: what stands in its folder is whole at any moment, and its page says what a reader must know first. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { root } from '../scripts/common.mjs';
import { adapterOf, markdown } from '../scripts/gpu_page.mjs';
import { everyCheck, ownParts, torchParts } from '../scripts/gpu_parts.mjs';
import { withBuild } from './faults/commands.js';

/** Its temporary files go to the folder `temporary`. */
const kit = (args, temporary = tmpdir()) =>
  spawn(process.execPath, ['scripts/gpu.mjs', ...args], {
    env: { ...process.env, TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
const ended = (child) =>
  new Promise((resolve) => child.on('close', (code, signal) => resolve(code ?? signal)));

/** Resolves when the process has printed a line that matches. */
const line = (child, pattern) =>
  new Promise((resolve, reject) => {
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (more) => {
      text += more;
      if (pattern.test(text)) resolve();
    });
    child.on('close', () => reject(new Error(`It ended after: ${text}`)));
  });

const childrenOf = (pid) =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);

const runs = (pid) => {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')); // a zombie has ended
  } catch {
    return false;
  }
};

describe('a kit that is stopped after its first part', () => {
  withBuild();

  it.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
    ['SIGKILL', 'SIGKILL'],
  ])('by %s leaves that part', async (signal, code) => {
    const folder = mkdtempSync(join(tmpdir(), 'patchlight-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const out = join(folder, 'a folder');
    const child = kit([out, '--quick'], folder);
    const end = ended(child);
    await line(child, /^adapters: done/m);
    // The next part starts a moment later.
    await expect.poll(() => childrenOf(child.pid)).not.toEqual([]);
    const parts = childrenOf(child.pid);
    child.kill(signal);
    expect(await end).toBe(code);
    // Nothing of its own can be run by a process that is killed.
    if (signal === 'SIGKILL') for (const pid of parts) process.kill(-pid, 'SIGKILL');
    else await expect.poll(() => parts.filter(runs)).toEqual([]);
    const { adapter, results } = JSON.parse(readFileSync(join(out, 'gpu.json'), 'utf8'));
    expect(results[0]).toMatchObject({ kind: 'adapters', problem: null });
    expect(results[0].command).toBe('node dist/train.js --list-adapters');
    expect(readFileSync(join(out, 'gpu.md'), 'utf8')).toContain(`# ${adapter.name}\n`);
  });
});

it.each([
  ['', /^node scripts\/gpu\.mjs OUT/],
  ['--quick', /^node scripts\/gpu\.mjs OUT/],
  ['out --minutes 0', /^--minutes must be a number above 0/],
  ['out --minutes', /^--minutes must be a number above 0/],
  ['out --fast', /^There is no flag --fast/],
])('refuses "%s"', async (args, says) => {
  const child = kit(args.split(' ').filter(Boolean));
  let text = '';
  child.stderr.setEncoding('utf8').on('data', (more) => {
    text += more;
  });
  expect(await ended(child)).toBe(1);
  expect(text).toMatch(says);
});

it('asks first whether the adapter is there, then whether it is right, then how fast it is', () => {
  const once = (kinds) => kinds.filter((kind, i) => kind !== kinds[i - 1]);
  for (const quick of [true, false])
    expect(once(ownParts(quick).map(({ kind }) => kind))).toEqual([
      'adapters',
      'nvidia',
      'check',
      'step',
      'ops',
      'tune',
    ]);
  const checks = ownParts(false).filter(({ kind }) => kind === 'check');
  expect(checks.map(({ name }) => name)).toEqual([
    'check: gelu and sum',
    'check: products',
    'check: attention',
  ]);
  const steps = ownParts(false).filter(({ kind }) => kind === 'step');
  expect(steps.map(({ command }) => command.includes('--amp'))).toEqual([
    false,
    true,
    false,
    true,
    false,
    true,
  ]);
  for (const { command } of steps) expect(command).toContain('--profile');
});

it('gives no command an empty word', () => {
  const { eager, compiled } = torchParts({ python: 'py', device: 'cuda' }, false);
  for (const { command } of [...ownParts(false), ...ownParts(true), everyCheck, ...eager, ...compiled])
    expect(command.every((word) => typeof word === 'string' && word !== '')).toBe(true);
});

it('runs PyTorch on the device that it has; TF32 is of CUDA alone', () => {
  const names = (device) => torchParts({ python: 'py', device }, true).eager.map(({ name }) => name);
  expect(names('cuda').filter((name) => /TF32/.test(name))).toHaveLength(1);
  expect(names('mps').filter((name) => /TF32/.test(name))).toEqual([]);
  const [{ command }] = torchParts({ python: 'py', device: 'mps' }, true).compiled;
  expect(command.slice(0, 4)).toEqual(['py', join(root, 'scripts', 'torch_speed.py'), '--device', 'mps']);
});

const result = (kind, name, output, figures = null) => ({
  kind,
  name,
  output,
  figures,
  seconds: 1,
  problem: null,
  summary: '',
});
const page = (...results) =>
  markdown({ adapter: adapterOf(results), machine: ['a machine'], made: '2026-01-02T03', results });
const listed = (text) => result('adapters', 'adapters', text);
const checked = (subgroupMatrix, problems = []) =>
  result('check', 'check: gelu', '', { adapter: { subgroupMatrix }, rows: [{ problems }] });

describe('the page', () => {
  it('says of a software adapter at its top that it is none', () => {
    expect(page(listed('0: llvmpipe (LLVM 15.0.6, 256 bits); CPU; driver Mesa 25; x'))).toMatch(
      /^# llvmpipe \(LLVM 15\.0\.6, 256 bits\)\n\n\*\*software adapter, not a GPU\*\*\n\n2026-01-02\. Driver: Mesa 25; x; a machine\.\n/,
    );
    expect(page(listed('0: A card; GPU; driver 1\n1: llvmpipe; CPU; driver 2'))).not.toContain('not a GPU');
    expect(page(listed('No WebGPU adapter was found.'))).toMatch(/^# No adapter\n/);
  });

  it('says at its top what is wrong', () => {
    const card = listed('0: NVIDIA A1; GPU; driver 1');
    expect(page(card, checked([], ['bad', 'worse']))).toMatch(/^# .*\n\n\*\*1 results? (is|are) wrong\*\*/);
    expect(page(card, checked([]))).toContain('**This NVIDIA card lists no matrix units**');
    const units = [{ M: 16, N: 8, K: 4, componentType: 'f16', resultComponentType: 'f32' }];
    expect(page(card, checked(units))).not.toContain('**');
    expect(page(card, checked(units))).toContain('Matrix units: 16x8x4 f16 to f32.');
  });

  it('shows steps, PyTorch among them, pipelines and a profile', () => {
    const made = [1, 7, 3, 6, 5, 4, 200].map((ms) => ({ kernel: `k${ms}`, constants: 'A=1', ms }));
    const step = [{ op: 'step', ms: 2, images_per_second: 50.4, gflops: 1, pipelines: made }];
    const profile = '| kernel | ms |\n|---|---|\n| gelu | 3 |\n\n| model | ms |';
    const text = page(
      result('step', 'ViT', profile, step),
      result('torch', 'PyTorch: ViT', '', { images_per_second: 1000, ms: 1 }),
    );
    expect(text).toContain('| ViT | 2.00 | 50.4 | 1.00 |\n| PyTorch: ViT | 1.00 | 1000 | - |\n');
    expect(text).toContain(
      '| ViT | 7 | 226 | 200: k200 A=1; 7.00: k7 A=1; 6.00: k6 A=1; 5.00: k5 A=1; 4.00: k4 A=1 |',
    );
    expect(text).toContain('### ViT\n\n| kernel | ms |\n|---|---|\n| gelu | 3 |\n');
    expect(text).not.toContain('| model |');
  });

  it('shows the output of a part that failed', () => {
    const failed = { ...result('step', 'ViT', 'The GPU device was lost'), problem: 'ended with 1' };
    expect(page(failed)).toContain('## ViT\n\n```\nThe GPU device was lost\n```');
    const late = { ...result('tune', 'tune', ''), problem: 'no time left' };
    expect(page(late)).toContain('| tune | no time left |');
    expect(page(late)).not.toContain('## tune');
  });
});
