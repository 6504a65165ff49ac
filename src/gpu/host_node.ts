/**
 * The host of Node, for `#host` (see host.ts): Dawn's binding, its adapters and driver caches, and tuning files. This is the only
 * file of the engine that knows Node, so all others run in a page unchanged.
 */
import { crc32c } from '../core/crc32c.js';
import { AdapterError, FormatError } from '../core/errors.js';
import { cacheFolder } from './cache_folder.js';
import type { CompileJob } from './compile_ahead.js';
import { type GrantedAdapter, grant, type Host, type HostAdapter, PREFERENCE, webHost } from './host.js';
import type { TuningFile } from './tuning.js';
import { userTuningFolder } from './tuning_folder.js';

/** The part of the package `webgpu` that is used here, and its way to compile ahead. */
export interface Dawn {
  /** Flags are `name=value`. The binding opens the first adapter whose name contains the flag `adapter`. */
  create(flags: string[]): GPU;
  compileElsewhere(job: CompileJob): void;
}

/**
 * Dawn features switched on or off for every device, and why:
 * - allow_unsafe_apis: exposes subgroup matrices where an adapter has them;
 * - use_vulkan_memory_model: Dawn refuses subgroup matrices under Vulkan without it;
 * - vulkan_enable_f16_on_nvidia: Dawn hides shader-f16, and with it the matrix units' f16, on every NVIDIA card under
 *   Vulkan, because drivers failed conformance tests of f16 (crbug.com/42251215). It must be set before the adapter is
 *   known and has no effect on other vendors' cards;
 * - disable_robustness: our kernels guard their own stores, which the guard-band tests verify; clamping every access
 *   costs 10-20 % on the software adapter;
 * - disable_workgroup_init: no kernel reads workgroup memory that it has not written.
 * `PATCHLIGHT_SAFE=1` leaves out the last two, as a page does: if a driver fails only without it, a kernel is at fault.
 */
export function dawnFlags(env: Readonly<Record<string, string | undefined>>): string[] {
  const features = ['allow_unsafe_apis', 'use_vulkan_memory_model', 'vulkan_enable_f16_on_nvidia'];
  if (env.PATCHLIGHT_SAFE !== '1') features.push('disable_robustness', 'disable_workgroup_init');
  return [`enable-dawn-features=${features}`, 'disable-dawn-features=timestamp_quantization'];
}

/** No adapter's name contains this, so the binding refuses it and lists the names that it has. */
const NO_NAME = '\u0000';

/** Node, by Dawn's binding. */
export class DawnHost implements Host {
  // Dawn's binding crashes some time after the object that create() returned is collected.
  private readonly held: GPU[] = [];
  private dawn: Dawn | null = null;

  constructor(
    private readonly load: () => Promise<Dawn>,
    /** PCI addresses of the machine's graphics cards, such as `0000:41:00.0`. */
    private readonly cards: () => Promise<readonly string[]>,
  ) {}

  async adapters(): Promise<HostAdapter[]> {
    const names = await this.names();
    return names.map((name, index) => ({ name, request: () => this.request(names, index) }));
  }

  compileElsewhere(job: CompileJob): void {
    this.dawn?.compileElsewhere(job);
  }

  async tuningFile(name: string): Promise<TuningFile | null> {
    const { readFileSync } = await import('node:fs');
    const { user, project } = await tuningFolders();
    for (const folder of user === null ? [project] : [user, project]) {
      const path = `${folder}/${name}.json`;
      try {
        return { path, text: readFileSync(path, 'utf8') };
      } catch (error) {
        const { code } = error as { code?: string };
        if (code !== 'ENOENT' && code !== 'ENOTDIR')
          throw new FormatError(path, `the file cannot be read (${code}). Make it readable, or remove it.`);
      }
    }
    return null;
  }

  private async instance(adapter: string): Promise<GPU> {
    this.dawn ??= await this.load();
    const gpu = this.dawn.create([...dawnFlags(process.env), `adapter=${adapter}`]);
    this.held.push(gpu);
    return gpu;
  }

