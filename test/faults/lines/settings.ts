/** Random right and wrong flags, drawn from the table of settings, so that a new setting is included by itself. */
import fc from 'fast-check';
import type { Row } from '../../../src/core/setting.js';
import { kebab, type SettingName, settingNames, settingsTable } from '../../../src/recipe/settings.js';

export const boundsOf = (name: SettingName): Row => settingsTable[name];

/** Model sizes. There are few, because a software adapter compiles kernels for each of them for seconds. */
export const shapes = [
  '--embed-dim 8 --depth 1 --num-heads 1 --patch-size 16 --mlp-ratio 2 --batch-size 10',
  '--embed-dim 16 --depth 1 --num-heads 2 --patch-size 16 --mlp-ratio 2 --batch-size 20 --pool mean',
  '--embed-dim 8 --depth 2 --num-heads 2 --patch-size 16 --mlp-ratio 2 --batch-size 5',
].map((text) => text.split(' '));

const SHAPE = 'embedDim depth numHeads mlpRatio ffnDim patchSize batchSize pool'.split(' ') as SettingName[];
const FREE = settingNames.filter((name) => !SHAPE.includes(name));

/** Upper limits of settings whose larger values would only take longer. */
const ranges: Partial<Record<SettingName, readonly [number, number]>> = {
  embedDim: [4, 24],
  depth: [1, 2],
  numHeads: [0, 4],
  mlpRatio: [0, 2],
  ffnDim: [0, 16],
  patchSize: [8, 33],
  regTokens: [0, 3],
  limitTrain: [1, 60],
  epochs: [1, 4],
  batchSize: [1, 40],
  gradAccumSteps: [1, 4],
  randNumOps: [1, 3],
};

/** Upper limits of seven in eight values, near the sizes of these runs, so that bounds are met from both sides. */
const usually: Partial<Record<SettingName, number>> = {
  valSplit: 70,
  maxSteps: 9,
  scheduleSteps: 12,
  logInterval: 12,
  evalInterval: 3,
  patience: 2,
};

/** Settings that interact. */
const pairs: readonly (readonly SettingName[])[] = [
  ['patience', 'evalInterval', 'epochs'],
  ['maxSteps', 'epochs', 'warmupEpochs'],
  ['maxSteps', 'evalInterval'],
  ['maxSteps', 'logInterval'],
  ['valSplit', 'limitTrain'],
  ['batchSize', 'gradAccumSteps', 'limitTrain'],
  ['emaDecay', 'maxSteps'],
  ['emaDecay', 'evalInterval'],
  ['checkpointInterval', 'epochs'],
  ['schedule', 'warmupEpochs', 'minLr'],
  ['schedule', 'scheduleSteps', 'maxSteps'],
  ['augment', 'scaleMin', 'ratioMax'],
  ['augment', 'flip', 'gradAccumSteps'],
  ['augment', 'randFlavour', 'randMagnitude', 'randMstd'],
  ['mixup', 'cutmix', 'mixupOffEpoch'],
  ['pool', 'regTokens', 'posEmbed'],
  ['keepTokens', 'regTokens', 'gradCheckpointing'],
  ['locality', 'keepTokens', 'pool'],
  ['optimizer', 'layerDecay', 'emaDecay'],
  ['optimizer', 'muonNorm', 'muonLearningRate', 'learningRate'],
  ['amp', 'learningRate'],
  ['amp', 'optimizer', 'gradAccumSteps'],
  ['clipGrad', 'learningRate'],
];

const LARGE = [1e6, 2 ** 32, 1e15];

function numbers(name: SettingName): fc.Arbitrary<number> {
  const { min = 0, most, below, whole } = boundsOf(name);
  const [low, tamed] = ranges[name] ?? [min, undefined];
  const high = tamed ?? most ?? (below === undefined ? undefined : below - 1e-6);
  const near = Math.min(high ?? low + 4, low + 4);
  const twentieths = fc.integer({ min: 0, max: 20 }).map((k) => low + (k * (near - low)) / 20);
  const typical = usually[name] ?? tamed ?? near;
  const usual = whole ? fc.integer({ min: low, max: typical }) : twentieths;
  const edges = [low, ...(high === undefined ? [] : [high])];
  return fc.oneof(
    { weight: 5, arbitrary: usual },
    { weight: 2, arbitrary: fc.constantFrom(...edges) },
    ...(high === undefined
      ? [{ weight: 1, arbitrary: fc.constantFrom(...LARGE, ...(whole ? [] : [1e-12, 1e300])) }]
      : []),
  );
}

