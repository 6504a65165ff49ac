/**
 * Every setting of a training run: the flags of the command line, the fields of a config file and the config.json of a
 * run are all made from these rows and from the model's own. Names are camelCase here, kebab-case as flags.
 */
import { ConfigError } from '../core/errors.js';
import {
  choice,
  count,
  flag,
  groups,
  kebab,
  number,
  type Row,
  type Rows,
  type SettingsOf,
  settle,
  text,
} from '../core/setting.js';
import { modelNamed } from '../models/registry.js';
import { type VitSettings, vitSettings } from '../models/vit_settings.js';

export { kebab };

const runRows = {
  model: text('Model', 'vit', 'the model: vit'),

  dataset: text('Data', 'cifar10', 'cifar10, cifar100, shapes10, or a folder with their files'),
  dataDir: text('Data', '', 'folder of the data sets; PATCHLIGHT_DATA or data/ when empty'),
  normalize: choice(
    'Data',
    ['cifar', 'half'],
    'cifar',
    "normalisation: the data set's own mean and standard deviation, or 0.5 and 0.5",
  ),
  augment: choice(
    'Data',
    ['none', 'flip-crop', 'auto', 'rand', 'trivial'],
    'flip-crop',
    'augmentation of training images: crop and flip, then AutoAugment (CIFAR-10), RandAugment or TrivialAugmentWide',
  ),
  flip: choice(
    'Data',
    ['random', 'alternating'],
    'random',
    'flips: random in every epoch, or random in the first one and then the opposite of the epoch before',
  ),
  paddingMode: choice(
    'Data',
    ['zero', 'reflect'],
    'zero',
    'pixels of a crop beyond the image: black, or reflected',
  ),
  scaleMin: number(
    'Data',
    0,
    'smallest share of the area that a random resized crop takes; 0 for crops shifted by up to 4 pixels',
    { most: 1 },
  ),
  ratioMax: number('Data', 1.3333, 'widest aspect ratio of a random resized crop', { min: 1 }),
  randFlavour: choice(
    'Data',
    ['torchvision', 'timm'],
    'torchvision',
    'implementation that --augment rand follows',
  ),
  randMagnitude: number('Data', 9, 'magnitude of RandAugment: of 30 (torchvision), of 10 (timm)'),
  randNumOps: count('Data', 2, 'operations that RandAugment applies to an image', { min: 1, most: 100 }),
  randMstd: number('Data', 0.5, "standard deviation of timm's magnitude; above 100 the magnitude is uniform"),
  randInc: flag('Data', true, "timm's increasing ranges (inc1)"),
  interpolation: choice('Data', ['nearest', 'bilinear'], 'nearest', 'interpolation of geometric operations'),
  fill: choice(
    'Data',
    ['zero', 'grey', 'mean'],
    'zero',
    "colour that geometric operations fill in: black (torchvision), 128, or the data set's mean (timm)",
  ),
  colorJitter: number('Data', 0, 'largest random change of brightness, contrast and saturation'),
  hueJitter: number('Data', 0, 'largest random change of hue, in turns of the colour circle', { most: 0.5 }),
  valSplit: count('Data', 0, 'training images held out for validation; 0 validates on the test images'),
  limitTrain: count('Data', 0, 'use only the first N training images; 0 for all'),
  shuffle: flag('Data', true, 'draw images in a new order each epoch; --no-shuffle keeps file order'),
  mixup: number('Data', 0, 'mixup alpha; 0 disables mixup'),
  cutmix: number('Data', 0, 'CutMix alpha; 0 disables CutMix'),
  mixupProb: number('Data', 1, 'probability that a batch is mixed', { most: 1 }),
  mixupSwitchProb: number('Data', 0.5, 'probability of CutMix where mixup is on too', { most: 1 }),
  mixupOffEpoch: count('Data', 0, 'epoch after which batches are no longer mixed; 0 for never'),
  randomErasing: number('Data', 0, 'probability of random erasing', { most: 1 }),
  erasingMode: choice('Data', ['const', 'pixel'], 'const', 'erased boxes hold zeros, or normal noise'),

  epochs: count('Optimisation', 100, 'passes over the training images', { min: 1 }),
  maxSteps: count('Optimisation', 0, 'stop after N steps; 0 for no limit'),
  maxFlops: number(
    'Optimisation',
    0,
    'floating-point operations to spend, such as 1e13: the run and its schedules end with them; 0 for no limit',
  ),
  phases: text(
    'Optimisation',
    '',
    'settings until a share of the run, such as "0.3: patch_size=8; 0.9: ; 1: augment=none"',
  ),
  batchSize: count('Optimisation', 64, 'images that go through the model at a time', { min: 1 }),
  gradAccumSteps: count(
    'Optimisation',
    1,
    'batches whose gradients are accumulated before a step, which then takes that many times batch-size images',
    { min: 1 },
  ),
  learningRate: number('Optimisation', 1e-3, 'peak learning rate', { alias: ['lr'] }),
  schedule: choice(
    'Optimisation',
    ['cosine', 'linear', 'constant', 'one-cycle'],
    'cosine',
    'learning rate schedule: after warm-up a cosine, a line or a constant; or OneCycleLR with its own warm-up',
  ),
  scheduleSteps: count(
    'Optimisation',
    0,
    'length of the schedule in steps, warm-up included; 0 for all epochs',
  ),
  warmupEpochs: number('Optimisation', 0, 'epochs of linear warm-up'),
  warmupLr: number('Optimisation', 1e-6, 'learning rate at the start of warm-up'),
  minLr: number('Optimisation', 0, 'learning rate at the end of the cosine or the line'),
  optimizer: choice(
    'Optimisation',
    ['adamw', 'muon'],
    'adamw',
    'AdamW, or Muon for the matrices of hidden layers and AdamW for the rest',
  ),
  muonNorm: choice(
    'Optimisation',
    ['rms', 'unit'],
    'rms',
    "scale of Muon's updates: the RMS of AdamW's, or that of matrices which are rescaled to one norm before each update and do not decay",
  ),
  muonMomentum: number('Optimisation', 0.95, "decay of Muon's Nesterov momentum", { below: 1 }),
  muonSteps: count('Optimisation', 5, "Newton-Schulz steps that orthogonalise Muon's momentum", {
    min: 1,
    most: 100,
  }),
  muonLearningRate: number(
    'Optimisation',
    0,
    "peak learning rate of Muon's matrices, on the schedule of the others; 0 for --learning-rate",
  ),
  weightDecay: number('Optimisation', 0.05, 'decoupled weight decay'),
  decay: choice(
    'Optimisation',
    ['matrices', 'all'],
    'matrices',
    'parameters that decay: weights of two and more axes, or all',
  ),
  layerDecay: number(
    'Optimisation',
    1,
    'layer-wise learning rate decay: factor from each layer to the one below it; 1 disables it',
  ),
  beta1: number('Optimisation', 0.9, "AdamW's beta1, of the first moment", { below: 1 }),
  beta2: number('Optimisation', 0.999, "AdamW's beta2, of the second moment", { below: 1 }),
  adamEps: number('Optimisation', 1e-8, "AdamW's epsilon"),
  clipGrad: number('Optimisation', 0, 'clip gradients to this global L2 norm; 0 disables clipping'),
  emaDecay: number(
    'Optimisation',
    0,
    'decay of the exponential moving average (EMA) of the weights; 0 disables it',
    { below: 1 },
  ),
  amp: flag(
    'Optimisation',
    false,
    'mixed precision: activations and matrix products in f16, sums in float32, dynamic loss scaling; the adapter must have shader-f16 (WGSL has no bf16)',
  ),

  labelSmoothing: number('Regularisation', 0, 'label smoothing: weight spread evenly over all classes', {
    below: 1,
  }),
  patience: count(
    'Regularisation',
    0,
    'stop after this many evaluations in a row without a better validation accuracy; 0 disables early stopping',
  ),

  seed: count('Run', 42, 'seed of initial weights, data order, augmentation and dropout'),
  logInterval: count('Run', 10, 'steps between log lines; the last step of an epoch is always logged', {
    min: 1,
  }),
  evalInterval: count('Run', 1, 'epochs between evaluations', { min: 1 }),
  checkpointInterval: count('Run', 0, 'epochs between numbered checkpoints; 0 for none'),
} as const;

