/** Listing the adapters of a machine, and choosing one as `--adapter` does. */
import { hostHere } from '#host';
import { AdapterError } from '../core/errors.js';
import { isSoftware } from './adapter_info.js';
import type { GrantedAdapter, Host, HostAdapter } from './host.js';

/** An adapter of this machine, as `listAdapters` found it. */
export interface ListedAdapter {
  readonly name: string;
  /** Empty if unknown. */
  readonly driver: string;
  /** It runs on the CPU. */
  readonly software: boolean;
  /** False if this host would open another adapter in its place. */
  readonly reachable: boolean;
}

/** The adapters of this machine, best first. An adapter's place in the list is its number, from 0. */
export async function listAdapters(host: Host = hostHere()): Promise<ListedAdapter[]> {
  const listed: ListedAdapter[] = [];
  for (const { name, request } of await host.adapters()) {
    const granted = await request();
    const twin = listed.find((other) => other.name === name);
    listed.push({
      name,
      driver: granted?.adapter.info.description ?? twin?.driver ?? '',
      software:
        granted?.software ?? isSoftware({ vendor: '', architecture: '', device: name, description: '' }),
      reachable: granted !== null,
    });
  }
  return listed;
}

const NO_ADAPTER =
  'No WebGPU adapter was found. On Debian or Ubuntu, `node scripts/setup.mjs` installs a software one; elsewhere, install a Vulkan driver.';

/**
 * Requests an adapter by its number, its whole name or a part of its name; if several names contain the part, the first
 * (best) of them is taken. Without `wanted` it is the best adapter. `names` are the names of all adapters.
 */
export async function chooseAdapter(
  host: Host,
  wanted?: string | number,
): Promise<{ names: readonly string[]; granted: GrantedAdapter }> {
  const adapters = await host.adapters();
  if (adapters.length === 0) throw new AdapterError(NO_ADAPTER);
  const index = wanted === undefined ? 0 : indexOf(adapters, String(wanted));
  const chosen = adapters[index];
  if (!chosen) throw new AdapterError(`${refusal(String(wanted))} There is: ${numbered(adapters)}.`);
  const granted = await chosen.request();
  if (!granted) throw new AdapterError(unopened(adapters, index));
  return { names: adapters.map(({ name }) => name), granted };
}

/** No machine has a hundred adapters, so longer numbers are parts of names, as in `--adapter 4090`. */
const isIndex = (text: string): boolean => /^\d{1,2}$/.test(text);

function indexOf(adapters: readonly HostAdapter[], wanted: string): number {
  if (isIndex(wanted)) return Number(wanted);
  const exact = adapters.findIndex(({ name }) => name === wanted);
  return exact >= 0 ? exact : adapters.findIndex(({ name }) => name.includes(wanted));
}

const refusal = (wanted: string): string =>
  isIndex(wanted) ? `There is no adapter ${wanted}.` : `No adapter's name contains "${wanted}".`;

const numbered = (adapters: readonly HostAdapter[]): string =>
  adapters.map(({ name }, index) => `${index}: ${name}`).join('; ');

function unopened(adapters: readonly HostAdapter[], index: number): string {
  const { name } = adapters[index] as HostAdapter;
  const first = adapters.findIndex((other) => other.name.includes(name));
  if (first === index) return `Adapter ${index} (${name}) is listed, but its driver does not open it.`;
  return (
    `Adapter ${index} (${name}) cannot be opened: Dawn opens an adapter by a part of its name, and this name leads to ` +
    `adapter ${first}. On Linux, Mesa's device selection layer (package mesa-vulkan-drivers) lets Patchlight choose a ` +
    'card by its PCI address; without the layer, hide the other cards from this process, as a container can.'
  );
}
