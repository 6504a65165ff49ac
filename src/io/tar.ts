/**
 * A streaming reader of tar archives (POSIX.1-1988 ustar and GNU's) with plain files and folders, as data sets are
 * distributed. It is strict: other entries, and headers that deviate from the format, are refused.
 */
import { FormatError } from '../core/errors.js';

const BLOCK = 512;

/** Bytes of a header's fields: [offset, length]. */
const FIELDS = {
  name: [0, 100],
  size: [124, 12],
  checksum: [148, 8],
  magic: [257, 5],
  prefix: [345, 155],
} as const;
const TYPE = 156;

/** Meaning of the type character. The first versions of tar wrote \0 for a file. */
// biome-ignore format: allowed types, other types of the format, types of extensions
const TYPES: Readonly<Record<string, string>> = {
  '\0': 'file', '0': 'file', '5': 'directory',
  '1': 'link', '2': 'symlink', '3': 'character-device', '4': 'block-device', '6': 'fifo', '7': 'contiguous-file',
  L: 'long path', K: 'long link path', x: 'pax header', g: 'global pax header', S: 'sparse file',
};

export interface TarEntry {
  readonly name: string;
  readonly type: 'file' | 'directory';
  readonly size: number;
}

/**
 * Reads the archive in `chunks` to its end. `take` is called with every entry and returns an array for its content
 * (`entry.size` bytes), or null to skip it; `done` is called once the array is filled. Throws a FormatError of `file`.
 */
export async function readTar(
  file: string,
  chunks: AsyncIterable<Uint8Array>,
  take: (entry: TarEntry) => Uint8Array | null,
  done: (entry: TarEntry, content: Uint8Array) => void,
): Promise<void> {
  const bytes = new ByteReader(file, chunks);
  const block = new Uint8Array(BLOCK);
  for (;;) {
    await bytes.fill(block, 'a header');
    if (block.every((byte) => byte === 0)) return bytes.expectZeros();
    const entry = parseHeader(file, block);
    const content = take(entry);
    if (content) await bytes.fill(content, entry.name);
    else await bytes.skip(entry.size, entry.name);
    await bytes.skip(-entry.size & (BLOCK - 1), entry.name);
    if (content) done(entry, content);
  }
}

function parseHeader(file: string, block: Uint8Array): TarEntry {
  const fail = (sentence: string): never => {
    throw new FormatError(file, sentence);
  };
  const field = (name: keyof typeof FIELDS): Uint8Array => {
    const [offset, length] = FIELDS[name];
    return block.subarray(offset, offset + length);
  };
  if (octal(field('checksum')) !== headerSum(block)) fail('the checksum of a header does not match.');
  if (text(field('magic')) !== 'ustar') fail('a header is not of the ustar format.');
  const prefix = block[FIELDS.magic[0] + 5] === 0 ? text(field('prefix')) : ''; // GNU's archives store times in this field.
  const name = (prefix ? `${prefix}/` : '') + text(field('name'));
  if (name === '') fail('an entry has no name.');
  const type = TYPES[String.fromCharCode(block[TYPE] as number)] ?? 'thing of an unknown type';
  if (type !== 'file' && type !== 'directory')
    return fail(`entry ${name} is a ${type}, and only files and folders are allowed.`);
  const size = octal(field('size'));
  if (size === null) return fail(`entry ${name} has a size that is not an octal number.`);
  // The first versions of tar marked folders by a slash at the end of the name.
  const folder = type === 'directory' || name.endsWith('/');
  if (folder && size > 0) fail(`entry ${name} is a directory of ${size} bytes, and directories have none.`);
  return { name, type: folder ? 'directory' : 'file', size };
}

/** The text up to the first zero byte. */
function text(field: Uint8Array): string {
  const end = field.indexOf(0);
  return new TextDecoder().decode(end < 0 ? field : field.subarray(0, end));
}

/** A number in octal digits, padded by spaces or zero bytes; null for anything else, such as GNU's sizes in base 256. */
function octal(field: Uint8Array): number | null {
  const digits = /^ *([0-7]+)[ \0]*$/.exec(String.fromCharCode(...field))?.[1];
  return digits ? Number.parseInt(digits, 8) : null;
}

/** The checksum of a header: the sum of its bytes, with the checksum field itself counted as spaces. */
function headerSum(block: Uint8Array): number {
  const [offset, length] = FIELDS.checksum;
  return block.reduce((sum, byte, i) => sum + (i >= offset && i < offset + length ? 0x20 : byte), 0);
}

/** Reads exact numbers of bytes from chunks of any size. */
class ByteReader {
  private readonly iterator: AsyncIterator<Uint8Array>;
  private chunk: Uint8Array = new Uint8Array(0);

  constructor(
    private readonly file: string,
    chunks: AsyncIterable<Uint8Array>,
  ) {
    this.iterator = chunks[Symbol.asyncIterator]();
  }

  async fill(target: Uint8Array, what: string): Promise<void> {
    for (let at = 0; at < target.length; ) {
      const piece = await this.next(target.length - at, what);
      target.set(piece, at);
      at += piece.length;
    }
  }

  async skip(count: number, what: string): Promise<void> {
    for (let left = count; left > 0; ) left -= (await this.next(left, what)).length;
  }

  /** An archive ends with at least two empty blocks, and nothing follows them. */
  async expectZeros(): Promise<void> {
    await this.skip(BLOCK, 'the end');
    for (let rest = await this.peek(); rest; rest = await this.peek()) {
      if (rest.some((byte) => byte !== 0))
        throw new FormatError(this.file, 'bytes follow the end of the archive.');
      this.chunk = rest.subarray(rest.length);
    }
  }

  private async next(most: number, what: string): Promise<Uint8Array> {
    const chunk = await this.peek();
    if (!chunk) throw new FormatError(this.file, `the archive ends within ${what}.`);
    this.chunk = chunk.subarray(most);
    return chunk.subarray(0, most);
  }

  private async peek(): Promise<Uint8Array | null> {
    while (this.chunk.length === 0) {
      const { value, done } = await this.iterator.next();
      if (done) return null;
      this.chunk = value;
    }
    return this.chunk;
  }
}
