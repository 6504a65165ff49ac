/**
 * Where WebGPU comes from: `navigator.gpu` of a browser or of Deno, or Dawn's Node binding. The only file of the engine that
 * knows Node exists, so that everything else runs in a page as it stands.
 */
import { crc32c } from '../core/crc32c.js';
import { AdapterError } from '../core/errors.js';
import { cacheFolder } from './cache_folder.js';

/**
 * Dawn features switched on or off for every device, and why:
 * - allow_unsafe_apis: exposes subgroup matrices where an adapter has them;
 * - disable_robustness: our kernels guard their own stores (guard-band tests hold them to it); clamping every
 *   access costs 10-20 % on the software adapter;
 * - vulkan_enable_f16_on_nvidia: Dawn hides shader-f16, and with it the matrix units' f16, on every NVIDIA card under
 *   Vulkan, because drivers failed conformance tests of f16 (crbug.com/42251215). It must be given before the adapter
 *   is known, and is looked at for NVIDIA's alone.
 */
const DAWN_FEATURES = [
  'allow_unsafe_apis',
  'disable_robustness',
  'disable_workgroup_init',
  'vulkan_enable_f16_on_nvidia',
];

// Dawn's binding crashes some time after the object that create() returned is collected, so it is held here for the
// life of the process.
const held: GPU[] = [];

// Deno has Node's `process` as well, and a WebGPU of its own.
const inDeno = (): boolean => 'Deno' in globalThis;
const inNode = (): boolean =>
  typeof process !== 'undefined' && process.versions?.node !== undefined && !inDeno();

const NO_WEBGPU = 'This browser has no WebGPU. Use a newer one; a page must come by https or from localhost.';
const NO_WEBGPU_IN_DENO = 'This Deno has no WebGPU. Start it with --unstable-webgpu.';

/** A `GPU` entry point; in Node, `adapter` is a substring of an adapter's name. Throws AdapterError where there is none. */
export async function loadGpu(adapter?: string): Promise<GPU> {
  if (!inNode()) {
    if (!globalThis.navigator?.gpu) throw new AdapterError(inDeno() ? NO_WEBGPU_IN_DENO : NO_WEBGPU);
    return globalThis.navigator.gpu;
  }
  await prepareSoftwareAdapter();
  const { create, globals } = await import('webgpu');
  Object.assign(globalThis, globals);
  const options = [
    `enable-dawn-features=${DAWN_FEATURES.join(',')}`,
    'disable-dawn-features=timestamp_quantization',
  ];
  if (adapter) options.push(`adapter=${adapter}`);
  const gpu = create(options);
  held.push(gpu);
  return gpu;
}

/**
 * Runs `body` while what native code prints to standard error is dropped: Dawn warns twice about a limit that we do not
 * use, each time it looks at an adapter. Linux only; where the descriptor cannot be reopened, the warnings show, and in
 * a plain file too: reopened, it would be written at a place of its own, over what standard output writes to the same file.
 */
export async function withoutNativeWarnings<T>(body: () => Promise<T>): Promise<T> {
  if (!inNode() || process.platform !== 'linux') return body();
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

/** Names of the adapters on this machine, best first as Dawn orders them; empty when there is none. */
export async function adapterNames(): Promise<string[]> {
  const gpu = await loadGpu('\u0000');
  if (!inNode()) return [(await gpu.requestAdapter())?.info.description ?? ''].filter(Boolean);
  // The binding names the adapters it has when it is asked for one that cannot exist.
  const complaint = await withoutNativeWarnings(() => gpu.requestAdapter().then(() => '', String));
  return [...complaint.matchAll(/name: '([^']*)'/g)].map((match) => match[1] as string);
}

/**
 * Sets the environment that Mesa's llvmpipe reads when the driver loads. It compiles for vectors of 256 bits unless told
 * otherwise; 512 is 1.5 to 2 times faster where the CPU has AVX-512. Its shader cache does not tell widths apart and
 * runs stale code when they mix, so each width gets a folder of its own. Without a safe folder there is no cache.
 */
async function prepareSoftwareAdapter(): Promise<void> {
  if (process.platform !== 'linux') return;
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
  if (env.MESA_SHADER_CACHE_DIR && env.MESA_SHADER_CACHE_DISABLE !== 'true')
    await prepareCompilation(env.MESA_SHADER_CACHE_DIR);
}

async function ownCacheFolder(): Promise<string | null> {
  const { lstatSync, mkdirSync, realpathSync } = await import('node:fs');
  const { homedir, tmpdir } = await import('node:os');
  const orElse = <T>(body: () => T, otherwise: T): T => {
    try {
      return body();
    } catch {
      return otherwise;
    }
  };
  // homedir() throws for a user without HOME and without an entry in the system's list, as in a container.
  const home = orElse(() => realpathSync(homedir()), '');
  const user = { uid: process.geteuid?.() ?? -1, home, temporary: tmpdir() };
  return cacheFolder(process.env, user, {
    stat: (path) => orElse(() => lstatSync(path), null),
    makePrivate: (path) => orElse(() => void mkdirSync(path, { mode: 0o700 }), undefined),
  });
}

/**
 * Has another process do a job of compilation (see compile_ahead.ts), unless it was done before: the job's file stays beside the
 * driver's cache. Where there is no command to start (a page, another bundle), the driver compiles each kernel when it
 * comes to it.
 */
export let compileElsewhere: (job: unknown) => void = () => {};

async function prepareCompilation(cacheFolder: string): Promise<void> {
  const { existsSync, mkdirSync, writeFileSync } = await import('node:fs');
  const { spawn } = await import('node:child_process');
  const { join } = await import('node:path');
  const { fileURLToPath } = await import('node:url');
  const command = fileURLToPath(new URL('./compile.js', import.meta.url));
  if (!existsSync(command)) return;
  compileElsewhere = (job) => {
    const text = new TextEncoder().encode(JSON.stringify(job));
    const path = join(cacheFolder, `compiled-${crc32c(text).toString(16)}.json`);
    try {
      if (existsSync(path)) return;
      mkdirSync(cacheFolder, { recursive: true });
      writeFileSync(path, text);
    } catch {
      return; // no cache can be written: what another process compiles would be lost
    }
    const child = spawn(process.execPath, [command, path], { stdio: 'ignore' });
    child.on('error', () => {});
    child.unref();
  };
}
