/** The choices of a run: their defaults, the values that the page offers, and the link that carries them. */
import { kebab } from '../core/setting.js';
import type { Choices } from './messages.js';

export const defaults: Choices = {
  dataset: 'shapes10',
  embedDim: 64,
  depth: 3,
  numHeads: 4,
  patchSize: 8,
  optimizer: 'muon',
  learningRate: 8e-3,
  augment: 'none',
  batchSize: 64,
  epochs: 4,
  steps: 0,
  seed: 42,
};

/** A control: its label, the values that it offers, and a word for each where the value says too little. */
export interface Control<K extends keyof Choices = keyof Choices> {
  readonly name: K;
  readonly label: string;
  readonly values: readonly Choices[K][];
  readonly words?: readonly string[];
}

const control = <K extends keyof Choices>(
  name: K,
  label: string,
  values: readonly Choices[K][],
  words?: readonly string[],
): Control => ({ name, label, values, ...(words && { words }) }) as Control;

export const controls: readonly Control[] = [
  control('patchSize', 'Patch size', [2, 4, 8, 16], ['2 pixels', '4 pixels', '8 pixels', '16 pixels']),
  control('embedDim', 'Width (embed_dim)', [32, 64, 96, 128, 192]),
  control('depth', 'Blocks (depth)', [1, 2, 3, 4, 6, 9, 12]),
  control('numHeads', 'Heads', [1, 2, 4, 8]),
  control('optimizer', 'Optimizer', ['muon', 'adamw'], ['Muon', 'AdamW']),
  control('learningRate', 'Learning rate', [5e-4, 1e-3, 2e-3, 4e-3, 8e-3]),
  control(
    'augment',
    'Augmentation',
    ['none', 'flip-crop', 'trivial'],
    ['none', 'crop and flip', 'TrivialAugment'],
  ),
  control('batchSize', 'Batch size', [32, 64, 128, 256]),
  control('epochs', 'Epochs', [1, 2, 4, 8, 16, 32, 64]),
];

const TEXTS: Partial<Record<keyof Choices, readonly string[]>> = {
  dataset: ['shapes10', 'cifar10', 'cifar100'],
  optimizer: ['muon', 'adamw'],
  augment: ['none', 'flip-crop', 'trivial'],
};

/** A link's choices, and whether it starts by itself. */
export interface Link {
  readonly choices: Choices;
  readonly auto: boolean;
  /** A sentence for each part of the link that cannot be used. */
  readonly problems: readonly string[];
}

/** Reads the query of the page's address. A part that is missing has its default; one that is wrong is named. */
export function readLink(query: string): Link {
  const given = new URLSearchParams(query);
  const problems: string[] = [];
  const entries = Object.entries(defaults).map(([name, fallback]) => {
    const text = given.get(name);
    if (text === null) return [name, fallback];
    const texts = TEXTS[name as keyof Choices];
    const value = texts ? text : Number(text);
    const fits = texts ? texts.includes(text) : isFitting(name, Number(text));
    if (!fits)
      problems.push(`The link's ${name}=${text} is none of the page's choices: ${fallback} is used.`);
    return [name, fits ? value : fallback];
  });
  const choices = Object.fromEntries(entries) as Choices;
  return { choices, auto: given.get('auto') === '1', problems: [...problems, ...misfits(choices)] };
}

function isFitting(name: string, value: number): boolean {
  if (name === 'learningRate') return value > 0 && value <= 1;
  if (!Number.isInteger(value) || value < 0) return false;
  const known = controls.find((each) => each.name === name);
  return known ? (known.values as readonly unknown[]).includes(value) : value < 2 ** 31;
}

/** Sentences about choices that do not fit together. */
export const misfits = ({ embedDim, numHeads }: Choices): string[] =>
  embedDim % numHeads === 0 ? [] : [`${numHeads} heads do not divide a width of ${embedDim}.`];

/** The query of a link to these choices; what has its default is left out. */
export function linkOf(choices: Choices): string {
  const changed = Object.entries(choices).filter(
    ([name, value]) => value !== defaults[name as keyof Choices],
  );
  return `?${new URLSearchParams(changed.map(([name, value]) => [name, String(value)]))}`;
}

/** Training images of the data sets, and so the steps of an epoch. */
const IMAGES: Record<Choices['dataset'], number> = { shapes10: 10_000, cifar10: 50_000, cifar100: 50_000 };

/** All settings of a run besides the defaults of the command line, which the page and the command share. */
export function settingsOf(choices: Choices) {
  const { steps, epochs, dataset, batchSize, ...rest } = choices;
  // A third of an epoch warms up, or a tenth of a short run.
  const length = steps > 0 ? (steps * batchSize) / IMAGES[dataset] : epochs;
  return {
    dataset,
    ...rest,
    ...{ mlpRatio: 2, pool: 'cls', attentionInit: 'mimetic', batchSize, epochs },
    ...(steps > 0 && { maxSteps: steps, scheduleSteps: steps }),
    warmupEpochs: Number(Math.min(0.3, length / 10).toPrecision(3)),
    ...{ weightDecay: 0.05, clipGrad: 1, labelSmoothing: 0.1 },
  };
}

/** The command that trains the same run in Node. */
export const commandOf = (choices: Choices): string =>
  `node dist/train.js ${Object.entries(settingsOf(choices))
    .map(([name, value]) => `--${kebab(name)} ${value}`)
    .join(' ')}`;

/** A sentence if the choices are slow on a CPU or a small GPU; null if they are not. */
export function slowness({ patchSize, embedDim, depth }: Choices, software: boolean): string | null {
  const tokens = (32 / patchSize) ** 2;
  const megaflops = (2 * tokens * depth * (8 * embedDim ** 2 + 2 * tokens * embedDim)) / 1e6;
  const most = software ? 30 : 1000;
  if (megaflops <= most) return null;
  return `About ${Math.round(megaflops)} MFLOP an image: slow ${software ? 'without a GPU' : 'on many GPUs'}. Larger patches or fewer blocks help most.`;
}