export function values(name: SettingName): fc.Arbitrary<string | number | boolean> {
  const { default: value, choices } = boundsOf(name);
  if (name === 'dataset') return fc.constant('shapes10');
  if (choices) return fc.constantFrom(...choices);
  if (typeof value === 'number') return numbers(name);
  return typeof value === 'boolean' ? fc.boolean() : fc.constant('no-data');
}

/** All spellings of a setting's flag: `--batch-size`, `--batch_size`, and its aliases. */
function spellings(name: SettingName): fc.Arbitrary<string> {
  const names = [kebab(name), ...(boundsOf(name).alias ?? [])];
  return fc.constantFrom(...new Set(names.flatMap((one) => [`--${one}`, `--${one.replaceAll('-', '_')}`])));
}

/** One setting, typed in one of the possible ways. */
export function typed(name: SettingName, value: string | number | boolean): fc.Arbitrary<string[]> {
  return spellings(name).chain((flag) => {
    const joined = [`${flag}=${value}`];
    if (typeof value === 'boolean')
      return fc.constantFrom(joined, [value ? flag : flag.replace('--', '--no-')]);
    return fc.constantFrom([flag, String(value)], joined);
  });
}

const right = (name: SettingName) => values(name).chain((value) => typed(name, value));

/** Settings of a command line besides its sizes: single ones, ones that interact, one that is given twice. */
export const extras: fc.Arbitrary<string[][]> = fc
  .array(
    fc.oneof(
      { weight: 5, arbitrary: fc.constantFrom(...FREE).map((name) => [name]) },
      { weight: 1, arbitrary: fc.constantFrom(...SHAPE).map((name) => [name]) },
      { weight: 4, arbitrary: fc.constantFrom(...pairs) },
      { weight: 1, arbitrary: fc.constantFrom(...FREE).map((name) => [name, name]) },
    ),
    { maxLength: 3 },
  )
  .chain((names) => fc.tuple(...names.flat().map(right)));

/** The same as an object for a config file. */
export const configured: fc.Arbitrary<Record<string, unknown>> = fc
  .uniqueArray(fc.constantFrom(...FREE), { maxLength: 4 })
  .chain((names) => fc.record(Object.fromEntries(names.map((name) => [name, values(name)]))));

export interface Wrong {
  readonly args: readonly string[];
  readonly expects: 'usage' | 'refusal';
}

/** Every value that the table forbids: an unreadable one is a usage error, one out of bounds is refused. */
export function wrongs(name: SettingName): Wrong[] {
  const { default: value, choices, min, most, below, whole } = boundsOf(name);
  const flag = `--${kebab(name)}`;
  const usage = (...args: string[]): Wrong => ({ args, expects: 'usage' });
  const refused = (text: string | number): Wrong => ({ args: [`${flag}=${text}`], expects: 'refusal' });
  if (typeof value === 'boolean') return [usage(`${flag}=maybe`), usage(`${flag}=`)];
  if (choices) return [usage(`${flag}=nope`), usage(`${flag}=`), usage(flag)];
  if (typeof value === 'string') return [usage(flag), ...(name === 'dataset' ? [refused('nope')] : [])];
  return [
    ...['abc', 'NaN', '', '1x'].map((text) => usage(`${flag}=${text}`)),
    usage(flag),
    refused('Infinity'),
    ...(min === undefined ? [] : [refused(min - 1)]),
    ...(most === undefined ? [] : [refused(most + 1)]),
    ...(below === undefined ? [] : [refused(below)]),
    ...(whole ? [refused((min ?? 0) + 0.5)] : []),
  ];
}

/** Settings that a resumed run must keep, because steps depend on them. */
export const kept = settingNames.filter(
  (name) =>
    (settingsTable[name].group !== 'Run' || name === 'seed') &&
    !['epochs', 'maxSteps', 'scheduleSteps', 'patience', 'gradCheckpointing', 'dataDir', 'dataset'].includes(
      name,
    ),
);
