/** The data sets of the page: shapes10 at once, CIFAR from the page's own server, or from the archive that a visitor drops. */
import { parseTarGzip } from 'nanotar';
import { ConfigError, FormatError } from '../core/errors.js';
import type { Dataset } from '../data/dataset.js';
import { namedDatasets, shapes10, withSplits } from '../data/named.js';
import { type CifarKind, cifarLayouts, parseCifar } from '../io/cifar.js';

/** A data set whose files the page's server has, and their addresses. */
interface Served {
  readonly name: CifarKind;
  readonly files: readonly string[];
}

const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

export class Datasets {
  private readonly known = new Map<string, Dataset>();
  private served: readonly Served[] = [];

  /** Asks the page's server which data sets it has. A server that only has files says that it has none. */
  async ask(): Promise<void> {
    const answer = await fetch('datasets.json');
    if (answer.ok) this.served = (await answer.json()) as Served[];
  }

  /** The names of the data sets that can be opened. */
  get names(): string[] {
    return [...new Set(['shapes10', ...this.served.map(({ name }) => name), ...this.known.keys()])];
  }

  /** Opens a data set. `say` hears of what takes time. Throws a ConfigError if its files are missing. */
  async open(name: string, say: (sentence: string) => void): Promise<Dataset> {
    const known = this.known.get(name);
    if (known) return known;
    if (name === 'shapes10') {
      say('Drawing 12,000 shapes.');
      return this.keep(shapes10());
    }
    const served = this.served.find((each) => each.name === name);
    if (!served)
      throw new ConfigError(
        `This page has no ${name}. Drop ${cifarLayouts[name as CifarKind].archive} from its authors' page onto it.`,
      );
    const files = new Map<string, Uint8Array>();
    for (const address of served.files) {
      say(`Fetching ${baseName(address)}.`);
      const answer = await fetch(address);
      if (!answer.ok) throw new ConfigError(`The server did not give ${address}: ${answer.status}.`);
      files.set(baseName(address), new Uint8Array(await answer.arrayBuffer()));
    }
    return this.keep(cifar(served.name, files));
  }

  /** Takes in the official archive of a CIFAR data set, or its unpacked files. Returns the name of the data set. */
  async takeIn(dropped: readonly File[], say: (sentence: string) => void): Promise<string> {
    const files = new Map<string, Uint8Array>();
    for (const file of dropped) {
      say(`Reading ${file.name}.`);
      if (file.name.endsWith('.bin')) files.set(file.name, new Uint8Array(await file.arrayBuffer()));
      else for (const [name, bytes] of await unpacked(file)) files.set(name, bytes);
    }
    const kind = (Object.keys(cifarLayouts) as CifarKind[]).find((each) =>
      filesOf(each).every((name) => files.has(name)),
    );
    if (!kind)
      throw new FormatError(
        dropped.map(({ name }) => name).join(', '),
        `neither cifar-10-binary.tar.gz nor cifar-100-binary.tar.gz, nor all of their .bin files.`,
      );
    this.keep(cifar(kind, files));
    return kind;
  }

  private keep(dataset: Dataset): Dataset {
    this.known.set(dataset.name, dataset);
    return dataset;
  }
}

const filesOf = (kind: CifarKind): string[] => Object.values(cifarLayouts[kind].files).flat();

async function unpacked(file: File): Promise<[string, Uint8Array][]> {
  try {
    const filter = ({ name }: { name: string }) => name.endsWith('.bin');
    const entries = await parseTarGzip(await file.arrayBuffer(), { filter });
    return entries.flatMap(({ name, data }) => (data ? [[baseName(name), data]] : []));
  } catch (error) {
    throw new FormatError(file.name, `it cannot be unpacked: ${(error as Error).message}.`);
  }
}

/** The data set of record files. A file that is damaged throws a FormatError now, and not in the middle of a run. */
function cifar(kind: CifarKind, files: ReadonlyMap<string, Uint8Array>): Dataset {
  const layout = cifarLayouts[kind];
  return withSplits(namedDatasets[kind], (split) => {
    const parts = layout.files[split].map((name) => parseCifar(name, files.get(name)!, kind));
    const images = new Uint8Array(parts.reduce((sum, part) => sum + part.images.length, 0));
    const labels = new Uint8Array(parts.reduce((sum, part) => sum + part.labels.length, 0));
    let at = 0;
    for (const part of parts) {
      images.set(part.images, at * (images.length / labels.length));
      labels.set(part.labels, at);
      at += part.labels.length;
    }
    return { images, labels };
  });
}
