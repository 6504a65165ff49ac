import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConfigError, FormatError } from '../src/core/errors.js';
import { unpackTarGz } from '../src/io/archive.js';
import type { CifarLayout } from '../src/io/cifar.js';
import { fetchCifar, missingFiles, readCifar } from '../src/io/cifar_files.js';
import { download } from '../src/io/download.js';
import { archiveOf } from './faults/archives.js';
import { type Answer, md5, sampleBytes, serve, serving } from './server.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'patchlight-io-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('downloads', () => {
  const content = sampleBytes(200_000);
  const target = () => join(folder, 'a.tar.gz');
  const fetched = () => readFileSync(target()).equals(content);

  it('arrive, with progress, and leave no part', async () => {
    const seen: [number, number | undefined][] = [];
    await serving(serve(content), (address) =>
      download(`${address}a`, target(), md5(content), { onProgress: (...seenNow) => seen.push(seenNow) }),
    );
    expect(fetched()).toBe(true);
    expect(seen.at(-1)).toEqual([200_000, 200_000]);
    expect(seen.map(([received]) => received)).toEqual(
      seen.map(([received]) => received).sort((a, b) => a - b),
    );
    expect(readdirSync(folder)).toEqual(['a.tar.gz']);
  });

  it('go on after every cut for as long as something arrives', async () => {
    const ranges = await serving(serve(content, 90_000), (address) =>
      download(address, target(), md5(content)),
    );
    expect(fetched()).toBe(true);
    expect(ranges).toEqual([undefined, 'bytes=90000-', 'bytes=180000-']);
  });

  it.each<[string, Uint8Array, Answer, number]>([
    ['takes up what an earlier run left', content.subarray(0, 1234), serve(content), 1],
    ['finds the file complete', content, serve(content), 1],
    ['starts over where more is there than the file has', sampleBytes(300_000), serve(content), 2],
    ['starts over where the file has changed', sampleBytes(500).fill(1), serve(content), 2],
    [
      'starts over where the server ignores the range',
      content.subarray(0, 500),
      (_, response) => response.end(content),
      1,
    ],
    [
      'starts over where the server sends another piece',
      content.subarray(0, 500),
      (request, response, count) =>
        count > 1
          ? serve(content)(request, response, count)
          : response.writeHead(206, { 'content-range': 'bytes 0-9/200000' }).end(content.subarray(0, 10)),
      2,
    ],
  ])('%s', async (_, part, answer, requests) => {
    writeFileSync(`${target()}.part`, part);
    const ranges = await serving(answer, (address) => download(address, target(), md5(content)));
    expect(fetched()).toBe(true);
    expect(ranges.length).toBe(requests);
    expect(readdirSync(folder)).toEqual(['a.tar.gz']);
  });

  it('of other content are refused and not kept', async () => {
    await serving(serve(content), async (address) => {
      const refused = download(`${address}a`, target(), md5(content.subarray(1)));
      await expect(refused).rejects.toThrow(FormatError);
      await expect(refused).rejects.toThrow(`${address}a: the MD5 of the download is ${md5(content)}, not `);
    });
    expect(readdirSync(folder)).toEqual([]);
  });

  it('that are larger than they can be are refused and not kept', async () => {
    await serving(
      (_, response) => void response.end(content),
      async (address) => {
        const refused = download(`${address}a`, target(), md5(content), { limit: 100_000 });
        await expect(refused).rejects.toThrow(FormatError);
        await expect(refused).rejects.toThrow(
          `${address}a: the server sends more than 100000 bytes, the most that the file may have.`,
        );
      },
    );
    expect(readdirSync(folder)).toEqual([]);
  });

  it('that nothing more comes of say so, and keep what came', async () => {
    const answer: Answer = (request, response, count) =>
      count === 1 ? serve(content, 70_000)(request, response, count) : request.socket.destroy();
    await serving(answer, async (address) => {
      const cut = download(address, target(), md5(content));
      await expect(cut).rejects.toThrow(ConfigError);
      await expect(cut).rejects.toThrow(
        /; 70000 bytes are kept in .*a\.tar\.gz\.part, and another attempt goes on/,
      );
    });
    expect(readFileSync(`${target()}.part`).length).toBe(70_000);
  });

  it.each([404, 500, 503])('answered with %i are an error that says so', async (status) => {
    await serving(
      (_, response) => response.writeHead(status).end('no'),
      async (address) => {
        const refused = download(address, target(), md5(content));
        await expect(refused).rejects.toThrow(`the server answers ${status}`);
        await expect(refused).rejects.toThrow(ConfigError);
      },
    );
    expect(readdirSync(folder)).toEqual([]);
  });

  it('into a folder that is not there are an error about the folder', async () => {
    await serving(serve(content), (address) =>
      expect(download(address, join(folder, 'no', 'a'), md5(content))).rejects.toThrow(
        /could not write .*: ENOENT/,
      ),
    );
  });
});

