/** CIFAR on the disk: finding its files, reading a split, and fetching the archive when they are missing. */
import { mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { FormatError, PatchlightError } from '../core/errors.js';
import { unpackTarGz } from './archive.js';
import { reason } from './atomic.js';
import {
  CIFAR_ADDRESS,
  type CifarLayout,
  type CifarRecords,
  IMAGE_BYTES,
  parseCifar,
  recordBytes,
  type SplitName,
} from './cifar.js';
import { download, type Progress } from './download.js';

const fileNames = ({ files }: CifarLayout): readonly string[] => [...files.train, ...files.test];

export const isFolder = (path: string): boolean =>
  statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;

/** The files that `folder` lacks: none of them if the data set is there, all of them if the folder is not. */
export const missingFiles = (folder: string, layout: CifarLayout): string[] =>
  fileNames(layout).filter((file) => !statSync(join(folder, file), { throwIfNoEntry: false })?.isFile());

/** All records of one split, in file order. A FormatError names the file that is damaged or has another length. */
export function readCifar(folder: string, layout: CifarLayout, split: SplitName): CifarRecords {
  const files = layout.files[split];
  const records = layout.records[split];
  const images = new Uint8Array(files.length * records * IMAGE_BYTES);
  const labels = new Uint8Array(files.length * records);
  files.forEach((name, i) => {
    const path = join(folder, name);
    const part = parseCifar(path, readBytes(path), layout.kind);
    if (part.labels.length !== records)
      throw new FormatError(path, `the file holds ${part.labels.length} records, not ${records}.`);
    images.set(part.images, i * records * IMAGE_BYTES);
    labels.set(part.labels, i * records);
  });
  return { images, labels };
}

function readBytes(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new PatchlightError(`could not read ${path}: ${reason(error)}.`);
  }
}

/** Downloads the archive into `dataDir`, unpacks it to `<dataDir>/<layout.folder>`, and removes it. */
export async function fetchCifar(
  dataDir: string,
  layout: CifarLayout,
  {
    onProgress,
    address = CIFAR_ADDRESS,
  }: { onProgress?: Progress | undefined; address?: string | undefined } = {},
): Promise<void> {
  const archive = join(dataDir, layout.archive);
  try {
    mkdirSync(dataDir, { recursive: true });
  } catch (error) {
    throw new PatchlightError(`could not make the folder ${dataDir}: ${reason(error)}.`);
  }
  await download(new URL(layout.archive, address).href, archive, layout.md5, onProgress);
  const members = new Map<string, number>();
  for (const split of ['train', 'test'] as const)
    for (const file of layout.files[split])
      members.set(`${layout.folder}/${file}`, layout.records[split] * recordBytes(layout.kind));
  await unpackTarGz(archive, dataDir, members);
  rmSync(archive);
}