const builtIn = { ...runRows, ...vitSettings };

/** The rows of all built-in models together, in the order of `--help`. */
export const settingsTable: typeof builtIn = inOrder(builtIn);

export type SettingName = keyof typeof settingsTable;
/** A run's own settings, and those of its model; the settings of other models are not there. */
export type Settings = SettingsOf<typeof runRows> & VitSettings;

export const settingNames = Object.keys(settingsTable) as SettingName[];

/** The rows of a run of the model called `model`. */
export const rowsOf = (model: string): Rows => inOrder({ ...runRows, ...modelNamed(model).settings });

function inOrder<R extends Rows>(rows: R): R {
  const place = ([, { group }]: [string, Row]) => groups.indexOf(group);
  return Object.fromEntries(Object.entries<Row>(rows).sort((a, b) => place(a) - place(b))) as R;
}

type Layer = Readonly<Partial<Record<string, unknown>>>;

/** Defaults, then each layer over the last: a preset, a config file, flags. Checks every value; throws ConfigError. */
export function resolveSettings(...layers: readonly Layer[]): Settings {
  const model = layers.findLast((layer) => layer.model !== undefined)?.model ?? runRows.model.default;
  const rows = rowsOf(String(model));
  for (const layer of layers)
    for (const name of Object.keys(layer))
      if (layer[name] !== undefined) demandRow(rows, name, String(model));
  const settings = settle(rows, layers, (name) => `--${kebab(name)}`) as Settings;
  checkTogether(settings);
  return settings;
}

