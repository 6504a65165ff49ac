/**
 * Every setting of a training run, in one table: the flags of the command line, the fields of a config file and the
 * config.json of a run are all made from it. Names are camelCase here, kebab-case as flags.
 */
import { ConfigError } from '../core/errors.js';

interface Describe<T> {
  readonly default: T;
  readonly about: string;
  readonly choices?: readonly T[];
  readonly alias?: readonly string[];
  /** The lowest value, and whether it must be whole. */
  readonly min?: number;
  readonly below?: number;
  /** The highest value. */
  readonly most?: number;
  readonly whole?: true;
  readonly group: Group;
}

type Group = 'Model' | 'Data' | 'Optimisation' | 'Regularisation' | 'Run';
type Value = string | number | boolean;

const number = (group: Group, value: number, about: string, more: Partial<Describe<number>> = {}) =>
  ({
    group,
    default: value,
    about,
    min: 0,
    ...more,
  }) satisfies Describe<number>;
const count = (group: Group, value: number, about: string, more: Partial<Describe<number>> = {}) =>
  number(group, value, about, { whole: true, ...more });
const choice = <const T extends string>(
  group: Group,
  choices: readonly T[],
  value: T,
  about: string,
  more: Partial<Describe<T>> = {},
) =>
  ({
    group,
    default: value as T,
    about,
    choices,
    ...more,
  }) satisfies Describe<T>;
const text = (group: Group, value: string, about: string) =>
  ({ group, default: value, about }) satisfies Describe<string>;
const flag = (group: Group, value: boolean, about: string, more: Partial<Describe<boolean>> = {}) =>
  ({
    group,
    default: value,
    about,
    ...more,
  }) satisfies Describe<boolean>;
/** A dropout rate that is that of --dropout unless it is given. */
const ownRate = (about: string) =>
  number('Regularisation', -1, `${about}; -1 for that of dropout`, { min: -1, below: 1 });

