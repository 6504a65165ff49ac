// node scripts/compare_curve.mjs LOSSES.json STEPS.jsonl [--tolerance 1e-4]
// Compares the losses of a run with the losses that scripts/torch_curve.py wrote, step by step.
// Exit code: 0 within the tolerance, 1 not, 2 wrong usage.
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

function stop(code, sentence) {
  console.error(sentence);
  process.exit(code);
}

function read(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    return stop(2, `Cannot read ${file}: ${error.message}`);
  }
}

let args;
try {
  args = parseArgs({ allowPositionals: true, options: { tolerance: { type: 'string', default: '1e-4' } } });
} catch (error) {
  stop(2, error.message);
}
const tolerance = Number(args.values.tolerance);
if (args.positionals.length !== 2 || args.values.tolerance.trim() === '' || !(tolerance >= 0)) {
  stop(2, 'Usage: node scripts/compare_curve.mjs LOSSES.json STEPS.jsonl [--tolerance 1e-4]');
}

const [wantedFile, runFile] = args.positionals;
const wanted = JSON.parse(read(wantedFile));
const run = new Map(); // a resumed run may log a step twice; the later line counts
for (const line of read(runFile).split('\n')) {
  if (line.trim() === '') continue;
  const entry = JSON.parse(line);
  run.set(entry.step, entry);
}

// A value that is missing or not finite counts as an infinite difference.
function compare(values, key) {
  let worst = { difference: -1, step: 0 };
  let steps = 0;
  values.forEach((value, i) => {
    const entry = run.get(i + 1);
    if (entry === undefined) return;
    steps += 1;
    const gap =
      Number.isFinite(entry[key]) && Number.isFinite(value) ? Math.abs(entry[key] - value) : Infinity;
    if (gap > worst.difference) worst = { difference: gap, step: i + 1, wanted: value, got: entry[key] };
  });
  return { ...worst, steps };
}

const loss = compare(wanted.losses, 'loss');
if (loss.steps === 0) stop(1, `No step of ${wantedFile} (1 to ${wanted.losses.length}) is in ${runFile}.`);
console.log(
  `loss: max abs difference ${loss.difference.toExponential(3)} at step ${loss.step} (${loss.wanted} and ${loss.got}), ` +
    `${loss.steps} of ${wanted.losses.length} steps compared`,
);
if (wanted.grad_norms !== undefined && [...run.values()].some((entry) => Number.isFinite(entry.grad_norm))) {
  const norm = compare(wanted.grad_norms, 'grad_norm');
  console.log(`grad_norm: max abs difference ${norm.difference.toExponential(3)} at step ${norm.step}`);
}
const good = loss.difference <= tolerance;
console.log(good ? `Within ${tolerance}.` : `Above ${tolerance}.`);
process.exitCode = good ? 0 : 1;
