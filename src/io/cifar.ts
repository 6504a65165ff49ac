/**
 * The official CIFAR binary files (https://www.cs.toronto.edu/~kriz/cifar.html): records of the label bytes, then 3,072
 * bytes of image as three planes (red, green, blue) of 32 rows of 32 pixels. CIFAR-10 has one label byte, CIFAR-100 two:
 * the coarse class (of 20) and the fine one (of 100). We use the fine one.
 */
import { FormatError } from '../core/errors.js';

export type CifarKind = 'cifar10' | 'cifar100';
/** The splits of a data set. */
export type SplitName = 'train' | 'test';

/** A data set as it is distributed: an archive that unpacks to a folder of record files. */
export interface CifarLayout {
  readonly kind: CifarKind;
  /** File name under `CIFAR_ADDRESS`, and its MD5. */
  readonly archive: string;
  readonly md5: string;
  readonly folder: string;
  /** File names in training order, and the number of records in each file. */
  readonly files: Readonly<Record<SplitName, readonly string[]>>;
  readonly records: Readonly<Record<SplitName, number>>;
}

export const CIFAR_ADDRESS = 'https://www.cs.toronto.edu/~kriz/';

export const IMAGE_BYTES = 3 * 32 * 32;

/** Number of classes per label byte, in the order of the bytes in a record. */
const LABELS: Record<CifarKind, readonly number[]> = { cifar10: [10], cifar100: [20, 100] };

/** Bytes of one record: 3,073 for CIFAR-10, 3,074 for CIFAR-100. */
export const recordBytes = (kind: CifarKind): number => LABELS[kind].length + IMAGE_BYTES;

export const cifarLayouts: Readonly<Record<CifarKind, CifarLayout>> = {
  cifar10: {
    kind: 'cifar10',
    archive: 'cifar-10-binary.tar.gz',
    md5: 'c32a1d4ab5d03f1284b67883e8d87530',
    folder: 'cifar-10-batches-bin',
    files: { train: [1, 2, 3, 4, 5].map((i) => `data_batch_${i}.bin`), test: ['test_batch.bin'] },
    records: { train: 10_000, test: 10_000 },
  },
  cifar100: {
    kind: 'cifar100',
    archive: 'cifar-100-binary.tar.gz',
    md5: '03b5dce01913d631647c71ecec9e9cb8',
    folder: 'cifar-100-binary',
    files: { train: ['train.bin'], test: ['test.bin'] },
    records: { train: 50_000, test: 10_000 },
  },
};

/** `images` is n * 3,072 bytes, CHW as stored; `labels` is n bytes. */
export interface CifarRecords {
  readonly images: Uint8Array;
  readonly labels: Uint8Array;
}

const emptyRecords = (count: number): CifarRecords => ({
  images: new Uint8Array(count * IMAGE_BYTES),
  labels: new Uint8Array(count),
});

/**
 * All records of one file, written to `into` if it is given; it must have room for exactly as many. A FormatError names the
 * file, and the record if a label is out of range.
 */
export function parseCifar(
  file: string,
  bytes: Uint8Array,
  kind: CifarKind,
  into?: CifarRecords,
): CifarRecords {
  const size = recordBytes(kind);
  if (bytes.length === 0) throw new FormatError(file, 'the file is empty.');
  if (bytes.length % size !== 0)
    throw new FormatError(
      file,
      `${bytes.length} bytes are not a whole number of ${kind} records of ${size} bytes.`,
    );
  const count = bytes.length / size;
  const classes = LABELS[kind];
  const { images, labels } = into ?? emptyRecords(count);
  if (labels.length !== count)
    throw new FormatError(file, `the file holds ${count} records, not ${labels.length}.`);
  for (let record = 0; record < count; record++) {
    const at = record * size;
    classes.forEach((limit, i) => {
      const label = bytes[at + i] as number;
      if (label >= limit)
        throw new FormatError(file, `record ${record} has label ${label}, not one of 0 to ${limit - 1}.`);
      labels[record] = label;
    });
    images.set(bytes.subarray(at + classes.length, at + size), record * IMAGE_BYTES);
  }
  return { images, labels };
}