function demandRow(rows: Rows, name: string, model: string): void {
  if (Object.hasOwn(rows, name)) return;
  if (Object.hasOwn(settingsTable, name))
    throw new ConfigError(`--${kebab(name)} is not a setting of --model ${model}.`);
  throw new ConfigError(`There is no setting called ${name}.`);
}

function checkTogether(settings: Settings): void {
  const { warmupEpochs, epochs, seed, minLr, learningRate, schedule, layerDecay } = settings;
  if (warmupEpochs > 0 && warmupEpochs >= epochs && settings.maxSteps === 0 && settings.maxFlops === 0)
    throw new ConfigError(`--warmup-epochs ${warmupEpochs} must be fewer than --epochs ${epochs}.`);
  if (settings.maxFlops > 0 && settings.scheduleSteps > 0)
    throw new ConfigError(
      `--schedule-steps ${settings.scheduleSteps} does not go with --max-flops, whose schedule runs over FLOPs. Leave one out.`,
    );
  if ((schedule === 'cosine' || schedule === 'linear') && minLr > learningRate)
    throw new ConfigError(`--min-lr ${minLr} must not exceed --learning-rate ${learningRate}.`);
  if (schedule === 'one-cycle' && (warmupEpochs > 0 || minLr > 0))
    throw new ConfigError(
      '--schedule one-cycle has a warm-up and a last rate of its own: it goes with --warmup-epochs 0 and --min-lr 0.',
    );
  if (settings.optimizer === 'muon' && settings.muonLearningRate > 0 && learningRate === 0)
    throw new ConfigError(
      `--muon-learning-rate ${settings.muonLearningRate} follows the schedule of --learning-rate, which must be above 0.`,
    );
  if (layerDecay === 0 || layerDecay > 1)
    throw new ConfigError(`--layer-decay must be above 0 and at most 1, not ${layerDecay}.`);
  checkAugmentation(settings);
  if (seed > 0xffffffff) throw new ConfigError(`--seed must be below 4294967296, not ${seed}.`);
}

function checkAugmentation({ augment, flip, scaleMin, randFlavour, randMagnitude }: Settings): void {
  if (augment === 'none' && flip === 'alternating')
    throw new ConfigError(
      '--flip alternating needs flips: use --flip random, or --augment flip-crop, auto, rand or trivial.',
    );
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
