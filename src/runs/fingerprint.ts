/** A fingerprint of the training images, by which a resumed run checks that they have not changed. */
import { crc32c } from '../core/crc32c.js';
import type { Dataset, Split } from '../data/dataset.js';

export interface Fingerprint {
  readonly dataset: string;
  readonly images: number;
  /** CRC32C of all labels and of every 1000th image, in hexadecimal. */
  readonly crc32c: string;
}

const EVERY = 1000;

/** Computes the fingerprint: a millisecond for CIFAR-10, where a checksum of all images would take half a second. */
export function fingerprint({ name }: Pick<Dataset, 'name'>, { images, labels, count }: Split): Fingerprint {
  const bytes = images.length / count;
  let crc = crc32c(new Uint8Array(labels.buffer, labels.byteOffset, labels.byteLength));
  for (let i = 0; i < count; i += EVERY) crc = crc32c(images.subarray(i * bytes, (i + 1) * bytes), crc);
  return { dataset: name, images: count, crc32c: crc.toString(16).padStart(8, '0') };
}
