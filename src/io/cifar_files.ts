/** CIFAR on the disk: finding its files, reading a split, and fetching the archive when they are missing. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from '../core/errors.js';
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
import { isHere, isLock, type Lock, tryLock } from './lock.js';
import { readBytes, statOf } from './read.js';

const fileNames = ({ files }: CifarLayout): readonly string[] => [...files.train, ...files.test];

/** The files that `folder` lacks: none of them if the data set is there, all of them if the folder is not. */
export const missingFiles = (folder: string, layout: CifarLayout): string[] =>
  fileNames(layout).filter((file) => !statOf(join(folder, file))?.isFile());

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

export interface FetchOptions {
  readonly onProgress?: Progress | undefined;
  /** Called once with a sentence where another process is downloading the same data set, which is then waited for. */
  readonly onWait?: ((sentence: string) => void) | undefined;
  /** Where the archive is, if not at its author's; ends with a slash. */
  readonly address?: string | undefined;
  /** Milliseconds that another process may bring nothing until it is no longer waited for. */
  readonly patience?: number | undefined;
}

/**
 * Downloads the archive into `dataDir`, unpacks it to `<dataDir>/<layout.folder>`, and removes it. One process at a time does:
 * another waits, and takes up what one that ended has left. Throws a ConfigError where the network does not deliver, or where
 * the process that is waited for brings nothing any longer.
 */
export async function fetchCifar(
  dataDir: string,
  layout: CifarLayout,
  options: FetchOptions = {},
): Promise<void> {
  const { onProgress, address = CIFAR_ADDRESS } = options;
  const archive = join(dataDir, layout.archive);
  const members = membersOf(layout);
  try {
    mkdirSync(dataDir, { recursive: true });
  } catch (error) {
    throw diskError('write', archive, largestArchive(members), error);
  }
  const lock = await takeTurn(dataDir, layout, options);
  try {
    if (missingFiles(join(dataDir, layout.folder), layout).length === 0) return; // Brought by the one before.
    const url = new URL(layout.archive, address).href;
    await download(url, archive, layout.md5, { onProgress, limit: largestArchive(members) });
    await unpackTarGz(archive, dataDir, members);
    rmSync(archive);
  } finally {
    lock.release();
  }
}

/** Between two looks at what another process does, in milliseconds. */
const LOOK = 100;
const PATIENCE = 300_000;

/** The lock of the archive, once no other process downloads it. */
async function takeTurn(
  dataDir: string,
  layout: CifarLayout,
  { onWait, patience = PATIENCE }: FetchOptions,
): Promise<Lock> {
  const path = join(dataDir, `${layout.archive}.lock`);
  const brought = () =>
    `${statOf(join(dataDir, `${layout.archive}.part`))?.size} ${missingFiles(join(dataDir, layout.folder), layout)}`;
  let last = { holder: 0, brought: '', at: 0 };
  for (;;) {
    const lock = tryLock(path, `If no process is downloading ${layout.kind}, remove it.`);
    if (isLock(lock)) return lock;
    const where = isHere(lock) ? '' : ` on another machine, ${lock.host}`;
    const sentence = `${layout.kind} is being downloaded by process ${lock.pid}${where}`;
    if (last.holder === 0) onWait?.(`${sentence}; waiting for it.`);
    const now = { holder: lock.pid, brought: brought(), at: performance.now() };
    if (now.holder !== last.holder || now.brought !== last.brought) last = now;
    else if (now.at - last.at > patience)
      throw new ConfigError(
        `${sentence}, which has brought nothing for ${patience / 1000} s; ` +
          `${isHere(lock) ? 'end it, or' : 'if it is no more,'} remove ${path}.`,
      );
    await new Promise((resolve) => setTimeout(resolve, Math.min(LOOK, patience)));
  }
}
