// What scripts/gpu.mjs runs, the most important first. A command is a list of arguments, so that paths may have blanks.
import { join } from 'node:path';
import { root } from './common.mjs';

const model = (name, flags) => ({ name, flags: flags.split(' ') });
const TINY = model(
  'ViT-Tiny, batch 512',
  '--embed-dim 192 --depth 12 --num-heads 3 --patch-size 4 --batch-size 512',
);
const SMALL = model(
  'ViT-S, batch 256',
  '--embed-dim 384 --depth 12 --num-heads 6 --patch-size 4 --batch-size 256',
);
const BASE = model(
  'ViT-B/16 at 224, batch 64',
  '--embed-dim 768 --depth 12 --num-heads 12 --patch-size 16 --image-size 224 --batch-size 64',
);
const QUICK = model('a tiny model', '--embed-dim 32 --depth 1 --num-heads 2 --patch-size 8 --batch-size 8');

/** Stands for the file that a part writes. */
export const JSON_FILE = '{json}';

const modelsOf = (quick) => (quick ? [QUICK] : [TINY, SMALL, BASE]);

/** `seconds` is the time after which a part is ended. It is more than a command's own limit, so that the command can report. */
const part = (kind, name, seconds, command) => ({ kind, name, seconds, command });
const ours = (script, ...flags) => [process.execPath, join(root, 'dist', script), ...flags];

function check(name, filter, seconds) {
  const some = filter ? ['--filter', filter] : [];
  const flags = [...some, '--seconds', `${seconds}`, '--json', JSON_FILE];
  return part('check', `check: ${name}`, seconds + 40, ours('check.js', ...flags));
}

const bench = (kind, name, seconds, ...flags) =>
  part(kind, name, seconds, ours('bench.js', ...flags, '--json', JSON_FILE));

const NVIDIA = ['name', 'driver_version', 'memory.total', 'power.limit', 'clocks.max.sm', 'clocks.max.mem'];

/** Patchlight's own parts, of which a quick run does less. */
export function ownParts(quick) {
  const steps = modelsOf(quick).flatMap(({ name, flags }) =>
    [[], ['--amp']].map((amp) => {
      const few = quick ? ['--steps', '2'] : [];
      return bench('step', [name, ...amp].join(' '), 60, 'step', ...flags, ...amp, ...few, '--profile');
    }),
  );
  const products = quick ? '^matmul.*1024' : '^(matmul|linear|mlp|attention|layer_norm)';
  const half = quick ? products : '^matmul';
  const fast = quick ? ['--quick'] : [];
  return [
    part('adapters', 'adapters', 30, ours('train.js', '--list-adapters')),
    {
      ...part('nvidia', 'nvidia-smi', 20, ['nvidia-smi', `--query-gpu=${NVIDIA}`, '--format=csv']),
      optional: true,
    },
    check('gelu and sum', '^(gelu|sum) ', quick ? 5 : 30),
    check('products', '^product ', quick ? 5 : 60),
    check('attention', '^attention passes \\(2, 65', quick ? 1 : 60),
    ...steps,
    bench('ops', 'ops', 60, '--quick', '--filter', products),
    bench('ops', 'ops --amp, every kernel', 90, ...fast, '--amp', '--filter', half),
    part(
      'tune',
      'tune',
      quick ? 40 : 90,
      ours('bench.js', 'tune', '--seconds', quick ? '10' : '45', ...fast),
    ),
  ];
}

/** The rest of the checks: right kernels first, then how fast they are, then every kernel that the card could run. */
export const everyCheck = check('everything', null, 170);

/** Prints the device on which PyTorch trains: cuda (NVIDIA, AMD), mps (Apple), or none. */
export const ASKS_TORCH = `import torch
mps = getattr(torch.backends, "mps", None)
print("cuda" if torch.cuda.is_available() else "mps" if mps and mps.is_available() else "none")`;

/** The names under which Python is started. On Windows it has no number, and `py` is its launcher. */
export const PYTHONS = ['python3', 'python', 'py'];

const FUSED = 'fused attention';
/** Only CUDA has TF32. */
const torchModes = (device) => [
  ['float32', []],
  ...(device === 'cuda' ? [[`TF32, ${FUSED}`, ['--tf32', '--sdpa']]] : []),
  [`bf16 autocast, ${FUSED}`, ['--tf32', '--amp', '--sdpa']],
];

/** PyTorch on the same card. Compiled models come last, because compiling takes the longest. */
export function torchParts({ python, device }, quick) {
  const torch = (model, [mode, flags], seconds) =>
    part('torch', `PyTorch: ${model.name}, ${mode}`, seconds, [
      ...[python, join(root, 'scripts', 'torch_speed.py'), '--device', device],
      ...['--warm-up', '5', '--steps', '20', ...model.flags, ...flags],
    ]);
  const compiled = [`bf16 autocast, ${FUSED}, compiled`, ['--tf32', '--amp', '--sdpa', '--compile']];
  const models = modelsOf(quick);
  return {
    eager: models.flatMap((model) => torchModes(device).map((mode) => torch(model, mode, 45))),
    compiled: models.map((model) => torch(model, compiled, 100)),
  };
}