describe('archives', () => {
  const members = new Map([
    ['c/a.bin', 5],
    ['c/b.bin', 2],
  ]);
  const good = [
    { name: 'c/', type: 'directory' as const },
    { name: 'c/readme.html', text: 'x'.repeat(5000) },
    { name: './c/b.bin', text: 'by' },
    { name: 'c/a.bin', text: 'alpha' },
  ];
  const unpack = (bytes: Uint8Array): Promise<void> => {
    const archive = join(folder, 'x.tar.gz');
    writeFileSync(archive, bytes);
    return unpackTarGz(archive, join(folder, 'out', 'data'), members);
  };

  it('give the members that are asked for and nothing else', async () => {
    await unpack(await archiveOf(good));
    expect(readdirSync(join(folder, 'out', 'data', 'c')).sort()).toEqual(['a.bin', 'b.bin']);
    expect(readFileSync(join(folder, 'out', 'data', 'c', 'a.bin'), 'utf8')).toBe('alpha');
  });

  it.each<[string, Parameters<typeof archiveOf>[0], string]>([
    ['a path up', [{ name: '../evil', text: 'x' }, ...good], 'entry ../evil would leave the folder'],
    ['a path up in the middle', [{ name: 'c/../../evil', text: 'x' }, ...good], 'would leave the folder'],
    ['a path up with backslashes', [{ name: 'c\\..\\evil', text: 'x' }, ...good], 'would leave the folder'],
    ['an absolute path', [{ name: '/evil', text: 'x' }, ...good], 'entry /evil would leave the folder'],
    ['a drive letter', [{ name: 'C:evil', text: 'x' }, ...good], 'would leave the folder'],
    ['a symbolic link', [{ name: 'c', type: 'symlink', linkname: '..' }, ...good], 'entry c is a symlink'],
    ['a hard link', [{ name: 'c/a.bin', type: 'link', linkname: '/etc/hosts' }], 'entry c/a.bin is a link'],
    ['a device', [{ name: 'c/a.bin', type: 'character-device' }], 'entry c/a.bin is a character-device'],
    ['a pipe', [{ name: 'c/a.bin', type: 'fifo' }], 'entry c/a.bin is a fifo'],
    ['a member that is missing', good.slice(0, 3), 'the archive lacks c/a.bin.'],
    ['a member of another size', [{ name: 'c/a.bin', text: 'alphabet' }], 'c/a.bin has 8 bytes, not 5.'],
    ['nothing', [], 'the archive lacks c/a.bin, c/b.bin.'],
  ])('with %s are refused, and nothing leaves the folder', async (_, entries, sentence) => {
    const refused = unpack(await archiveOf(entries));
    await expect(refused).rejects.toThrow(FormatError);
    await expect(refused).rejects.toThrow(sentence);
    expect(readdirSync(folder).filter((name) => name !== 'out')).toEqual(['x.tar.gz']);
  });

  it('that are cut anywhere, or are no archives, are refused', async () => {
    const bytes = await archiveOf(good);
    for (let n = 0; n < bytes.length; n += 7)
      await expect(unpack(bytes.subarray(0, n)), `the first ${n} bytes`).rejects.toThrow(FormatError);
    await expect(unpack(gunzipSync(bytes))).rejects.toThrow('cannot be unpacked');
    await expect(unpack(gzipSync(sampleBytes(2048)))).rejects.toThrow(FormatError);
    const tar = gunzipSync(bytes);
    await expect(unpack(gzipSync(tar.subarray(0, 600)))).rejects.toThrow(FormatError);
  });
});

it('a data set is fetched, unpacked and read', async () => {
  const record = (label: number): Uint8Array => Uint8Array.of(label, ...sampleBytes(3072));
  const archive = await archiveOf([
    { name: 'batches/two.bin', text: record(2) },
    { name: 'batches/one.bin', text: record(1) },
    { name: 'batches/test.bin', text: record(7) },
  ]);
  const layout: CifarLayout = {
    kind: 'cifar10',
    archive: 'batches.tar.gz',
    md5: md5(archive),
    folder: 'batches',
    files: { train: ['one.bin', 'two.bin'], test: ['test.bin'] },
    records: { train: 1, test: 1 },
  };
  const dataDir = join(folder, 'deep', 'data');
  const files = join(dataDir, 'batches');
  expect(missingFiles(files, layout)).toEqual(['one.bin', 'two.bin', 'test.bin']);
  await serving(serve(archive), (address) => fetchCifar(dataDir, layout, { address }));
  expect(missingFiles(files, layout)).toEqual([]);
  expect([...readCifar(files, layout, 'train').labels]).toEqual([1, 2]);
  expect(readCifar(files, layout, 'test').images).toEqual(sampleBytes(3072));
  expect(readdirSync(dirname(files))).toEqual(['batches']);
});
