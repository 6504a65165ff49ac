// `npm run bench:peers -- --help`: ours beside other trainers, in rounds of one process each (A B C, A B C, ...), so that
// whatever else the machine does meets all of them alike.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { adapterName, installPeers, multipliers, trainers } from './contestants.mjs';
import { counted, MOST_FOREIGN, MOST_PACE, machine, withLoad } from './load.mjs';
import { help, readOptions, UsageError } from './options.mjs';
import { hostPeak } from './peak.mjs';
import { digits, finiteMedian, loadRange, peakLine, table } from './tables.mjs';
import { median } from './timing.mjs';

const results = fileURLToPath(new URL('../results', import.meta.url));
const { dependencies } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'));

/** Images of 64 patches of 4 x 4 x 3, mean pooling; `dim/depth/heads`, MLP of `mlp` times the width. */
const models = {
  'step-small': { dim: 64, depth: 2, heads: 4, mlp: 2, batch: 32 },
  // Minutes a step for the trainers in JavaScript: PyTorch alone.
  'step-tiny': { against: ['PyTorch'], dim: 192, depth: 12, heads: 3, mlp: 4, batch: 64 },
  'step-256': { against: ['PyTorch'], dim: 256, depth: 6, heads: 8, mlp: 4, batch: 64 },
  'step-96': { against: ['PyTorch'], dim: 96, depth: 6, heads: 3, mlp: 4, batch: 64 },
};
const stepsOf = { 'step-small': 10, 'step-tiny': 2, 'step-256': 2, 'step-96': 4 };

const product = (batch, M, K, N, transA = false, transB = false) => {
  const layout = `${transA ? 'T' : 'N'}${transB ? 'T' : 'N'}`;
  return {
    name: `${batch > 1 ? `${batch} x ` : ''}${M} x ${K} x ${N} ${layout}`,
    batch,
    M,
    K,
    N,
    transA,
    transB,
  };
};
/** M x K x N of a ViT-Tiny step at batch 64: forward (NT), gradients of inputs (NN) and weights (TN), attention. */
const shapes = [
  ...[576, 768].flatMap((N) => [product(1, 4160, 192, N, false, true), product(1, 4160, N, 192)]),
  product(1, 4160, 768, 192, false, true),
  product(1, 4160, 192, 768),
  product(1, 192, 4160, 768, true),
  product(1, 192, 4160, 192, true),
  product(1, 1024, 1024, 1024),
  product(192, 65, 64, 65, false, true),
  product(192, 65, 65, 64),
];

/**
 * Every contestant once a round; who has no result the first time is not asked again. Results by name, by round; `counts` is
 * true for a result of a quiet round.
 */
async function rounds(contestants, count, ask) {
  const found = new Map(Object.keys(contestants).map((name) => [name, []]));
  for (let round = 0; round < count; round++)
    for (const [name, contestant] of Object.entries(contestants)) {
      if (found.get(name)[0]?.reason) continue;
      process.stderr.write(`round ${round + 1} of ${count}: ${name} ...`);
      const result = await withLoad(() => ask(contestant));
      found.get(name).push(result);
      process.stderr.write(
        result.averages
          ? ` load ${result.averages.map((it) => it.toFixed(1)).join(' before, ')} after\n`
          : '\n',
      );
    }
  const quiet = counted(found);
  return new Map(
    [...found].map(([name, all]) => [
      name,
      all.map((result, round) => ({ ...result, counts: quiet.get(name)[round] })),
    ]),
  );
}

const PEAK_MB =
  'Peak MB of Patchlight: the most device memory at one time, copies in textures included. Peak MB of PyTorch: the most resident memory of its process, less what was resident before the model was built. The other trainers do not say.';

/** Of each contestant with a result: the rounds that counted, and the load average of a minute around its processes. */
const loads = (found) =>
  [...found]
    .filter(([, all]) => all[0] && !all[0].reason)
    .map(([who, all]) => {
      const quiet = `${all.filter(({ counts }) => counts).length} of ${all.length} rounds counted`;
      return `- ${who}: ${[quiet, loadRange(all)].filter(Boolean).join(', ')}.`;
    });

const missing = (found) =>
  [...found].flatMap(([name, results]) =>
    results.filter(({ reason }) => reason).map(({ reason }) => `- ${name}: no result; ${reason}.`),
  );

