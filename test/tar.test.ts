import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DiskError, FormatError } from '../src/core/errors.js';
import { unpackTarGz } from '../src/io/archive.js';
import { patched, tarOf } from './faults/archives.js';
import { record } from './faults/common.js';

const folder = mkdtempSync(join(tmpdir(), 'patchlight-tar-'));
const archive = join(folder, 'x.tar.gz');
const out = join(folder, 'out');
afterAll(() => rmSync(folder, { recursive: true }));

const members = new Map([['c/a.bin', 600]]);
const entries = [
  { name: 'c/', type: 'directory' as const },
  { name: 'c/a.bin', text: 'a'.repeat(600) },
];
/** Offsets of the entries' headers. */
const [FOLDER, FILE] = [0, 512];
const END = 512 + 512 + 1024;

let tar: Buffer;
beforeAll(async () => {
  tar = await tarOf(entries);
});

const unpack = (bytes: Uint8Array, into = out): Promise<void> => {
  writeFileSync(archive, bytes);
  return unpackTarGz(archive, into, members);
};
const contents = (): string => readFileSync(join(out, 'c', 'a.bin'), 'latin1');

const VALID: [name: string, make: () => Uint8Array][] = [
  ['as it is written', () => tar],
  ["of GNU's format", () => patched(patched(tar, FOLDER, 257, 'ustar  \0'), FILE, 257, 'ustar  \0')],
  ['with a path in two fields', () => patched(patched(tar, FILE, 0, 'a.bin\0\0'), FILE, 345, 'c')],
  ['with a file of type \\0', () => patched(tar, FILE, 156, '\0')],
  ['with sizes between spaces', () => patched(tar, FILE, 124, '       1130 ')],
  ['padded with zeros', () => Buffer.concat([tar, new Uint8Array(8000)])],
];

it.each(VALID)('reads an archive %s', async (_, make) => {
  await unpack(gzipSync(make()));
  expect(contents()).toBe('a'.repeat(600));
  rmSync(out, { recursive: true });
});

/** gzip's checksum starts at the eighth byte from the end, its length at the fourth. */
function withEnd(packed: Buffer, place: number): Buffer {
  packed.set([0x55, 0x55, 0x55, 0x55], packed.length - place);
  return packed;
}

const size = (text: string | Uint8Array) => () => gzipSync(patched(tar, FILE, 124, text));
const MALFORMED: [name: string, make: () => Uint8Array, sentence: string | RegExp][] = [
  [
    'a wrong checksum',
    () => gzipSync(Buffer.from(tar).fill('x', FILE, FILE + 1)),
    'the checksum of a header does not match',
  ],
  [
    'a checksum that is no number',
    () => gzipSync(Buffer.from(tar).fill('x', 148, 156)),
    'the checksum of a header does not match',
  ],
  ['another format', () => gzipSync(patched(tar, FILE, 257, '7zip.')), 'is not of the ustar format'],
  [
    'an entry without a name',
    () => gzipSync(patched(tar, FILE, 0, new Uint8Array(100))),
    'an entry has no name',
  ],
  [
    'a size in base 256',
    size(Uint8Array.of(0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 88)),
    'c/a.bin has a size that is not an octal number',
  ],
  ['a negative size', size(new Uint8Array(12).fill(255)), 'a size that is not an octal number'],
  ['a size with a sign', size('-0000001130 '), 'a size that is not an octal number'],
  ['a size of decimal digits', size('00000000889 '), 'a size that is not an octal number'],
  ['no size', size(new Uint8Array(12)), 'a size that is not an octal number'],
  [
    'another file that is longer than the archive',
    () => gzipSync(patched(patched(tar, FILE, 0, 'c/b.bin\0'), FILE, 124, '77777777777 ')),
    'the archive ends within c/b.bin',
  ],
  ['a member longer than it is', size('77777777777 '), 'c/a.bin has 8589934591 bytes, not 600'],
  [
    'a folder with contents',
    () => gzipSync(patched(tar, FOLDER, 124, '00000001000 ')),
    'entry c/ is a directory of 512 bytes',
  ],
  ['a sparse file', () => gzipSync(patched(tar, FILE, 156, 'S')), 'entry c/a.bin is a sparse file'],
  ['a header of pax', () => gzipSync(patched(tar, FILE, 156, 'x')), 'entry c/a.bin is a pax header'],
  ['a type that nobody knows', () => gzipSync(patched(tar, FILE, 156, '~')), 'is a thing of an unknown type'],
  ['a member twice', () => gzipSync(Buffer.concat([tar.subarray(0, END), tar])), 'c/a.bin appears twice'],
  ['no end', () => gzipSync(tar.subarray(0, END)), 'the archive ends within a header'],
  ['half an end', () => gzipSync(tar.subarray(0, END + 512)), 'the archive ends within the end'],
  [
    'bytes behind the end',
    () => gzipSync(Buffer.concat([tar, Buffer.from('x')])),
    'bytes follow the end of the archive',
  ],
  ['a wrong sum of gzip', () => withEnd(gzipSync(tar), 8), 'incorrect data check'],
  ['a wrong length of gzip', () => withEnd(gzipSync(tar), 4), 'incorrect length check'],
  [
    'more behind it than its members explain',
    () => gzipSync(Buffer.concat([tar, new Uint8Array(1 << 22)])),
    /unpacks to more than 1049176 bytes, the most that its files account for\.$/,
  ],
];

it.each(MALFORMED)('refuses an archive with %s, and leaves nothing of it', async (_, make, sentence) => {
  const refused = unpack(make());
  await expect(refused).rejects.toThrow(FormatError);
  await expect(refused).rejects.toThrow(sentence);
  expect(readdirSync(folder, { recursive: true }).filter((name) => String(name).endsWith('.bin'))).toEqual(
    [],
  );
});

it('counts what it refuses', () => {
  record({
    section: 'Files from outside',
    provoked: 'Malformed archives, each of another kind (12 more, of links and paths, in every npm test)',
    times: MALFORMED.length,
    held: 'refused in one sentence that names the archive and the entry; no file is left',
  });
});

it('a folder that cannot be made is the fault of the disk, not of the archive', async () => {
  writeFileSync(join(folder, 'file'), '');
  await expect(unpack(gzipSync(tar), join(folder, 'file'))).rejects.toThrow(DiskError);
});
