/** The data sets that have names: what is known of them without their files, and the one that needs none. */
import type { CifarKind, SplitName } from '../io/cifar.js';
import type { Dataset, DatasetDescription, Split } from './dataset.js';
import { generateShapes10, shapes10Classes } from './shapes10.js';

const GEOMETRY = { channels: 3, height: 32, width: 32 } as const;

export const namedDatasets: Readonly<Record<CifarKind | 'shapes10', DatasetDescription>> = {
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
  Object.hasOwn(namedDatasets, name) ? namedDatasets[name as keyof typeof namedDatasets] : null;

/** The number of images in each split of shapes10. */
export const SHAPES10_COUNT: Readonly<Record<SplitName, number>> = { train: 10_000, test: 2_000 };

/** A data set whose splits `read` reads or generates when they are first loaded. */
export function withSplits(
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

/** shapes10: ten classes of shapes in the size of CIFAR, 10,000 to train on and 2,000 to test with, generated on demand. */
export const shapes10 = (): Dataset =>
  withSplits(namedDatasets.shapes10, (split) => generateShapes10(split, SHAPES10_COUNT[split]));