  private async names(): Promise<string[]> {
    const gpu = await this.instance(NO_NAME);
    const refusal = await withoutNativeWarnings(() => gpu.requestAdapter(PREFERENCE).then(() => '', String));
    return [...refusal.matchAll(/name: '(.*)'$/gm)].map((match) => match[1] as string);
  }

  // The binding cannot reach an adapter behind one whose name is equal or contains its own, unless Vulkan shows only that
  // card. Equal cards are counted by PCI address, the first one too, so that each number means a card of its own.
  private async request(names: readonly string[], index: number): Promise<GrantedAdapter | null> {
    const name = names[index] as string;
    const open = () => this.instance(name).then((gpu) => withoutNativeWarnings(() => grant(gpu)));
    const isFirst = names.findIndex((other) => other.includes(name)) === index;
    if (isFirst && names.lastIndexOf(name) === index) return open();
    let equalsBefore = names.slice(0, index).filter((other) => other === name).length;
    for (const card of await this.cards()) {
      const [shown, ...others] = await withOnlyCard(card, () => this.names());
      if (shown === name && others.length === 0 && equalsBefore-- === 0) return withOnlyCard(card, open);
    }
    return isFirst ? open() : null;
  }
}

/**
 * Runs `body` while Mesa's device selection layer, where it is installed, shows Vulkan this one card. The layer serves
 * the cards of every vendor and reads the variable whenever an instance lists its devices.
 */
async function withOnlyCard<T>(address: string, body: () => Promise<T>): Promise<T> {
  const before = process.env.DRI_PRIME;
  process.env.DRI_PRIME = `pci-${address.replace(/[:.]/g, '_')}!`; // with the exclamation mark the others are hidden
  try {
    return await body();
  } finally {
    if (before === undefined) delete process.env.DRI_PRIME;
    else process.env.DRI_PRIME = before;
  }
}

/** PCI devices of class 3, display controllers, in order of their addresses. Linux only. */
async function graphicsCards(): Promise<string[]> {
  const { readdirSync, readFileSync } = await import('node:fs');
  const devices = '/sys/bus/pci/devices';
  try {
    const isDisplay = (address: string) =>
      readFileSync(`${devices}/${address}/class`, 'utf8').startsWith('0x03');
    return readdirSync(devices).filter(isDisplay).sort();
  } catch {
    return []; // another system, or a container without /sys
  }
}

async function loadDawn(): Promise<Dawn> {
  const compileElsewhere = await prepareSoftwareAdapter();
  const { create, globals } = await import('webgpu').catch((error: Error) => {
    throw new AdapterError(
      `The package webgpu, by which Node reaches a GPU, cannot be loaded (${error.message.split('\n')[0]}). Install it: npm install webgpu.`,
    );
  });
  Object.assign(globalThis, globals);
  return { create, compileElsewhere };
}

const dawn = new DawnHost(loadDawn, graphicsCards);

/** The host that this code runs in. Deno finds this file, too, and has a WebGPU of its own. */
export const hostHere = (): Host => ('Deno' in globalThis ? webHost : dawn);

/**
 * Runs `body` while native code's output to standard error is dropped: Dawn prints two warnings about a limit that we do
 * not use whenever it lists adapters. Linux only. The warnings stay if the descriptor cannot be reopened, and if it is a
 * plain file: once reopened, it would have a file position of its own and overwrite standard output in the same file.
 */
async function withoutNativeWarnings<T>(body: () => Promise<T>): Promise<T> {
  if (process.platform !== 'linux') return body();
  const { closeSync, fstatSync, openSync } = await import('node:fs');
  const reopen = (path: string, flags: string): boolean => {
    closeSync(2);
    return openSync(path, flags) === 2; // the lowest free descriptor
  };
  let saved: number;
  try {
    if (fstatSync(2).isFile()) return body();
    saved = openSync('/proc/self/fd/2', 'a');
  } catch {
    return body(); // a socket, or no /proc
  }
  try {
    reopen('/dev/null', 'a');
    return await body();
  } finally {
    reopen(`/proc/self/fd/${saved}`, 'a');
    closeSync(saved);
  }
}

