/** Opening an adapter: which one, what it can do, and the limits we ask it for. */
import { adapterName } from './adapter_info.js';
import { chooseAdapter } from './adapters.js';
import { type Host, hostHere } from './host.js';
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
  /** Its number in `listAdapters`, or a part of its name; the best adapter when absent. */
  readonly adapter?: string | number | undefined;
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

export async function openAdapter(
  options: OpenOptions,
  host: Host = hostHere(),
): Promise<{ device: GPUDevice; info: AdapterInfo }> {
  const { names, granted } = await chooseAdapter(host, options.adapter);
  const { adapter, software, languageFeatures } = granted;
  const without = new Set(options.without);
  const features = WANTED_FEATURES.filter(
    (name) => adapter.features.has(name as GPUFeatureName) && !without.has(name),
  );
  const immediates = languageFeatures.has('immediate_address_space') && !without.has('immediates');
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
  return {
    device,
    info: {
      name: adapterName(adapter.info, names),
      vendor,
      architecture,
      driver: description,
      software,
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
