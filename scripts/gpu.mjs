// The parts of scripts/gpu.sh, one after another, each with its own time limit. A part that fails is reported; the rest runs.
import { spawn } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isMain, root, runMain, Trouble } from './common.mjs';

const MINUTES = 9.5;
const TAIL = 8000; // characters of a part's output that are kept

const [TINY, SMALL, BASE] = [
  {
    name: 'ViT-Tiny, batch 512',
    flags: '--embed-dim 192 --depth 12 --num-heads 3 --patch-size 4 --batch-size 512',
  },
  {
    name: 'ViT-S, batch 256',
    flags: '--embed-dim 384 --depth 12 --num-heads 6 --patch-size 4 --batch-size 256',
  },
  {
    name: 'ViT-B/16 at 224, batch 64',
    flags: '--embed-dim 768 --depth 12 --num-heads 12 --patch-size 16 --image-size 224 --batch-size 64',
  },
];
const QUICK = {
  name: 'a tiny model',
  flags: '--embed-dim 32 --depth 1 --num-heads 2 --patch-size 8 --batch-size 8',
};

const TORCH = [
  ['float32', ''],
  ['TF32, fused attention', '--tf32 --sdpa'],
  ['bf16 autocast, fused attention', '--tf32 --amp --sdpa'],
];
const TORCH_COMPILED = ['bf16 autocast, fused attention, compiled', '--tf32 --amp --sdpa --compile'];

/** Command lines, the most important first. {json} stands for a file that the part writes. */
function parts({ quick, cuda }) {
  const bench = (name, flags, seconds) => ({
    name,
    seconds,
    command: `node dist/bench.js ${flags} --json {json}`,
  });
  const models = quick ? [QUICK] : [TINY, SMALL, BASE];
  const steps = models.flatMap(({ name, flags }) =>
    ['', ' --amp'].map((amp) =>
      bench(`step: ${name}${amp}`, `step ${flags}${amp} ${quick ? '--steps 2' : ''}`, 60),
    ),
  );
  const torch = (model, [mode, flags], seconds) => ({
    name: `torch: ${model.name}, ${mode}`,
    seconds,
    command: `python3 scripts/torch_speed.py --device cuda --warm-up 5 --steps 20 ${model.flags} ${flags}`,
  });
  const products = quick ? '^matmul.*1024' : '^(matmul|linear|mlp|attention|layer_norm)';
  return [
    { name: 'adapters', seconds: 30, command: 'node dist/train.js --list-adapters' },
    {
      name: 'check',
      seconds: 180,
      command: `node dist/check.js ${quick ? '--filter ^(gelu|sum)' : ''} --seconds 170 --json {json}`,
    },
    ...steps,
    ...(cuda ? models.flatMap((model) => TORCH.map((mode) => torch(model, mode, 45))) : []),
    bench('ops', `--quick --filter ${products}`, 60),
    bench(
      'ops --amp, every kernel',
      `${quick ? '--quick' : ''} --amp --filter ${products.replace(/[(].*/, 'matmul')}`,
      90,
    ),
    { name: 'tune', seconds: 60, command: `node dist/bench.js tune --seconds 45 ${quick ? '--quick' : ''}` },
    ...(cuda ? models.map((model) => torch(model, TORCH_COMPILED, 100)) : []),
  ];
}

/** Runs a command. Resolves with its output and, if it failed, with how it ended. */
function run([file, ...args], seconds, outputFile) {
  return new Promise((resolve) => {
    const began = performance.now();
    const sink = openSync(outputFile, 'w');
    // A process group of its own, so that its child processes are ended with it.
    const child = spawn(file, args, { cwd: root, detached: true, stdio: ['ignore', sink, sink] });
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // it has just ended
      }
    }, 1000 * seconds);
    const end = (problem) => {
      clearTimeout(timer);
      closeSync(sink);
      const output = readFileSync(outputFile, 'utf8');
      resolve({ output, problem, seconds: (performance.now() - began) / 1000 });
    };
    child.on('error', (error) => end(error.message));
    child.on('close', (code, signal) =>
      end(
        late ? `stopped after ${Math.round(seconds)} s` : code === 0 ? null : `ended with ${code ?? signal}`,
      ),
    );
  });
}

const words = (command, file) => command.replace('{json}', file).split(' ').filter(Boolean);