/**
 * Sets the environment that Mesa's llvmpipe reads when the driver loads. By default it compiles for vectors of 256 bits;
 * 512 is 1.5 to 2 times faster on a CPU with AVX-512. Its shader cache does not distinguish the widths and would run code
 * of the wrong one, so each width has a cache folder of its own. Without a safe folder the cache is disabled.
 */
async function prepareSoftwareAdapter(): Promise<Compiler> {
  if (process.platform !== 'linux') return ignored;
  const { readFileSync } = await import('node:fs');
  const env = process.env;
  if (!env.LP_NATIVE_VECTOR_WIDTH && process.arch === 'x64') {
    const cpu = readFileSync('/proc/cpuinfo', 'utf8');
    if (/\bavx512f\b/.test(cpu) && /\bavx512dq\b/.test(cpu)) env.LP_NATIVE_VECTOR_WIDTH = '512';
  }
  if (!env.MESA_SHADER_CACHE_DIR) {
    const folder = await ownCacheFolder();
    if (folder) env.MESA_SHADER_CACHE_DIR = `${folder}/mesa-${env.LP_NATIVE_VECTOR_WIDTH ?? 'default'}`;
    else env.MESA_SHADER_CACHE_DISABLE = 'true';
  }
  if (!env.MESA_SHADER_CACHE_DIR || env.MESA_SHADER_CACHE_DISABLE === 'true') return ignored;
  return compilerInto(env.MESA_SHADER_CACHE_DIR);
}

/** Where tuning files lie: the user's folder, which comes first, and the folder beside the one of this code. Node only. */
export async function tuningFolders(): Promise<{ readonly user: string | null; readonly project: string }> {
  const { fileURLToPath } = await import('node:url');
  return {
    user: userTuningFolder(process.platform, process.env, await homeFolder()),
    project: fileURLToPath(new URL('../tuning', import.meta.url)),
  };
}

/** Empty for a user without HOME and without an entry in the system's list, as in a container. */
async function homeFolder(): Promise<string> {
  const { homedir } = await import('node:os');
  try {
    return homedir();
  } catch {
    return '';
  }
}

type Compiler = Dawn['compileElsewhere'];
const ignored: Compiler = () => {};

async function ownCacheFolder(): Promise<string | null> {
  const { lstatSync, mkdirSync, realpathSync } = await import('node:fs');
  const { tmpdir } = await import('node:os');
  const orElse = <T>(body: () => T, otherwise: T): T => {
    try {
      return body();
    } catch {
      return otherwise;
    }
  };
  const homeOfUser = await homeFolder();
  const home = orElse(() => realpathSync(homeOfUser), '');
  const user = { uid: process.geteuid?.() ?? -1, home, temporary: tmpdir() };
  return cacheFolder(process.env, user, {
    stat: (path) => orElse(() => lstatSync(path), null),
    makePrivate: (path) => orElse(() => void mkdirSync(path, { mode: 0o700 }), undefined),
  });
}

/**
 * Starts another process for a job of compilation (see compile_ahead.ts). A job that was done before is not repeated: its
 * file stays beside the driver's cache. Another bundle of this code may lack the command; then nothing is started.
 */
async function compilerInto(cache: string): Promise<Compiler> {
  const { existsSync, mkdirSync, writeFileSync } = await import('node:fs');
  const { spawn } = await import('node:child_process');
  const { join } = await import('node:path');
  const { fileURLToPath } = await import('node:url');
  const command = fileURLToPath(new URL('./compile.js', import.meta.url));
  if (!existsSync(command)) return ignored;
  return (job) => {
    const text = new TextEncoder().encode(JSON.stringify(job));
    const path = join(cache, `compiled-${crc32c(text).toString(16)}.json`);
    try {
      if (existsSync(path)) return;
      mkdirSync(cache, { recursive: true });
      writeFileSync(path, text);
    } catch {
      return; // no cache can be written, so compiling ahead would be wasted
    }
    const child = spawn(process.execPath, [command, path], { stdio: 'ignore' });
    child.on('error', () => {});
    child.unref();
  };
}
