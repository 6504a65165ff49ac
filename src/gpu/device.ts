/** Opening an adapter: which one, what it can do, and the limits we ask it for. */
import { AdapterError } from '../core/errors.js';
import { adapterNames, loadGpu, withoutNativeWarnings } from './host.js';
import { type Knobs, knobsFor } from './tuning.js';

export interface AdapterInfo {
  /** As the driver calls it, for example `llvmpipe (LLVM 15.0.6, 512 bits)`. */
  readonly name: string;
  readonly vendor: string;
  readonly architecture: string;
  readonly driver: string;
  /** Runs on the CPU: kernels without barriers are chosen, and waiting leaves it the cores. */
  readonly software: boolean;
  /** Lanes of a subgroup where the adapter fixes them, else 0. */
  readonly lanes: number;
  /** The fewest and the most lanes of a subgroup. */
  readonly subgroupSizes: readonly [number, number];
  /** What its matrix units multiply; empty where it has none. */
  readonly subgroupMatrix: readonly SubgroupMatrixConfig[];
  /** Workgroup memory that a kernel may have, in bytes. */
  readonly workgroupBytes: number;
  readonly features: ReadonlySet<string>;
  readonly immediates: boolean;
  readonly knobs: Knobs;
}

/** A product of matrices (M, K) and (K, N) that one subgroup computes at once. */
export interface SubgroupMatrixConfig {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

export interface OpenOptions {
  /** A part of an adapter's name; the best adapter when absent. */
  readonly adapter?: string | undefined;
  /** Buffers in all, in bytes; no limit when absent. */
  readonly budgetBytes?: number;
  /** Optional features not to use though the adapter has them: for tests of the fallbacks. */
  readonly without?: readonly string[];
}

const SUBGROUP_MATRIX = 'chromium-experimental-subgroup-matrix';
const WANTED_FEATURES = ['subgroups', 'timestamp-query', 'shader-f16', SUBGROUP_MATRIX];
const WANTED_LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxTextureDimension2D',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'minStorageBufferOffsetAlignment',
  'maxImmediateSize',
] as const;

const NO_ADAPTER =
  'No WebGPU adapter was found. On Debian or Ubuntu, `node scripts/setup.mjs` installs a software one; elsewhere, install a Vulkan driver.';

export async function openAdapter(options: OpenOptions): Promise<{ device: GPUDevice; info: AdapterInfo }> {
  const gpu = await loadGpu(options.adapter);
  const adapter = await withoutNativeWarnings(() =>
    gpu.requestAdapter({ powerPreference: 'high-performance' }).catch(() => null),
  );
  if (!adapter) {
    const names = await adapterNames();
    if (names.length === 0) throw new AdapterError(NO_ADAPTER);
    throw new AdapterError(`No adapter's name contains "${options.adapter}". There is: ${names.join('; ')}.`);
  }
  const without = new Set(options.without);
  const features = WANTED_FEATURES.filter(
    (name) => adapter.features.has(name as GPUFeatureName) && !without.has(name),
  );
  const immediates = gpu.wgslLanguageFeatures.has('immediate_address_space') && !without.has('immediates');
  const limits: Record<string, number> = {};
  for (const name of WANTED_LIMITS) {
    const value = (adapter.limits as unknown as Record<string, number | undefined>)[name];
    if (value !== undefined) limits[name] = value;
  }
  const device = await adapter.requestDevice({
    requiredFeatures: features as GPUFeatureName[],
    requiredLimits: limits,
  });
  const { vendor, architecture, description, subgroupMinSize, subgroupMaxSize } = adapter.info;
  // Not yet, or no longer, in the type definitions of WebGPU.
  const { subgroupMatrixConfigs = [] } = adapter.info as { subgroupMatrixConfigs?: SubgroupMatrixConfig[] };
  const { isFallbackAdapter = false } = adapter as { isFallbackAdapter?: boolean };
  return {
    device,
    info: {
      name: adapterName(adapter.info, await adapterNames()),
      vendor,
      architecture,
      driver: description,
      software: isSoftware(adapter.info, isFallbackAdapter),
      lanes: features.includes('subgroups') && subgroupMinSize === subgroupMaxSize ? subgroupMinSize : 0,
      subgroupSizes: [subgroupMinSize, subgroupMaxSize],
      subgroupMatrix: features.includes(SUBGROUP_MATRIX)
        ? Array.from(subgroupMatrixConfigs, plainConfig)
        : [],
      workgroupBytes: device.limits.maxComputeWorkgroupStorageSize,
      features: new Set(features),
      immediates,
      knobs: knobsFor(adapter.info),
    },
  };
}

// The binding's own object reads its fields from the adapter.
const plainConfig = ({ componentType, resultComponentType, M, N, K }: SubgroupMatrixConfig) => ({
  componentType,
  resultComponentType,
  M,
  N,
  K,
});

/** What an adapter says of itself (GPUAdapterInfo); a host that keeps something to itself has an empty string for it. */
export interface Said {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
  readonly isFallbackAdapter?: boolean;
}

/**
 * Whether an adapter runs on the CPU. WebGPU calls such an adapter a fallback adapter: a flag of the info, `flagged` where an
 * older host has it on the adapter. Without the flag, names tell: Dawn gives vendor and architecture, in Node the
 * device too; wgpu, in Deno, a description. Where there is neither, as in a Firefox without the flag, an adapter
 * counts as a GPU.
 */
export function isSoftware(info: Said, flagged = false): boolean {
  const { architecture, device, description } = info;
  return (
    flagged ||
    info.isFallbackAdapter === true ||
    /^(software|swiftshader|warp)$/i.test(architecture) ||
    /llvmpipe|swiftshader|lavapipe|\bwarp\b|basic.render/i.test(`${device} ${description}`)
  );
}

/**
 * An adapter's name for people. `known` are the names as the driver writes them, which `--adapter` matches; Dawn gives the device
 * as an identifier made of one of them. Elsewhere the device is a number or missing, and the description is the name.
 */
export function adapterName(
  { vendor, architecture, device, description }: Said,
  known: readonly string[],
): string {
  const ofDriver = known.find((name) => slug(name) === slug(device));
  if (ofDriver) return ofDriver;
  const words = (...texts: string[]) => texts.filter((text) => !/^(0x[0-9a-f]+|\d+)?$/i.test(text)).join(' ');
  return words(device) || words(description) || words(vendor, architecture) || 'an adapter without a name';
}

const slug = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]+/g, '-');