async function compareSteps(name, batch, { rounds: count, seconds, quick }) {
  const { against, ...sizes } = models[name];
  const model = { ...sizes, ...(batch ? { batch } : {}) };
  // With a batch size of the user's own all are asked.
  const asked = Object.entries(trainers).filter(
    ([who]) => who === 'Patchlight' || batch || !against || against.includes(who),
  );
  const limits = { steps: quick ? 2 : stepsOf[name], seconds };
  const found = await rounds(Object.fromEntries(asked), count, (trainer) => trainer(model, limits));
  const medians = new Map(
    [...found].map(([who, all]) => [
      who,
      all.map(({ ms, counts }) => (ms && counts ? median(ms) : Number.NaN)),
    ]),
  );
  const mine = medians.get('Patchlight');
  const rows = [...found]
    .filter(([, all]) => all[0] && !all[0].reason)
    .map(([who, all]) => {
      const times = medians.get(who).filter(Number.isFinite);
      const ratios = medians.get(who).map((ms, round) => ms / mine[round]);
      const first = all[0].first_ms;
      return [
        all[0].name ?? who,
        digits(median(times)),
        digits(Math.min(...times)),
        digits((1000 * model.batch) / median(times)),
        first ? digits(first) : '',
        digits(finiteMedian(all.map(({ peak_mb }) => peak_mb))),
        `${times.length} of ${all.length}`,
        who === 'Patchlight' ? '' : `${digits(finiteMedian(ratios))} x`,
      ];
    });
  const { dim, depth, heads, mlp } = model;
  return [
    `## ${name}: ViT ${dim}/${depth}/${heads}, MLP ${mlp}, 64 tokens, mean pooling, batch ${model.batch}`,
    table(
      [
        'trainer',
        'median ms',
        'best round ms',
        'images/s',
        'first step ms',
        'peak MB',
        'rounds counted',
        'speedup of ours',
      ],
      rows,
    ),
    PEAK_MB,
    [...loads(found), ...missing(found)].join('\n'),
  ];
}

async function compareProducts({ rounds: count, seconds, quick }) {
  const spec = { shapes, batch_ms: quick ? 10 : 50, runs: quick ? 3 : 7 };
  const found = await rounds(multipliers, count, (multiplier) => multiplier(spec, { seconds }));
  const usable = [...found].filter(([, all]) => all[0] && !all[0].reason);
  const rows = shapes.map(({ name, batch, M, K, N }) => {
    const speeds = usable.map(([, all]) =>
      all.map(({ ms, counts }) => (ms && counts ? (2 * batch * M * K * N) / ms[name] / 1e6 : Number.NaN)),
    );
    const ratios = speeds
      .slice(1)
      .map((theirs) => finiteMedian(speeds[0].map((ours, round) => ours / theirs[round])));
    return [name, ...speeds.map((it) => digits(finiteMedian(it))), ...ratios.map((it) => `${digits(it)} x`)];
  });
  const head = [
    'M x K x N',
    ...usable.map(([who, all]) => `${who === 'Patchlight' ? who : all[0].peer} GFLOP/s`),
  ];
  return [
    '## matmul',
    table([...head, ...usable.slice(1).map(([who]) => `speedup over ${who}`)], rows),
    peakLine(hostPeak()),
    [...loads(found), ...missing(found)].join('\n'),
  ];
}

const NAMES = [...Object.keys(models), 'matmul'];

/** Ends with the help text, or with a sentence where the command line is wrong. */
function optionsOrEnd() {
  try {
    const options = readOptions(process.argv.slice(2), NAMES);
    if (!options.help) return options;
    console.log(help(NAMES));
    process.exit(0);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(error.message);
    process.exit(2);
  }
}

const options = optionsOrEnd();
const adapter = adapterName();
const trouble = installPeers();
const packages = Object.entries(dependencies).map(([name, version]) => `${name} ${version}`);
const command = ['npm run bench:peers --', ...process.argv.slice(2)].join(' ');
const sections = [
  `${adapter}, ${new Date().toISOString().slice(0, 10)}, Node ${process.versions.node}; ${packages.join(', ')}: \`${command}\``,
  `${machine()}.`,
  `Rounds of one process each, interleaved: ${options.rounds}. Medians over rounds of each process's median; the speedup of ours is within a round. ` +
    `A round counts if other processes took at most ${100 * MOST_FOREIGN} % of the cores and a fixed piece of work beside it at most ${MOST_PACE} times its shortest time. ` +
    'Loads are averages of a minute, read before and after each process. ' +
    'Peers wait for the loss of every step and run with the driver as it comes; tfjs has Adam, the others AdamW. ' +
    'The first step is that of the first round: it compiles, or finds what an earlier run has left in the driver’s cache.',
  ...(trouble ? [trouble] : []),
];
console.log(`${sections.join('\n\n')}\n`);
for (const { name, batch } of options.comparisons) {
  const compared = name === 'matmul' ? compareProducts(options) : compareSteps(name, batch, options);
  const text = (await compared).join('\n\n');
  sections.push(text);
  console.log(`${text}\n`);
}
if (options.save) {
  mkdirSync(results, { recursive: true });
  const slug = adapter
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');
  const file = join(results, `peers-${slug}.md`);
  writeFileSync(file, `${sections.join('\n\n')}\n`);
  console.log(`Saved: ${file}`);
}
