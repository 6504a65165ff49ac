/** The data sets by name. Opening one only checks its files. Images are read or generated when a split is first loaded. */
import { join } from 'node:path';
import { ConfigError } from '../core/errors.js';
import {
  CIFAR_ADDRESS,
  type CifarKind,
  type CifarLayout,
  cifarLayouts,
  type SplitName,
} from '../io/cifar.js';
import { type FetchOptions, fetchCifar, missingFiles, readCifar } from '../io/cifar_files.js';
import { statOf } from '../io/read.js';
import type { Dataset, DatasetDescription, Split } from './dataset.js';
import { generateShapes10, shapes10Classes } from './shapes10.js';

export interface DatasetOptions extends FetchOptions {
  /** The folder of `cifar-10-batches-bin` and `cifar-100-binary`; `data` if absent. Downloads go there. */
  readonly dataDir?: string;
  /** True to download missing files; true if absent. */
  readonly download?: boolean;
}

const GEOMETRY = { channels: 3, height: 32, width: 32 } as const;

const descriptions: Readonly<Record<CifarKind | 'shapes10', DatasetDescription>> = {
  cifar10: {
    name: 'cifar10',
    ...GEOMETRY,
    classes: 'airplane automobile bird cat deer dog frog horse ship truck'.split(' '),
    mean: [0.4914, 0.4822, 0.4465],
    std: [0.247, 0.2435, 0.2616],
  },
  cifar100: {
    name: 'cifar100',
    ...GEOMETRY,
    classes:
      `apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
      caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
      forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
      mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
      possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
      sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
      willow_tree wolf woman worm`.split(/\s+/),
    mean: [0.5071, 0.4867, 0.4408],
    std: [0.2675, 0.2565, 0.2761],
  },
  shapes10: {
    name: 'shapes10',
    ...GEOMETRY,
    classes: shapes10Classes,
    mean: [0.503, 0.5, 0.503],
    std: [0.311, 0.37, 0.29],
  },
};

/** The description of a named data set, without reading its files; null for a folder, whose files must be read first. */
export const describeDataset = (name: string): DatasetDescription | null =>
  Object.hasOwn(descriptions, name) ? descriptions[name as keyof typeof descriptions] : null;

/** The number of images in each split of shapes10. */
const SHAPES10_COUNT: Readonly<Record<SplitName, number>> = { train: 10_000, test: 2_000 };

/**
 * Opens the data set called `name` (cifar10, cifar100, shapes10), or the CIFAR files in the folder `name`. Throws a
 * ConfigError that names the missing files and where to put them. `load` throws a FormatError for a damaged file.
 */
export async function openDataset(name: string, options: DatasetOptions = {}): Promise<Dataset> {
  if (name === 'shapes10')
    return withSplits(descriptions.shapes10, (split) => generateShapes10(split, SHAPES10_COUNT[split]));
  const { layout, folder } =
    name === 'cifar10' || name === 'cifar100' ? await provide(cifarLayouts[name], options) : recognise(name);
  return withSplits(descriptions[layout.kind], (split) => readCifar(folder, layout, split));
}

function withSplits(
  description: DatasetDescription,
  read: (split: SplitName) => Omit<Split, 'count'>,
): Dataset {
  const splits = new Map<SplitName, Split>();
  return {
    ...description,
    async load(split) {
      const known = splits.get(split);
      if (known) return known;
      const { images, labels } = read(split);
      const loaded = { images, labels, count: labels.length };
      splits.set(split, loaded);
      return loaded;
    },
  };
}

interface Place {
  readonly layout: CifarLayout;
  readonly folder: string;
}

/** The folder of a named data set. Downloads missing files if the options allow it. */
async function provide(layout: CifarLayout, options: DatasetOptions): Promise<Place> {
  const { dataDir = 'data', download = true } = options;
  const folder = join(dataDir, layout.folder);
  if (statOf(folder)?.isFile())
    throw new ConfigError(
      `${folder} is a file, but the folder of ${layout.kind} must be there. Move it away.`,
    );
  const missing = missingFiles(folder, layout);
  if (missing.length > 0) {
    const advice =
      `${layout.kind} needs ${missing.join(', ')} in ${folder} (from ${CIFAR_ADDRESS}${layout.archive});` +
      ' --dataset shapes10 needs no files.';
    if (!download) throw new ConfigError(advice);
    try {
      await fetchCifar(dataDir, layout, options);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      throw new ConfigError(`${error.message.replace(/\.$/, '')}: ${advice}`);
    }
  }
  return { layout, folder };
}

/** Finds the official CIFAR files in a folder that the user names, or in their usual subfolder of it. */
function recognise(path: string): Place {
  if (!statOf(path)?.isDirectory())
    throw new ConfigError(
      `--dataset ${path} is not a folder, and not one of cifar10, cifar100 and shapes10.`,
    );
  const places = Object.values(cifarLayouts).flatMap((layout) => {
    const folder = [path, join(path, layout.folder)].find((each) => missingFiles(each, layout).length === 0);
    return folder === undefined ? [] : [{ layout, folder }];
  });
  if (places.length > 1) throw new ConfigError(ambiguity(path, places));
  if (places[0]) return places[0];
  throw new ConfigError(
    `the folder ${path} does not have all files of cifar10 or of cifar100. Other folders cannot be read.`,
  );
}

function ambiguity(path: string, places: readonly Place[]): string {
  const kinds = places.map(({ layout }) => layout.kind).join(' and ');
  const remedy = places.some(({ folder }) => folder === path)
    ? 'move the files of each into a folder of its own and name that'
    : `name one of them: ${places.map(({ folder }) => `--dataset ${folder}`).join(' or ')}`;
  return `--dataset ${path} holds both ${kinds}; ${remedy}.`;
}

/** The number of training images of a data set, without reading them. Throws a ConfigError as `openDataset`. */
export function trainingImages(name: string): number {
  if (name === 'shapes10') return SHAPES10_COUNT.train;
  const { files, records } =
    name === 'cifar10' || name === 'cifar100' ? cifarLayouts[name] : recognise(name).layout;
  return files.train.length * records.train;
}
