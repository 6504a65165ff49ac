/** Several first runs at the same time, all without the data set: one downloads it, the others wait. */
// Alone: it measures how long a download waits.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { ConfigError } from '../../src/core/errors.js';
import { Counter } from '../../src/core/rng.js';
import { type CifarLayout, recordBytes } from '../../src/io/cifar.js';
import { fetchCifar, missingFiles, readCifar } from '../../src/io/cifar_files.js';
import { startOf } from '../../src/io/pid.js';
import { type Answer, md5, serve, serving } from '../server.js';
import { archiveOf } from './archives.js';
import { sleep } from './commands.js';
import { bundleChild, record, scratch } from './common.js';

const folder = scratch('fetch');
const child = bundleChild(folder);
const section = 'Files from outside';

let archive: Uint8Array;
let layout: CifarLayout;
beforeAll(async () => {
  const draw = new Counter(23, 0);
  const records = (count: number, label: number) => {
    const bytes = Uint8Array.from({ length: count * recordBytes('cifar10') }, () => draw.below(256));
    for (let i = 0; i < count; i++) bytes[i * recordBytes('cifar10')] = label;
    return bytes;
  };
  archive = await archiveOf([
    { name: 'batches/train.bin', text: records(100, 1) },
    { name: 'batches/test.bin', text: records(10, 2) },
  ]);
  layout = {
    kind: 'cifar10',
    archive: 'batches.tar.gz',
    md5: md5(archive),
    folder: 'batches',
    files: { train: ['train.bin'], test: ['test.bin'] },
    records: { train: 100, test: 10 },
  };
});

/** A process that fetches the data set into `dataDir`; `said` has its output lines so far. */
function fetcher(
  dataDir: string,
  address: string,
): { process: ChildProcess; said: string[]; ended: Promise<unknown> } {
  const started = spawn(process.execPath, [child, 'fetch', dataDir, JSON.stringify(layout), address], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void started.kill('SIGKILL'));
  const said: string[] = [];
  started.stdout.on('data', (text) => said.push(...String(text).trim().split('\n')));
  return { process: started, said, ended: once(started, 'close') };
}

/** Resolves when `happened` returns true. Fails after 20 seconds. */
async function until(happened: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !happened(); i++) await sleep(0.02);
  expect(happened()).toBe(true);
}

const part = (dataDir: string): string => join(dataDir, 'batches.tar.gz.part');
const arrived = (dataDir: string): number => (existsSync(part(dataDir)) ? statSync(part(dataDir)).size : 0);

function expectFetched(dataDir: string): void {
  expect(readdirSync(dataDir)).toEqual(['batches']);
  expect(missingFiles(join(dataDir, 'batches'), layout)).toEqual([]);
  expect([...new Set(readCifar(join(dataDir, 'batches'), layout, 'train').labels)]).toEqual([1]);
}

/** Sends half of the file, and the rest when `rest` resolves. */
const inHalves =
  (rest: () => Promise<void>): Answer =>
  (_, response) => {
    const half = archive.length >> 1;
    response.writeHead(200, { 'content-length': archive.length });
    response.write(archive.subarray(0, half));
    void rest().then(() => response.end(archive.subarray(half)));
  };

