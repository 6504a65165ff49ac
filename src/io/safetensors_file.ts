/**
 * Safetensors files that may be larger than memory: the state of a ViT-L is over 4 GiB, the limit of Node's arrays. Tensors
 * are written and read in pieces. The format itself is in safetensors.ts.
 */
import { crc32c } from '../core/crc32c.js';
import { FormatError } from '../core/errors.js';
import { type FileContent, PIECE, type Put } from './atomic.js';
import type { Fail } from './json.js';
import { type OpenFile, withFile } from './read.js';
import {
  checksumsIn,
  checkTensor,
  type Header,
  type PlacedTensor,
  planHeader,
  readHeader,
  type TensorInfo,
  verifyChecksums,
} from './safetensors_header.js';

/** The contents of a file's header. */
export interface TensorList {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: Record<string, string>;
}

/** An open file. An invalid file is a FormatError that names the file and the field or tensor. */
export class SafetensorsFile implements TensorList {
  readonly metadata: Record<string, string>;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  private readonly header: Header;
  private readonly places: ReadonlyMap<string, PlacedTensor>;
  private readonly fail: Fail;
  /** Allocated once, because the garbage collector frees buffers of this size late. */
  private readonly buffer: Uint8Array<ArrayBuffer>;

  /** Reads the header and checks everything that can be checked without the data. */
  constructor(
    path: string,
    private readonly file: OpenFile,
  ) {
    this.fail = (sentence) => {
      throw new FormatError(path, sentence);
    };
    const read = (at: number, length: number): Uint8Array => {
      const bytes = new Uint8Array(length);
      file.read(bytes, at);
      return bytes;
    };
    this.header = readHeader(file.bytes, read, this.fail);
    this.metadata = this.header.metadata;
    this.places = new Map(this.header.placed.map((tensor) => [tensor.name, tensor]));
    this.tensors = this.places;
    this.buffer = new Uint8Array(Math.min(PIECE, file.bytes));
  }

  /** Reads the whole file and verifies every checksum. */
  verify(): void {
    const checksumOf = (tensor: PlacedTensor): number => {
      let crc = 0;
      for (const piece of this.read(tensor)) crc = crc32c(piece, crc);
      return crc;
    };
    verifyChecksums(this.header, checksumOf, this.fail);
  }

  /** A tensor's bytes in pieces; the checksum is verified at the end. The next piece overwrites the one before. */
  *pieces(name: string): Generator<Uint8Array<ArrayBuffer>> {
    let crc = 0;
    for (const piece of this.read(this.places.get(name) as PlacedTensor)) {
      crc = crc32c(piece, crc);
      yield piece;
    }
    const checksums = checksumsIn(this.metadata, this.fail);
    if (checksums) checkTensor(name, crc, checksums, this.fail);
  }

  private *read({ begin, end }: PlacedTensor): Generator<Uint8Array<ArrayBuffer>> {
    for (let at = begin; at < end; at += PIECE) {
      const piece = this.buffer.subarray(0, end - at);
      this.file.read(piece, this.header.start + at);
      yield piece;
    }
  }
}

/** Opens the file at `path` for `use`. Throws a ConfigError if it cannot be read. */
export const withSafetensors = <T>(path: string, use: (file: SafetensorsFile) => T): T =>
  withFile(path, (file) => use(new SafetensorsFile(path, file)));

/** Consecutive bytes of a tensor. The pieces of a tensor come in order. */
export interface TensorPiece {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/**
 * A new file, with the same bytes as encodeSafetensors. `pieces` yields each tensor's bytes from first to last, tensors in
 * any order. The header is written last, because it contains the checksums.
 */
export function safetensorsContent(
  tensors: ReadonlyMap<string, TensorInfo>,
  metadata: Record<string, string>,
  pieces: () => AsyncIterable<TensorPiece> | Iterable<TensorPiece>,
): FileContent {
  const plan = planHeader(tensors, metadata);
  const write = async (put: Put): Promise<void> => {
    const written = new Map(plan.placed.map(({ name, begin, end }) => [name, { at: begin, end, crc: 0 }]));
    const progressOf = (name: string) => {
      const progress = written.get(name);
      if (!progress) throw new Error(`${name} is not in the header.`);
      return progress;
    };
    for await (const { name, bytes } of pieces()) {
      const progress = progressOf(name);
      if (progress.at + bytes.length > progress.end)
        throw new Error(`${name} has more bytes than its shape.`);
      put(bytes, plan.start + progress.at);
      progress.at += bytes.length;
      progress.crc = crc32c(bytes, progress.crc);
    }
    for (const [name, { at, end }] of written)
      if (at < end) throw new Error(`${name} lacks ${end - at} bytes.`);
    put(
      plan.encode((name) => progressOf(name).crc),
      0,
    );
  };
  return { bytes: plan.bytes, write };
}
