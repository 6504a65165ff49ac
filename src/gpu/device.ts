/** Opening a device: the adapter, its features, and the limits to request. */
import { hostHere } from '#host';
import { adapterName } from './adapter_info.js';
import { chooseAdapter } from './adapters.js';
import type { Host } from './host.js';
import { SUBGROUP_SIZE } from './pipeline.js';
import { measuredLanes } from './subgroup_probe.js';
import { type Knobs, type TuningFile, type TuningSource, tuningName, tuningOf } from './tuning.js';

/** Facts about an adapter that decide which kernels run. */
export interface AdapterInfo {
  /** As the driver calls it, for example `llvmpipe (LLVM 15.0.6, 512 bits)`. */
  readonly name: string;
  readonly vendor: string;
  readonly architecture: string;
  readonly driver: string;
  /** It runs on the CPU: kernels without barriers are chosen, and waiting does not take a core from it. */
  readonly software: boolean;
  /** Subgroup size of the kernels that need to know it; 0 if the driver chooses one for each kernel. */
  readonly lanes: number;
  /** The smallest and the largest subgroup size. */
  readonly subgroupSizes: readonly [number, number];
  /** The products that its matrix units can compute; empty if it has none. */
  readonly subgroupMatrix: readonly SubgroupMatrixConfig[];
  /** Workgroup memory that a kernel may use, in bytes. */
  readonly workgroupBytes: number;
  readonly features: ReadonlySet<string>;
  readonly immediates: boolean;
  readonly knobs: Knobs;
  readonly tuning: TuningSource;
}

/** A product of matrices (M, K) and (K, N) that one subgroup computes at once. */
export interface SubgroupMatrixConfig {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** The options of `Gpu.open`, all optional. */
export interface OpenOptions {
  /** Its number in `listAdapters`, or a part of its name; the best adapter when absent. */
  readonly adapter?: string | number | undefined;
  /** Limit for all buffers and textures together, in bytes; no limit when absent. */
  readonly budgetBytes?: number;
  /** Optional features not to use although the adapter has them, for tests of the fallbacks. */
  readonly without?: readonly string[];
}

export const SUBGROUP_MATRIX = 'chromium-experimental-subgroup-matrix';
const WANTED_FEATURES = ['subgroups', 'timestamp-query', 'shader-f16', SUBGROUP_SIZE, SUBGROUP_MATRIX];
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
  const file = await host.tuningFile(tuningName(adapter.info));
  const limits: Record<string, number> = {};
  for (const name of WANTED_LIMITS) {
    const value = (adapter.limits as unknown as Record<string, number | undefined>)[name];
    if (value !== undefined) limits[name] = value;
  }
  const device = await adapter.requestDevice({
    requiredFeatures: features as GPUFeatureName[],
    requiredLimits: limits,
  });
  const known = {
    name: adapterName(adapter.info, names),
    ...{ software, features, immediates },
    lanes: await lanesOf(device, adapter.info),
    workgroupBytes: device.limits.maxComputeWorkgroupStorageSize,
  };
  return { device, info: adapterInfo(adapter.info as HostInfo, known, file) };
}

/** The fields of GPUAdapterInfo that an AdapterInfo is made from. */
export interface HostInfo extends Pick<GPUAdapterInfo, 'vendor' | 'architecture' | 'description'> {
  readonly subgroupMinSize: number;
  readonly subgroupMaxSize: number;
  // Not yet, or no longer, in the type definitions of WebGPU.
  readonly subgroupMatrixConfigs?: readonly SubgroupMatrixConfig[];
}

/** The description by which kernels are chosen, for the features that are used. */
export function adapterInfo(
  info: HostInfo,
  device: Pick<AdapterInfo, 'name' | 'software' | 'lanes' | 'workgroupBytes' | 'immediates'> & {
    readonly features: readonly string[];
  },
  file: TuningFile | null = null,
): AdapterInfo {
  const { vendor, architecture, description, subgroupMinSize, subgroupMaxSize } = info;
  const features = new Set(device.features);
  const subgroupMatrix = features.has(SUBGROUP_MATRIX)
    ? Array.from(info.subgroupMatrixConfigs ?? [], plainConfig)
    : [];
  const known = { ...device, ...{ vendor, architecture, features, subgroupMatrix } };
  return {
    ...known,
    driver: description,
    subgroupSizes: [subgroupMinSize, subgroupMaxSize],
    ...tuningOf(known, file),
  };
}

/**
 * The adapter's only subgroup size, or the one of its sizes that kernels ask for; 0 if the driver chooses. On an Intel card
 * 16 lanes leave each more registers; other cards run 32.
 */
export function askedLanes(
  { vendor, subgroupMinSize: least, subgroupMaxSize: most }: Omit<HostInfo, 'architecture' | 'description'>,
  features: ReadonlySet<string>,
): number {
  if (!features.has('subgroups')) return 0;
  if (least === most) return least;
  return features.has(SUBGROUP_SIZE) ? Math.min(Math.max(vendor === 'intel' ? 16 : 32, least), most) : 0;
}

/**
 * The same for a device. Metal knows no request for a size and reports 4 to 64 for every card, but Apple's own have one
 * size, which a kernel measures.
 */
export async function lanesOf(device: GPUDevice, info: GPUAdapterInfo): Promise<number> {
  const { features } = device;
  const measurable = info.vendor === 'apple' && features.has('subgroups');
  return askedLanes(info as HostInfo, features) || (measurable ? measuredLanes(device) : 0);
}

// The binding's object reads each field from the adapter, so it is copied.
const plainConfig = ({ componentType, resultComponentType, M, N, K }: SubgroupMatrixConfig) => ({
  componentType,
  resultComponentType,
  M,
  N,
  K,
});