export const settingsTable = {
  embedDim: count('Model', 192, 'width of the tokens', { min: 1 }),
  depth: count('Model', 12, 'number of blocks', { min: 1, most: 1000, alias: ['num-blocks'] }),
  numHeads: count('Model', 0, 'attention heads; 0 for heads of about 64', { alias: ['heads'] }),
  mlpRatio: number('Model', 4, 'hidden width of the MLP, as a multiple of embed-dim'),
  ffnDim: count('Model', 0, 'hidden width of the MLP itself; 0 to use mlp-ratio'),
  patchSize: count('Model', 4, 'pixels of a patch, down and across', { min: 1 }),
  pool: choice('Model', ['cls', 'mean'], 'cls', 'what the head reads: a class token or the mean of all'),
  layerScale: number('Model', 0, "first value of LayerScale's gamma, such as 1e-5; 0 for no LayerScale"),
  qkNorm: flag('Model', false, 'LayerNorm of queries and keys, head by head'),
  regTokens: count('Model', 0, 'register tokens between class token and patches'),
  posEmbed: choice(
    'Model',
    ['learn', 'sincos2d'],
    'learn',
    'positions: learned, or fixed two-dimensional sines',
  ),
  layerNormEps: number('Model', 1e-6, 'under the root of LayerNorm'),
  initScheme: choice(
    'Model',
    ['timm', 'pytorch'],
    'timm',
    'how weights start: truncated normal 0.02, or what PyTorch layers do',
  ),

  dataset: text('Data', 'cifar10', 'cifar10, cifar100, shapes10, or a folder with their files'),
  dataDir: text('Data', '', 'where data sets are; PATCHLIGHT_DATA or data/ when empty'),
  normalize: choice(
    'Data',
    ['cifar', 'half'],
    'cifar',
    "by the data set's own mean and deviation, or 0.5 and 0.5",
  ),
  augment: choice(
    'Data',
    ['none', 'flip-crop', 'auto', 'rand', 'trivial'],
    'flip-crop',
    'random changes to training images: crop and mirror, and AutoAugment (CIFAR-10), RandAugment or TrivialAugmentWide',
  ),
  paddingMode: choice('Data', ['zero', 'reflect'], 'zero', 'what crops show beyond the image'),
  scaleMin: number(
    'Data',
    0,
    'least share of the area that a random resized crop takes; 0 for shifted crops by up to 4 pixels',
    { most: 1 },
  ),
  ratioMax: number('Data', 1.3333, 'widest proportions of a random resized crop', { min: 1 }),
  randFlavour: choice('Data', ['torchvision', 'timm'], 'torchvision', 'whose RandAugment --augment rand is'),
  randMagnitude: number('Data', 9, 'of RandAugment: of 30 (torchvision), of 10 (timm)'),
  randNumOps: count('Data', 2, 'ops that RandAugment chooses', { min: 1 }),
  randMstd: number('Data', 0.5, "deviation of timm's magnitude; above 100 it is uniform"),
  randInc: flag('Data', true, "timm's increasing ranges (inc1)"),
  interpolation: choice('Data', ['nearest', 'bilinear'], 'nearest', 'of geometric ops'),
  fill: choice(
    'Data',
    ['zero', 'grey', 'mean'],
    'zero',
    "what geometric ops uncover: black (torchvision), 128, or the data set's mean (timm)",
  ),
  colorJitter: number('Data', 0, 'limit of random brightness, contrast and saturation'),
  hueJitter: number('Data', 0, 'limit of random hue, in turns of the colour circle', { most: 0.5 }),
  valSplit: count('Data', 0, 'training images held out for validation; 0 validates on the test images'),
  limitTrain: count('Data', 0, 'use only the first so many training images; 0 for all'),
  shuffle: flag('Data', true, 'draw images in a new order each epoch; --no-shuffle keeps file order'),
  mixup: number('Data', 0, 'alpha of mixup; 0 for none'),
  cutmix: number('Data', 0, 'alpha of cutmix; 0 for none'),
  mixupProb: number('Data', 1, 'probability that a batch is mixed', { most: 1 }),
  mixupSwitchProb: number('Data', 0.5, 'probability of cutmix where mixup is on too', { most: 1 }),
  mixupOffEpoch: count('Data', 0, 'epochs after which batches are no longer mixed; 0 for never'),
  randomErasing: number('Data', 0, 'probability of random erasing', { most: 1 }),
  erasingMode: choice('Data', ['const', 'pixel'], 'const', 'what is left of it: zeros, or normal noise'),

  epochs: count('Optimisation', 100, 'passes over the training images', { min: 1 }),
  maxSteps: count('Optimisation', 0, 'stop after so many steps; 0 for none'),
  batchSize: count('Optimisation', 64, 'images that go through the model at a time', { min: 1 }),
  gradAccumSteps: count(
    'Optimisation',
    1,
    'batches whose gradients add up before the weights move: a step then takes so many times batch-size images',
    { min: 1 },
  ),
  learningRate: number('Optimisation', 1e-3, 'peak learning rate', { alias: ['lr'] }),
  schedule: choice(
    'Optimisation',
    ['cosine', 'constant', 'one-cycle'],
    'cosine',
    'of the learning rate: after warm-up, or one cycle with its own',
  ),
  scheduleSteps: count(
    'Optimisation',
    0,
    'steps over which the schedule runs, warm-up included; 0 for those of all epochs',
  ),
  warmupEpochs: number('Optimisation', 0, 'epochs of linear warm-up'),
  warmupLr: number('Optimisation', 1e-6, 'learning rate that warm-up starts from'),
  minLr: number('Optimisation', 0, 'learning rate that the cosine ends at'),
  optimizer: choice(
    'Optimisation',
    ['adamw', 'muon'],
    'adamw',
    'AdamW, or Muon for the matrices of the blocks and AdamW for the rest',
  ),
  weightDecay: number('Optimisation', 0.05, 'decoupled weight decay'),
  decay: choice(
    'Optimisation',
    ['matrices', 'all'],
    'matrices',
    'what decays: weights of two and more axes, or every parameter',
  ),
  layerDecay: number(
    'Optimisation',
    1,
    'learning rate of a layer over that of the next one, counted from the head; 1 for the same',
  ),
  beta1: number('Optimisation', 0.9, 'AdamW, first moment', { below: 1 }),
  beta2: number('Optimisation', 0.999, 'AdamW, second moment', { below: 1 }),
  adamEps: number('Optimisation', 1e-8, 'AdamW, under the step'),
  clipGrad: number('Optimisation', 0, 'global norm that gradients are clipped to; 0 for none'),
  emaDecay: number('Optimisation', 0, 'decay of the moving average of the weights; 0 for none', { below: 1 }),
  amp: flag(
    'Optimisation',
    false,
    'mixed precision: products and what goes between them in f16, sums in float32, dynamic loss scaling; the adapter must have shader-f16 (WGSL has no bf16)',
  ),

  dropout: number('Regularisation', 0, 'of embedded tokens, MLPs and projections', { below: 1 }),
  embedDropout: ownRate('of embedded tokens'),
  mlpDropout: ownRate('of the hidden units of MLPs'),
  residualDropout: ownRate('of what the projections of attention and MLP give'),
  attentionDropout: number('Regularisation', 0, 'of attention weights', { below: 1 }),
  dropPath: number('Regularisation', 0, 'of residual branches, in the last block', { below: 1 }),
  dropPathMode: choice(
    'Regularisation',
    ['linear', 'constant'],
    'linear',
    'whether drop-path grows from 0 in the first block or is the same in all',
  ),
  labelSmoothing: number('Regularisation', 0, 'weight spread over all classes', { below: 1 }),
  patience: count(
    'Regularisation',
    0,
    'stop after so many evaluations in a row without a better validation accuracy; 0 disables early stopping',
  ),

  seed: count('Run', 42, 'of everything random'),
  logInterval: count('Run', 10, 'steps between log lines; the last step of an epoch is always logged', {
    min: 1,
  }),
  evalInterval: count('Run', 1, 'epochs between evaluations', { min: 1 }),
  checkpointInterval: count('Run', 0, 'epochs between numbered checkpoints; 0 for none'),
} as const;

