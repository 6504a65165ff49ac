/**
 * The host: how WebGPU is reached. A page and Deno have `navigator.gpu`; Node gets Dawn from the package `webgpu`. package.json
 * chooses the file behind `#host`: host_node.ts in Node, host_web.ts elsewhere.
 */
import { AdapterError } from '../core/errors.js';
import { adapterName, isSoftware } from './adapter_info.js';
import type { CompileJob } from './compile_ahead.js';
import type { TuningFile } from './tuning.js';

/** A way to reach WebGPU. Another runtime, or a test, can bring its own. */
export interface Host {
  /** The adapters of this machine, best first, which is the order that `--adapter` counts in; empty if there is none. */
  adapters(): Promise<HostAdapter[]>;
  /**
   * Compiles kernels in another process, to fill the driver's cache (see compile_ahead.ts). Does nothing where there is
   * no such process or no such cache: the driver then compiles each kernel when it first runs.
   */
  compileElsewhere(job: CompileJob): void;
  /** The knobs that were measured for the adapter of this name (see tuning.ts); null where the host keeps none. */
  tuningFile(name: string): Promise<TuningFile | null>;
  /** True if it looks for finished work only every so often, and at each submit: Firefox does so every 100 ms. */
  readonly slowPolls?: boolean;
}

/** An adapter that a host lists and can open. */
export interface HostAdapter {
  /** Two equal cards have the same name. */
  readonly name: string;
  /** Null if this host can only open another adapter in its place. */
  request(): Promise<GrantedAdapter | null>;
}

/** An adapter that WebGPU has granted, and what it says of it. */
export interface GrantedAdapter {
  readonly adapter: GPUAdapter;
  /** It runs on the CPU. */
  readonly software: boolean;
  readonly languageFeatures: ReadonlySet<string>;
}

/** An integrated GPU comes after a discrete one. */
export const PREFERENCE = { powerPreference: 'high-performance' } as const;

/** The adapter that `gpu` prefers; null if it has none. */
export async function grant(gpu: GPU): Promise<GrantedAdapter | null> {
  const adapter = await gpu.requestAdapter(PREFERENCE).catch(() => null);
  if (!adapter) return null;
  // Not yet, or no longer, in the type definitions of WebGPU.
  const { isFallbackAdapter = false } = adapter as { isFallbackAdapter?: boolean };
  return {
    adapter,
    software: isSoftware(adapter.info, isFallbackAdapter),
    languageFeatures: gpu.wgslLanguageFeatures,
  };
}

/** True if this page, or this Deno, has WebGPU at all. */
export const hasWebGpu = (): boolean => globalThis.navigator?.gpu !== undefined;

const NO_WEBGPU =
  'This browser has no WebGPU. Use a newer one, and serve the page over https or from localhost.';
const NO_WEBGPU_IN_DENO = 'This Deno has no WebGPU. Start it with --unstable-webgpu.';

/** A page or Deno: it hands out one adapter and does not say which others there are. */
export const webHost: Host = {
  async adapters() {
    const gpu = globalThis.navigator?.gpu;
    if (!gpu) throw new AdapterError('Deno' in globalThis ? NO_WEBGPU_IN_DENO : NO_WEBGPU);
    const granted = await grant(gpu);
    if (!granted) return [];
    // An adapter gives one device, so each request asks for an adapter of its own.
    return [{ name: adapterName(granted.adapter.info, []), request: () => grant(gpu) }];
  },
  compileElsewhere() {},
  tuningFile: async () => null,
  slowPolls: /Firefox\//.test(globalThis.navigator?.userAgent ?? ''),
};