/** True if python3 has PyTorch and PyTorch finds a CUDA card. */
async function hasCuda(folder) {
  const asks = 'import torch; print(torch.cuda.is_available())';
  const { output } = await run(['python3', '-c', asks], 60, join(folder, 'cuda.txt'));
  return output.trim() === 'True';
}

/** The figures of a part: the file that it wrote, or the line of its output that is a JSON object; null if there is none. */
function figures(file, output) {
  const text = existsSync(file) ? readFileSync(file, 'utf8') : /^\{.*\}$/m.exec(output)?.[0];
  try {
    return JSON.parse(text ?? 'null');
  } catch {
    return null; // cut short
  }
}

const three = (value) =>
  typeof value === 'number' ? (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3)) : '-';

/** The page: training steps of Patchlight and PyTorch, and the outcome of each part. */
function markdown({ adapter, results }) {
  const rate = results.flatMap(({ name, figures: found }) => {
    const row = Array.isArray(found) ? found.find(({ op }) => op === 'step') : found;
    return row?.images_per_second
      ? [`| ${name} | ${three(row.ms)} | ${three(row.images_per_second)} | ${three(row.gflops)} |`]
      : [];
  });
  const state = results.map(
    ({ name, problem, seconds, summary }) =>
      `| ${name} | ${problem ?? 'done'} | ${seconds.toFixed(0)} | ${summary} |`,
  );
  return [
    `# ${adapter}`,
    ['| training step | ms | images/s | GFLOP/s |', '|---|---:|---:|---:|', ...rate].join('\n'),
    ['| part | | seconds | |', '|---|---|---:|---|', ...state].join('\n'),
    ...results
      .filter(({ problem }) => problem)
      .map(({ name, tail }) => `## ${name}\n\n\`\`\`\n${tail}\n\`\`\``),
    ...results
      .filter(({ name, problem }) => !problem && /^(check|ops|tune)/.test(name))
      .map(({ name, tail }) => `## ${name}\n\n${tail}`),
  ].join('\n\n');
}

function options(argv) {
  const [out, ...flags] = argv;
  if (!out || out.startsWith('--')) throw new Trouble('bash scripts/gpu.sh OUT [--quick] [--minutes N]');
  const at = flags.indexOf('--minutes');
  const minutes = at < 0 ? MINUTES : Number(flags[at + 1]);
  if (!(minutes > 0)) throw new Trouble('--minutes must be a number above 0.');
  return { out, minutes, quick: flags.includes('--quick') };
}

if (isMain(import.meta.url))
  await runMain(async () => {
    const { out, minutes, quick } = options(process.argv.slice(2));
    if (!existsSync(join(root, 'dist/check.js')))
      throw new Trouble('There is no dist/check.js: npm run build.');
    mkdirSync(out, { recursive: true });
    const folder = mkdtempSync(join(tmpdir(), 'patchlight-gpu-'));
    const end = performance.now() + 60_000 * minutes;
    const log = join(out, 'gpu.log');
    writeFileSync(log, '');
    const results = [];
    for (const [i, { name, seconds, command }] of parts({ quick, cuda: await hasCuda(folder) }).entries()) {
      const file = join(folder, `${i}.json`);
      const left = (end - performance.now()) / 1000;
      const result =
        left < 5
          ? { output: '', problem: 'no time left', seconds: 0 }
          : await run(words(command, file), Math.min(seconds, left), `${file}.txt`);
      const lines = result.output.trim().split('\n');
      const summary = (lines.at(-1) ?? '').startsWith('{')
        ? ''
        : (lines.at(-1) ?? '').replaceAll('|', ' ').slice(0, 120);
      results.push({
        name,
        command,
        ...result,
        output: undefined,
        summary,
        tail: result.output.slice(-TAIL),
        figures: figures(file, result.output),
      });
      appendFileSync(log, `=== ${name}: ${command}\n${result.output}\n`);
      console.log(`${name}: ${result.problem ?? 'done'}, ${result.seconds.toFixed(0)} s`);
      // Written after every part, so that the results so far are kept if this is stopped.
      const adapter = results[1]?.figures?.adapter.name ?? results[0].summary;
      const known = { adapter, made: new Date().toISOString(), quick, results };
      writeFileSync(join(out, 'gpu.json'), `${JSON.stringify(known, null, 1)}\n`);
      writeFileSync(join(out, 'gpu.md'), `${markdown(known)}\n`);
    }
    rmSync(folder, { recursive: true });
    if (results.some(({ problem }) => problem)) process.exitCode = 1;
  });
