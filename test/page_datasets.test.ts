/** The data sets of the page: the official archive that a visitor drops, and the files of the page's server. */
import { gzipSync } from 'node:zlib';
import { createTarGzip } from 'nanotar';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { cifarLayouts, recordBytes } from '../src/io/cifar.js';
import { Datasets } from '../src/page/datasets.js';

const { files, folder, records } = cifarLayouts.cifar10;
const size = recordBytes('cifar10');

/** A record file whose first image has label `label`, and a first pixel of 200. */
function recordFile(label: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(records.train * size);
  bytes.set([label, 200]);
  return bytes;
}

const names = [...files.train, ...files.test];
const all = names.map((name, i) => ({ name: `${folder}/${name}`, data: recordFile(i) }));
const silent = () => {};

afterEach(() => vi.unstubAllGlobals());

describe('a dropped archive', () => {
  it('becomes a data set, in the order of its files', async () => {
    const tar = await createTarGzip([...all, { name: `${folder}/readme.html`, data: 'read me' }]);
    const datasets = new Datasets();
    expect(datasets.names).toEqual(['shapes10']);
    const name = await datasets.takeIn([new File([tar as BlobPart], 'cifar-10-binary.tar.gz')], silent);
    expect([name, datasets.names]).toEqual(['cifar10', ['shapes10', 'cifar10']]);
    const dataset = await datasets.open('cifar10', silent);
    const train = await dataset.load('train');
    expect(train.count).toBe(50_000);
    expect([0, 10_000, 40_000].map((i) => train.labels[i])).toEqual([0, 1, 4]);
    expect(train.images[10_000 * 3072]).toBe(200);
    expect((await dataset.load('test')).labels[0]).toBe(5);
  });

  it.each([
    ['notes.txt', new Uint8Array([1, 2, 3]), /^notes\.txt: it cannot be unpacked/],
    ['empty.tar.gz', gzipSync(new Uint8Array(1024)), /^empty\.tar\.gz: neither cifar-10-binary/],
    ['data_batch_1.bin', recordFile(0), /^data_batch_1\.bin: neither cifar-10-binary/],
  ])('is refused in a sentence: %s', async (name, bytes, says) => {
    await expect(new Datasets().takeIn([new File([bytes as BlobPart], name)], silent)).rejects.toThrow(says);
  });
});

describe("the page's server", () => {
  const answer = (status: number, body: BodyInit) => new Response(body, { status });

  it('gives the files that it says it has', async () => {
    const served = [{ name: 'cifar10', files: names.map((name) => `data/${folder}/${name}`) }];
    vi.stubGlobal('fetch', async (address: string) => {
      if (address === 'datasets.json') return answer(200, JSON.stringify(served));
      return answer(200, recordFile(names.indexOf(address.split('/').at(-1)!)));
    });
    const datasets = new Datasets();
    await datasets.ask();
    expect(datasets.names).toEqual(['shapes10', 'cifar10']);
    const said: string[] = [];
    const dataset = await datasets.open('cifar10', (sentence) => said.push(sentence));
    expect(said).toEqual(names.map((name) => `Fetching ${name}.`));
    expect((await dataset.load('train')).labels[30_000]).toBe(3);
    expect(await datasets.open('cifar10', silent)).toBe(dataset);
  });

  it('may have none, and a data set that is missing is named with the remedy', async () => {
    vi.stubGlobal('fetch', async () => answer(200, '[]'));
    const datasets = new Datasets();
    await datasets.ask();
    await expect(datasets.open('cifar100', silent)).rejects.toThrow('Drop cifar-100-binary.tar.gz');
    expect((await datasets.open('shapes10', silent)).classes).toContain('ring');
  });
});
