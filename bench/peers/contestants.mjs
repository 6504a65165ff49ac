// Who is measured, how each is started, and what it said: a result, or the reason why there is none.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const root = join(here, '..', '..');
const python = process.env.PYTHON ?? (existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3');

/** A process's result: the last line of JSON it printed, which a process over its time limit may have left too. */
function run(command, args, { seconds, env = process.env }) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: here, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let [out, err, late] = ['', '', false];
    child.stdout.on('data', (chunk) => {
      out += chunk;
    });
    child.stderr.on('data', (chunk) => {
      err += chunk;
    });
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, 1000 * seconds);
    child.on('error', (error) => resolve({ reason: error.message }));
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const result = resultIn(out);
      if (late && !(result?.ms?.length > 0))
        return resolve({ reason: `no step after the first within ${seconds} s` });
      if (!late && code !== 0) return resolve({ reason: complaint(err) || `ended with ${code ?? signal}` });
      resolve(result ?? { reason: complaint(err) || 'printed no result' });
    });
  });
}

/** The last line that is JSON; a process that was killed may have left half a line. */
export function resultIn(printed) {
  for (const line of printed.split('\n').reverse())
    try {
      if (line.startsWith('{')) return JSON.parse(line);
    } catch {
      // The line before it is whole.
    }
  return null;
}

/** An error's message from what a process said, without its stack. */
export function complaint(text) {
  const [, name] =
    /Cannot find (?:package|module) '([^']+)'|No module named '?(\w+)/.exec(text)?.filter(Boolean) ?? [];
  if (name) return `its package ${name} is not installed`;
  const lines = text
    .split('\n')
    .filter((line) => line.trim() && !/^\s+at |^Node\.js v|^Warning: maxDynamic/.test(line));
  return (lines.find((line) => /\b\w*Error\b/.test(line)) ?? lines.at(-1) ?? '').trim().slice(0, 160);
}

/** Variables that make a peer run something else than the best it has: a narrower driver, the kernels of an older processor. */
const UNSET = [
  'LP_NATIVE_VECTOR_WIDTH',
  'OPENBLAS_CORETYPE',
  'OPENBLAS_L2_SIZE',
  'MKL_DEBUG_CPU_TYPE',
  'MKL_ENABLE_INSTRUCTIONS',
];

/**
 * What a peer's user gets: its library's own choice of kernels, the driver's own vector width. Its compiled shaders go to a
 * cache folder of that width, apart from ours and emptied by nobody, so that only the first run ever starts cold.
 */
export function peerEnvironment(environment = process.env) {
  const env = Object.fromEntries(Object.entries(environment).filter(([name]) => !UNSET.includes(name)));
  return { ...env, MESA_SHADER_CACHE_DIR: join(tmpdir(), 'patchlight-peers-mesa-default') };
}

/** A result, or why it would mislead: the reference BLAS computes one number after another. */
export const unlessReference = (said) =>
  said.reference
    ? { reason: `its BLAS is the slow reference one (${said.blas}); install libopenblas0-pthread` }
    : said;

/** Installs the peers' packages when the lock file is newer than what is there; why not, where that fails. */
export function installPeers() {
  const [lock, installed] = ['package-lock.json', 'node_modules/.package-lock.json'].map((it) =>
    join(here, it),
  );
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs) return null;
  console.error('Installing the peers ...');
  const npm = process.env.npm_execpath?.endsWith('npm-cli.js')
    ? [process.execPath, process.env.npm_execpath]
    : ['npm'];
  // onnxruntime-node's own script would download a build for CUDA.
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const args = [...npm.slice(1), 'ci', '--prefix', here, ...flags];
  const shell = npm.length === 1 && process.platform === 'win32';
  const done = spawnSync(npm[0], args, { cwd: here, encoding: 'utf8', shell });
  return done.status === 0 ? null : `npm ci failed: ${complaint(`${done.stdout}${done.stderr}`)}`;
}

/** One model's step by one peer: {ms of each step, first_ms}. */
const inNode = (script, backend) => (model, limits) => {
  const args = [
    '--harmony-iterator-helpers',
    join(here, script),
    JSON.stringify({ backend, ...model, steps: limits.steps }),
  ];
  // Node 22 has iterator helpers of its own and knows the flag no more.
  if (Number(process.versions.node.split('.')[0]) >= 22) args.shift();
  return run(process.execPath, args, { ...limits, env: peerEnvironment() });
};

const modelFlags = ({ dim, depth, heads, mlp, batch }) => [
  ...['--embed-dim', dim, '--depth', depth, '--num-heads', heads, '--mlp-ratio', mlp],
  ...['--patch-size', 4, '--pool', 'mean', '--batch-size', batch],
];

async function ours(model, limits) {
  const folder = mkdtempSync(join(tmpdir(), 'patchlight-bench-'));
  const json = join(folder, 'rows.json');
  const args = [
    join(root, 'dist/bench.js'),
    'step',
    ...modelFlags(model),
    '--steps',
    limits.steps,
    '--json',
    json,
  ];
  const said = await run(process.execPath, args.map(String), limits);
  const [row] = existsSync(json) ? JSON.parse(readFileSync(json, 'utf8')) : [];
  rmSync(folder, { recursive: true });
  return row ? { ms: [row.ms], first_ms: row.first_ms, peak_mb: row.device_mb } : said;
}

async function torch(model, limits) {
  const flags = [...modelFlags(model), '--steps', limits.steps, '--clip-grad', 0].map(String);
  const script = [join(here, 'torch_step.py'), ...flags];
  const said = unlessReference(await run(python, script, { ...limits, env: peerEnvironment() }));
  if (said.reason) return said;
  return { ms: [said.ms], peak_mb: said.peak_mb, name: `PyTorch ${said.torch}, ${said.blas}` };
}

/** In the order of the table; ours is what the others are compared with. */
export const trainers = {
  Patchlight: ours,
  'jax-js wasm': inNode('jax.mjs', 'wasm'),
  'jax-js webgpu': inNode('jax.mjs', 'webgpu'),
  'tfjs wasm': inNode('tfjs.mjs', 'wasm'),
  'tfjs webgpu': inNode('tfjs.mjs', 'webgpu'),
  PyTorch: torch,
};

/** Matrix products of the given shapes: {ms: {name: milliseconds}}. */
export const multipliers = {
  Patchlight: (spec, limits) =>
    run(process.execPath, [join(here, 'matmul_ours.mjs'), JSON.stringify(spec)], limits),
  numpy: async (spec, limits) => {
    const script = [join(here, 'matmul_numpy.py'), JSON.stringify(spec)];
    return unlessReference(await run(python, script, { ...limits, env: peerEnvironment() }));
  },
  'onnxruntime-node': (spec, limits) => {
    const script = [join(here, 'matmul_onnx.mjs'), JSON.stringify(spec)];
    return run(process.execPath, script, { ...limits, env: peerEnvironment() });
  },
};

/** The name of the adapter that ours runs on. */
export function adapterName() {
  const { stdout } = spawnSync(process.execPath, [join(root, 'dist/train.js'), '--list-adapters'], {
    encoding: 'utf8',
  });
  return /^0: (.*?); [CG]PU; /.exec(stdout)?.[1] ?? '';
}
