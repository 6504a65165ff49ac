import * as nodeFs from 'node:fs';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readConfig } from '../src/cli/config_file.js';
import { DiskError, FormatError } from '../src/core/errors.js';
import { AppendLog } from '../src/io/append_log.js';
import { type FileSystem, writeFileAtomic } from '../src/io/atomic.js';
import { type CifarKind, cifarLayouts, parseCifar } from '../src/io/cifar.js';
import { readCifar } from '../src/io/cifar_files.js';
import { readBytes } from '../src/io/read.js';
import { record } from './faults/common.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'patchlight-io-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const sampleBytes = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (Math.imul(i, 2654435761) >>> 16) & 255);

describe('atomic writes', () => {
  /** Node's calls; the `n`-th fails with `code` and, after a crash, all later ones fail, too. */
  function failing(n: number, code: string, crash: boolean): { fs: FileSystem; calls: () => number } {
    let calls = 0;
    const fs = new Proxy(nodeFs, {
      get: (target, name) => {
        const real = Reflect.get(target, name) as (...args: unknown[]) => unknown;
        return (...args: unknown[]) => {
          calls++;
          if (calls === n || (crash && calls > n)) throw new Error(`${code}: it failed, ${String(name)}`);
          return real(...args);
        };
      },
    });
    return { fs, calls: () => calls };
  }

  it('writes a new file, replaces an old one, and leaves nothing else', () => {
    const path = join(folder, 'a.bin');
    for (const length of [0, 1, 100_000]) {
      writeFileAtomic(path, sampleBytes(length));
      expect(readFileSync(path).equals(sampleBytes(length)), `${length} bytes`).toBe(true);
    }
    expect(readdirSync(folder)).toEqual(['a.bin']);
  });

  it('goes on after short writes', () => {
    const path = join(folder, 'a.bin');
    const writeSync = ((fd: number, bytes: Uint8Array, at: number, length: number) =>
      nodeFs.writeSync(fd, bytes, at, Math.min(length, 7))) as typeof nodeFs.writeSync;
    writeFileAtomic(path, sampleBytes(100), { ...nodeFs, writeSync });
    expect(new Uint8Array(readFileSync(path))).toEqual(sampleBytes(100));
  });

  it.each([
    ['EIO', false],
    ['ENOSPC', false],
    ['EIO', true],
  ])('whichever call fails with %s (crash: %s), the old bytes or the new ones are there', (code, crash) => {
    const path = join(folder, 'a.bin');
    const [before, after] = [sampleBytes(50), sampleBytes(60)];
    const count = failing(Infinity, code, crash);
    writeFileAtomic(path, after, count.fs);
    expect(count.calls()).toBeGreaterThan(7);
    for (let n = 1; n <= count.calls(); n++) {
      writeFileAtomic(path, before);
      const write = () => writeFileAtomic(path, after, failing(n, code, crash).fs);
      expect(write, `call ${n}`).toThrow(DiskError);
      expect(write, `call ${n}`).toThrow(/a\.bin \(60 bytes needed, \d+ available\): \w+: it failed\.$/);
      expect([before, after], `call ${n}`).toContainEqual(new Uint8Array(readFileSync(path)));
      if (!crash) expect(readdirSync(folder), `call ${n}`).toEqual(['a.bin']);
    }
  });

  const line = (text: string) => new TextEncoder().encode(`${text}\n`);

  // Only Linux has /dev/full, a file on a disk that is always full.
  it.skipIf(!existsSync('/dev/full'))('a full disk is told with the bytes that wait', () => {
    const log = new AppendLog('/dev/full');
    for (const waiting of [2, 4]) {
      log.add(line('x'));
      expect(() => log.flush()).toThrow(
        new RegExp(
          `^could not append to /dev/full \\(${waiting} bytes needed, \\d+ available\\): ENOSPC: no space left on device; free some space there or write to another disk\\.$`,
        ),
      );
    }
  });

  it('a log gets whole lines or nothing, and what was refused the next time', () => {
    const path = join(folder, 'steps.jsonl');
    const full = new Error('ENOSPC: no space left on device, write');
    let room = Number.POSITIVE_INFINITY;
    const writeSync = ((fd: number, bytes: Uint8Array) => {
      if (room === 0) throw full;
      const written = nodeFs.writeSync(fd, bytes, 0, Math.min(room, bytes.length));
      room -= written;
      return written;
    }) as typeof nodeFs.writeSync;
    const log = new AppendLog(path, { ...nodeFs, writeSync });
    const content = () => readFileSync(path, 'utf8');
    log.add(line('{"step":1}'));
    log.flush();
    room = 3;
    for (const step of [2, 3]) {
      log.add(line(`{"step":${step}}`));
      expect(() => log.flush()).toThrow('no space left on device.');
      expect(content()).toBe('{"step":1}\n');
    }
    room = Number.POSITIVE_INFINITY;
    log.flush();
    log.flush();
    expect(content()).toBe('{"step":1}\n{"step":2}\n{"step":3}\n');
  });
});

