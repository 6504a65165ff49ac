/** Opens data sets by name or folder. That only checks their files: images are read when a split is first loaded. */
import { join } from 'node:path';
import { ConfigError } from '../core/errors.js';
import { CIFAR_ADDRESS, type CifarLayout, cifarLayouts } from '../io/cifar.js';
import { type FetchOptions, fetchCifar, missingFiles, readCifar } from '../io/cifar_files.js';
import { statOf } from '../io/read.js';
import type { Dataset } from './dataset.js';
import { namedDatasets, SHAPES10_COUNT, shapes10, withSplits } from './named.js';

/** The options of `openDataset`, all optional. */
export interface DatasetOptions extends FetchOptions {
  /** The folder of `cifar-10-batches-bin` and `cifar-100-binary`; `data` if absent. Downloads go there. */
  readonly dataDir?: string;
  /** True to download missing files; true if absent. */
  readonly download?: boolean;
}

/**
 * Opens the data set called `name` (cifar10, cifar100, shapes10), or the CIFAR files in the folder `name`. Throws a
 * ConfigError that names the missing files and where to put them. `load` throws a FormatError for a damaged file.
 */
export async function openDataset(name: string, options: DatasetOptions = {}): Promise<Dataset> {
  if (name === 'shapes10') return shapes10();
  const { layout, folder } =
    name === 'cifar10' || name === 'cifar100' ? await provide(cifarLayouts[name], options) : recognise(name);
  return withSplits(namedDatasets[layout.kind], (split) => readCifar(folder, layout, split));
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
