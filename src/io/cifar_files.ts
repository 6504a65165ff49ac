/** CIFAR on the disk: finding its files, reading a split, and fetching the archive when they are missing. */
import { mkdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { largestArchive, unpackTarGz } from './archive.js';
import { diskError } from './atomic.js';
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
import { readBytes } from './read.js';

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
    const bytes = readBytes(path, records * recordBytes(layout.kind));
    parseCifar(path, bytes, layout.kind, {
      images: images.subarray(i * records * IMAGE_BYTES, (i + 1) * records * IMAGE_BYTES),
      labels: labels.subarray(i * records, (i + 1) * records),
    });
  });
  return { images, labels };
}

/** What the archive must hold: path in it -> bytes. */
function membersOf({ folder, files, records, kind }: CifarLayout): Map<string, number> {
  const splits = ['train', 'test'] as const;
  return new Map(
    splits.flatMap((split) =>
      files[split].map((file) => [`${folder}/${file}`, records[split] * recordBytes(kind)] as const),
    ),
  );
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
  const members = membersOf(layout);
  try {
    mkdirSync(dataDir, { recursive: true });
  } catch (error) {
    throw diskError('write', archive, largestArchive(members), error);
  }
  const url = new URL(layout.archive, address).href;
  await download(url, archive, layout.md5, { onProgress, limit: largestArchive(members) });
  await unpackTarGz(archive, dataDir, members);
  rmSync(archive);
}