export type SettingName = keyof typeof settingsTable;
type Widen<T> = T extends boolean ? boolean : T extends number ? number : T;
export type Settings = {
  -readonly [K in SettingName]: (typeof settingsTable)[K] extends { choices: readonly (infer C)[] }
    ? C
    : Widen<(typeof settingsTable)[K]['default']>;
};

export const settingNames = Object.keys(settingsTable) as SettingName[];
export const kebab = (name: string): string =>
  name.replace(/[A-Z0-9]+/g, (part) => (/[A-Z]/.test(part) ? `-${part.toLowerCase()}` : part));

const describe = (name: SettingName): Describe<Value> => settingsTable[name] as Describe<Value>;

/** Defaults, then each layer over the last: a preset, a config file, flags. Checks every value; throws ConfigError. */
export function resolveSettings(...layers: readonly Partial<Record<string, unknown>>[]): Settings {
  const result: Record<string, unknown> = {};
  for (const name of settingNames) result[name] = describe(name).default;
  for (const layer of layers)
    for (const [name, value] of Object.entries(layer)) {
      if (value === undefined) continue;
      if (!Object.hasOwn(settingsTable, name)) throw new ConfigError(`There is no setting called ${name}.`);
      result[name] = checked(name as SettingName, value);
    }
  const settings = result as Settings;
  checkTogether(settings);
  return settings;
}

function checked(name: SettingName, value: unknown): Value {
  const { default: fallback, choices, min, below, most, whole } = describe(name);
  const label = `--${kebab(name)}`;
  const shown = typeof value === 'number' ? value : JSON.stringify(value); // JSON has null for Infinity
  const fail = (expected: string): never => {
    throw new ConfigError(`${label} must be ${expected}, not ${shown}.`);
  };
  if (typeof value !== typeof fallback) return fail(`a ${typeof fallback}`);
  if (choices && !choices.includes(value as Value)) return fail(`one of ${choices.join(', ')}`);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) return fail('a finite number');
    if (whole && !Number.isInteger(value)) return fail('a whole number');
    if (min !== undefined && value < min) return fail(`at least ${min}`);
    if (most !== undefined && value > most) return fail(`at most ${most}`);
    if (below !== undefined && value >= below) return fail(`below ${below}`);
  }
  return value as Value;
}

function checkTogether(settings: Settings): void {
  const { warmupEpochs, epochs, embedDim, numHeads, seed, minLr, learningRate, schedule, layerDecay } =
    settings;
  if (numHeads > 0 && embedDim % numHeads !== 0)
    throw new ConfigError(`--embed-dim ${embedDim} must divide by --num-heads ${numHeads}.`);
  if (warmupEpochs > 0 && warmupEpochs >= epochs && settings.maxSteps === 0)
    throw new ConfigError(`--warmup-epochs ${warmupEpochs} must be fewer than --epochs ${epochs}.`);
  if (schedule === 'cosine' && minLr > learningRate)
    throw new ConfigError(`--min-lr ${minLr} must not exceed --learning-rate ${learningRate}.`);
  if (schedule === 'one-cycle' && (warmupEpochs > 0 || minLr > 0))
    throw new ConfigError(
      '--schedule one-cycle has a warm-up and a last rate of its own: it goes with --warmup-epochs 0 and --min-lr 0.',
    );
  if (layerDecay === 0 || layerDecay > 1)
    throw new ConfigError(`--layer-decay must be above 0 and at most 1, not ${layerDecay}.`);
  for (const name of ['embedDropout', 'mlpDropout', 'residualDropout'] as const)
    if (settings[name] < 0 && settings[name] !== -1)
      throw new ConfigError(
        `--${kebab(name)} must be a rate from 0, or -1 for that of --dropout, not ${settings[name]}.`,
      );
  checkAugmentation(settings);
  if (seed > 0xffffffff) throw new ConfigError(`--seed must be below 4294967296, not ${seed}.`);
}

function checkAugmentation({ augment, scaleMin, randFlavour, randMagnitude }: Settings): void {
  if (augment === 'none' && scaleMin > 0)
    throw new ConfigError(
      `--scale-min ${scaleMin} needs a crop: --augment flip-crop, auto, rand or trivial.`,
    );
  const most = randFlavour === 'timm' ? 10 : 30;
  if (augment === 'rand' && randMagnitude > most)
    throw new ConfigError(
      `--rand-magnitude must be at most ${most} with --rand-flavour ${randFlavour}, not ${randMagnitude}.`,
    );
}