describe('CIFAR records', () => {
  /** One record: labels, then planes filled with r, g, b. */
  const recordOf = (labels: number[], [r, g, b]: [number, number, number]): number[] => [
    ...labels,
    ...[r, g, b].flatMap((value) => new Array<number>(1024).fill(value)),
  ];

  it.each<[CifarKind, number[][], number[]]>([
    ['cifar10', [[3], [9]], [3, 9]],
    [
      'cifar100',
      [
        [19, 99],
        [0, 42],
      ],
      [99, 42],
    ],
  ])('of %s become planes and labels', (kind, given, labels) => {
    const bytes = Uint8Array.from([...recordOf(given[0]!, [1, 2, 3]), ...recordOf(given[1]!, [4, 5, 6])]);
    const records = parseCifar('x.bin', bytes, kind);
    expect([...records.labels]).toEqual(labels);
    expect([0, 1024, 2048, 3072, 4096, 6143].map((i) => records.images[i])).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it.each<[string, CifarKind, number[], string]>([
    ['an empty file', 'cifar10', [], 'x.bin: the file is empty.'],
    [
      'a cut record',
      'cifar10',
      new Array(3072).fill(0),
      'x.bin: 3072 bytes are not a whole number of cifar10 records',
    ],
    [
      'the other kind',
      'cifar100',
      recordOf([1], [0, 0, 0]),
      'not a whole number of cifar100 records of 3074 bytes',
    ],
    [
      'label 10',
      'cifar10',
      [...recordOf([0], [0, 0, 0]), ...recordOf([10], [0, 0, 0])],
      'x.bin: record 1 has label 10, not one of 0 to 9.',
    ],
    ['label 255', 'cifar10', recordOf([255], [0, 0, 0]), 'record 0 has label 255'],
    [
      'coarse label 20',
      'cifar100',
      recordOf([20, 0], [0, 0, 0]),
      'record 0 has label 20, not one of 0 to 19.',
    ],
    [
      'fine label 100',
      'cifar100',
      recordOf([0, 100], [0, 0, 0]),
      'record 0 has label 100, not one of 0 to 99.',
    ],
  ])('%s is refused', (_, kind, bytes, sentence) => {
    const parse = () => parseCifar('x.bin', Uint8Array.from(bytes), kind);
    expect(parse).toThrow(FormatError);
    expect(parse).toThrow(sentence);
  });

  it('that are more or fewer than the data set has, or cannot be read, are refused', () => {
    const read = () => readCifar(folder, { ...cifarLayouts.cifar10, records: { train: 2, test: 1 } }, 'test');
    const file = join(folder, 'test_batch.bin');
    expect(read).toThrow(`${file} cannot be read (ENOENT: no such file or directory).`);
    mkdirSync(file);
    expect(read).toThrow(`${file} is a folder, not a file.`);
    rmdirSync(file);
    writeFileSync(file, new Uint8Array(2 * 3073));
    expect(read).toThrow(`${file}: the file has more than 3073 bytes, the most that such a file may have.`);
    writeFileSync(file, new Uint8Array(3073));
    expect(read().labels).toEqual(Uint8Array.of(0));
    record({
      section: 'Files from outside',
      provoked: 'Malformed CIFAR files, each of another kind',
      times: 10,
      held: 'refused in one sentence that names the file, and the record where one is at fault',
    });
  });
});

describe('whole files', () => {
  it.skipIf(process.platform !== 'linux')('are read up to the limit, from pipes and devices too', () => {
    expect(() => readBytes('/dev/zero', 1 << 20)).toThrow(
      '/dev/zero: the file has more than 1048576 bytes, the most that such a file may have.',
    );
    expect(readBytes('/proc/self/comm').length).toBeGreaterThan(0);
    const path = join(folder, 'a.bin');
    writeFileSync(path, sampleBytes(100_001));
    const readSync = ((fd: number, bytes: Uint8Array, at: number, length: number) =>
      nodeFs.readSync(fd, bytes, at, Math.min(length, 7777), null)) as typeof nodeFs.readSync;
    expect(readBytes(path, undefined, { ...nodeFs, readSync })).toEqual(sampleBytes(100_001));
  });

  it.each<[string, string | Uint8Array, string]>([
    ['a list', '[1]', 'the file must hold one JSON object of settings.'],
    ['a word for settings', '{"settings": "all"}', 'the field settings must be a JSON object.'],
    ['null for settings', '{"settings": null}', 'the field settings must be a JSON object.'],
    ['a setting twice', '{"depth": 1, "depth": 2}', 'the key depth appears twice in one object of the file.'],
    ['__proto__', '{"__proto__": {"depth": 1}}', 'the key __proto__ is not allowed in the file.'],
    ['half an object', '{"depth": ', 'the file is not JSON: Unexpected end of JSON input.'],
    ['nothing', '', 'the file is not JSON: Unexpected end of JSON input.'],
    ['bytes', Uint8Array.of(0x22, 0xff, 0x22), 'the file is not UTF-8.'],
  ])('of settings with %s are refused', (_, content, sentence) => {
    const path = join(folder, 'config.json');
    writeFileSync(path, content);
    expect(() => readConfig(path)).toThrow(FormatError);
    expect(() => readConfig(path)).toThrow(`${path}: ${sentence}`);
  });

  it.each(['{"depth": 3}', '{"version": "1", "settings": {"depth": 3}}', '\ufeff{"depth": 3}'])(
    'of settings are read: %j',
    (content) => {
      const path = join(folder, 'config.json');
      writeFileSync(path, content);
      expect(readConfig(path)).toEqual({ depth: 3 });
    },
  );
});