describe('of first runs at the same time', () => {
  it('one process downloads, and the other waits for it', async () => {
    const dataDir = join(folder, 'two');
    let fetchers: ReturnType<typeof fetcher>[] = [];
    const rest = () => until(() => fetchers.some(({ said }) => said.length > 0)).then(() => sleep(0.3));
    const requests = await serving(inHalves(rest), async (address) => {
      fetchers = [0, 1].map(() => fetcher(dataDir, address));
      await Promise.all(fetchers.map(({ ended }) => ended));
    });
    const said = fetchers.map((one) => one.said);
    expect(said.map((lines) => lines.at(-1))).toEqual(['fetched', 'fetched']);
    expect(requests).toEqual([undefined]);
    const [first, second] = said[0]!.length === 1 ? [0, 1] : [1, 0];
    expect(said[second]!.slice(0, -1)).toEqual([
      `cifar10 is being downloaded by process ${fetchers[first]!.process.pid}; waiting for it.`,
    ]);
    expectFetched(dataDir);
    record({
      section,
      provoked: 'Two processes that need the same data set, which is not there',
      times: 1,
      held: 'one downloads it, the other says that it waits, and both go on',
    });
  });

  it('the one that waits goes on from what one that is killed has downloaded', async () => {
    const dataDir = join(folder, 'killed');
    const half = archive.length >> 1;
    const answer: Answer = (request, response, count) =>
      count === 1
        ? inHalves(() => new Promise(() => {}))(request, response, count)
        : serve(archive)(request, response, count);
    const requests = await serving(answer, async (address) => {
      const first = fetcher(dataDir, address);
      await until(() => arrived(dataDir) === half);
      const second = fetcher(dataDir, address);
      await until(() => second.said.length > 0);
      first.process.kill('SIGKILL');
      await second.ended;
      expect(second.said.at(-1)).toBe('fetched');
    });
    expect(requests).toEqual([undefined, `bytes=${half}-`]);
    expectFetched(dataDir);
  });

  it('those of one process take turns too', async () => {
    const dataDir = join(folder, 'one');
    const waits: string[] = [];
    const requests = await serving(serve(archive), async (address) => {
      const options = { address, onWait: (sentence: string) => waits.push(sentence) };
      await Promise.all([0, 1, 2].map(() => fetchCifar(dataDir, layout, options)));
    });
    expect(requests).toEqual([undefined]);
    expect(waits).toHaveLength(2);
    expectFetched(dataDir);
  });

  it('one whose download is refused leaves the next its turn', async () => {
    const dataDir = join(folder, 'refused');
    const answer: Answer = (request, response, count) =>
      count === 1 ? response.writeHead(503).end() : serve(archive)(request, response, count);
    await serving(answer, async (address) => {
      const ends = await Promise.allSettled([0, 1].map(() => fetchCifar(dataDir, layout, { address })));
      expect(ends.map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
    });
    expectFetched(dataDir);
  });
});

describe('a download that another process has begun and that does not go on', () => {
  const host = hostname();
  it.each<[string, object, RegExp]>([
    [
      'on this machine',
      { pid: process.ppid, host, start: startOf(process.ppid) },
      /cifar10 is being downloaded by process \d+, which has made no progress for 0\.3 s; end it, or remove .*batches\.tar\.gz\.lock\.$/,
    ],
    [
      'on another machine',
      { pid: 7, host: 'elsewhere', start: null },
      /by process 7 on another machine, elsewhere, which has made no progress for 0\.3 s; if it has ended, remove .*batches\.tar\.gz\.lock\.$/,
    ],
  ])('%s is not waited for for ever', async (where, holder, sentence) => {
    const dataDir = join(folder, where);
    mkdirSync(dataDir);
    writeFileSync(join(dataDir, 'batches.tar.gz.lock'), JSON.stringify(holder));
    writeFileSync(part(dataDir), '');
    const began = performance.now();
    const waits: string[] = [];
    const fetched = fetchCifar(dataDir, layout, {
      address: 'http://127.0.0.1:1/',
      patience: 300,
      onWait: (said) => {
        waits.push(said);
        // It makes progress once, and the time is counted from then.
        setTimeout(() => writeFileSync(part(dataDir), 'x'), 200);
      },
    });
    await expect(fetched).rejects.toThrow(ConfigError);
    await expect(fetched).rejects.toThrow(sentence);
    expect(performance.now() - began).toBeGreaterThan(500);
    expect(waits).toEqual([expect.stringMatching(/^cifar10 is being downloaded by .*; waiting for it\.$/)]);
  });
});
