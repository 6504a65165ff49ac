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

/** The names of the files that are missing in `folder`; all of them if the folder does not exist. */
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

/** The files that the archive must contain: path in the archive -> size in bytes. */
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
  /** Called once with a sentence if another process is downloading the same data set; we then wait for it. */
  readonly onWait?: ((sentence: string) => void) | undefined;
  /** Address of the archive's folder, ending with a slash; the author's site by default. */
  readonly address?: string | undefined;
  /** Milliseconds without progress after which another process is no longer waited for. */
  readonly patience?: number | undefined;
}

/**
 * Downloads the archive into `dataDir`, unpacks it to `<dataDir>/<layout.folder>` and removes it. One process at a time does
 * so; others wait, and continue a download whose process has ended. Throws a ConfigError if the network fails, or if the
 * process that we wait for makes no progress.
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
    if (missingFiles(join(dataDir, layout.folder), layout).length === 0) return; // Another process has brought them meanwhile.
    const url = new URL(layout.archive, address).href;
    await download(url, archive, layout.md5, { onProgress, limit: largestArchive(members) });
    await unpackTarGz(archive, dataDir, members);
    rmSync(archive);
  } finally {
    lock.release();
  }
}

/** Milliseconds between two looks at the other process's progress. */
const LOOK = 100;
const PATIENCE = 300_000;

/** Waits until no other process downloads the archive, then takes its lock. */
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
        `${sentence}, which has made no progress for ${patience / 1000} s; ` +
          `${isHere(lock) ? 'end it, or' : 'if it has ended,'} remove ${path}.`,
      );
    await new Promise((resolve) => setTimeout(resolve, Math.min(LOOK, patience)));
  }
}
