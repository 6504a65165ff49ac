/**
 * What GPUs, software adapters and browsers report to the engine, so that the choice of kernels can be read and tested
 * without the hardware. Each row names its sources. A limit without a source is WebGPU's default.
 */
import { type AdapterInfo, adapterInfo, askedLanes, type SubgroupMatrixConfig } from './device.js';
import type { KernelLimits } from './dry_device.js';
import { SUBGROUP_SIZE } from './pipeline.js';

export interface KnownAdapter {
  readonly name: string;
  /** Vendor and architecture as Dawn's gpu_info.json names them. */
  readonly vendor: string;
  readonly architecture: string;
  /** It runs on the CPU. */
  readonly software: boolean;
  readonly limits: KernelLimits;
  readonly features: readonly string[];
  readonly immediates: boolean;
  /** The smallest and the largest subgroup size. */
  readonly subgroupSizes: readonly [number, number];
  readonly subgroupMatrix: readonly SubgroupMatrixConfig[];
  /** The pages that the figures are from. */
  readonly source: string;
}

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

/** WebGPU's default limits, https://gpuweb.github.io/gpuweb/#limits. */
const defaults: KernelLimits = {
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupStorageSize: 16 * KiB,
  maxStorageBuffersPerShaderStage: 8,
  maxStorageBufferBindingSize: 128 * MiB,
  maxBufferSize: 256 * MiB,
  maxTextureDimension2D: 8192,
};

// Dawn in Node rounds no limit down, but gives at most 16 storage buffers a stage. Where no source says how large a buffer
// may be, it has the 2 GiB that Dawn assumes (its Constants.h).
const vulkan: KernelLimits = {
  ...defaults,
  maxComputeInvocationsPerWorkgroup: 1024,
  maxComputeWorkgroupSizeX: 1024,
  maxComputeWorkgroupStorageSize: 32 * KiB,
  maxStorageBuffersPerShaderStage: 16,
  maxStorageBufferBindingSize: 4 * GiB - 1,
  maxBufferSize: 2 * GiB,
  maxTextureDimension2D: 16384,
};

// Dawn offers the choice of a subgroup size under Vulkan, not on Metal.
const METAL = ['shader-f16', 'subgroups', 'timestamp-query', 'chromium-experimental-subgroup-matrix'];
const F16 = ['shader-f16', 'subgroups', SUBGROUP_SIZE, 'timestamp-query'];
const MATRICES = [...F16, 'chromium-experimental-subgroup-matrix'];

const matrices = (
  componentType: string,
  resultComponentType: string,
  ...sizes: readonly (readonly [number, number, number])[]
): SubgroupMatrixConfig[] => sizes.map(([M, N, K]) => ({ componentType, resultComponentType, M, N, K }));

const GPU = { software: false, immediates: true } as const;
const NO_MATRICES = { features: F16, subgroupMatrix: [] } as const;

const nvidia = {
  ...GPU,
  vendor: 'nvidia',
  // Dawn lets no binding reach 2 GiB on NVIDIA.
  limits: {
    ...vulkan,
    maxComputeWorkgroupStorageSize: 48 * KiB,
    maxStorageBufferBindingSize: 2 * GiB - 4,
    maxTextureDimension2D: 32768,
  },
  features: MATRICES,
  subgroupSizes: [32, 32],
  subgroupMatrix: ['f16', 'f32'].flatMap((result) =>
    matrices('f16', result, [16, 8, 8], [16, 8, 16], [16, 16, 16]),
  ),
} as const;
const NVIDIA_SOURCES =
  "workgroups of a T4: iree-org/iree pull request 3469; textures of a GTX 1050 Ti: KhronosGroup/Vulkan-Tools pull request 106; storage range: Dawn's PhysicalDeviceVk.cpp; sizes of matrices: KhronosGroup/VK-GL-CTS issue 546; their f32 results: an H100, bench/results/nvidia-h100.md";
const OF_RTX_4070 = 'subgroups, workgroup memory of an RTX 4070: ggml-org/llama.cpp pull request 14903';

const amd = {
  ...GPU,
  vendor: 'amd',
  limits: { ...vulkan, maxComputeWorkgroupStorageSize: 64 * KiB },
  subgroupSizes: [32, 64],
} as const;
const AMD_SOURCES =
  'storage range, textures of an RX 6500 XT: KomputeProject/kompute issue 275; workgroups, subgroups of an RX 6650 XT: sharpemu/sharpemu pull request 332';

const intel = {
  ...GPU,
  vendor: 'intel',
  limits: { ...vulkan, maxStorageBufferBindingSize: GiB },
  subgroupSizes: [8, 32],
} as const;
const INTEL_SOURCES =
  'subgroups of Xe (TGL): google/uVkCompute issue 43; workgroups: gpuweb/gpuweb issue 6243; storage range, textures of a UHD 630: KhronosGroup/Vulkan-Tools issue 491';

const apple = {
  ...GPU,
  vendor: 'apple',
  architecture: 'metal-3',
  limits: { ...vulkan, maxStorageBuffersPerShaderStage: 10, maxBufferSize: 4 * GiB - 1 },
  features: METAL,
  subgroupSizes: [32, 32],
  subgroupMatrix: [...matrices('f32', 'f32', [8, 8, 8]), ...matrices('f16', 'f16', [8, 8, 8])],
} as const;
const APPLE_SOURCE =
  "Dawn's PhysicalDeviceMTL.mm of 2026 (older ones report subgroups of 4 to 64); buffers where the machine has the memory; GPU family";

const llvmpipe = (lanes: number): KnownAdapter => ({
  name: `llvmpipe (LLVM 15.0.6, ${32 * lanes} bits)`,
  ...{ vendor: 'mesa', architecture: 'software', software: true, immediates: true, ...NO_MATRICES },
  limits: { ...vulkan, maxStorageBufferBindingSize: 128 * MiB, maxBufferSize: 4 * GiB - 1 },
  subgroupSizes: [lanes, lanes],
  source: `Mesa 25.0.7 with LP_NATIVE_VECTOR_WIDTH=${32 * lanes}, as webgpu 0.6.2 reports it`,
});

/** A browser that offers no more than it must. */
const page = {
  ...{ vendor: '', architecture: '', software: false, immediates: false, limits: defaults },
  features: ['shader-f16', 'timestamp-query'],
  subgroupSizes: [4, 128],
  subgroupMatrix: [],
} as const;

export const knownAdapters: readonly KnownAdapter[] = [
  {
    name: 'NVIDIA H100',
    ...nvidia,
    architecture: 'hopper',
    source: `${OF_RTX_4070}; ${NVIDIA_SOURCES}`,
  },
  {
    name: 'NVIDIA GeForce RTX 4090',
    ...nvidia,
    architecture: 'lovelace',
    source: `${OF_RTX_4070}; ${NVIDIA_SOURCES}`,
  },
  {
    name: 'NVIDIA GeForce RTX 2060',
    ...nvidia,
    architecture: 'turing',
    source: `subgroups, workgroup memory of a T4 as its workgroups; matrices from RTX 2000 on: ggml-org/llama.cpp pull request 10597; ${NVIDIA_SOURCES}`,
  },
  {
    name: 'AMD Radeon RX 6700 XT',
    ...amd,
    ...NO_MATRICES,
    architecture: 'rdna-2',
    source: `workgroup memory of an RX 5700 XT: ggml-org/llama.cpp pull request 13324; ${AMD_SOURCES}`,
  },
  {
    name: 'AMD Radeon RX 7900 XTX',
    ...amd,
    architecture: 'rdna-3',
    features: MATRICES,
    subgroupMatrix: ['f16', 'f32'].flatMap((result) => matrices('f16', result, [16, 16, 16])),
    source: `matrices: pytorch/executorch pull request 18726; workgroup memory: ggml-org/llama.cpp pull request 27952; ${AMD_SOURCES}`,
  },
  {
    name: 'Intel Arc A770',
    ...intel,
    architecture: 'gen-12hp',
    features: MATRICES,
    subgroupMatrix: ['f16', 'f32'].flatMap((result) => matrices('f16', result, [8, 8, 16])),
    source: `workgroup memory: ggml-org/llama.cpp pull request 14001; matrices: Mesa's intel_device_info.c; ${INTEL_SOURCES}`,
  },
  {
    name: 'Intel Iris Xe',
    ...intel,
    ...NO_MATRICES,
    architecture: 'gen-12lp',
    limits: { ...intel.limits, maxComputeWorkgroupStorageSize: 16 * KiB },
    source: `${INTEL_SOURCES}; workgroup memory: WebGPU's default`,
  },
  { name: 'Apple M1', ...apple, source: `${APPLE_SOURCE} Apple7` },
  { name: 'Apple M2', ...apple, source: `${APPLE_SOURCE} Apple8` },
  { name: 'Apple M4', ...apple, source: `${APPLE_SOURCE} Apple9` },
  {
    name: 'Qualcomm Adreno 750',
    ...GPU,
    ...NO_MATRICES,
    vendor: 'qualcomm',
    architecture: 'adreno-7xx',
    limits: {
      ...vulkan,
      maxComputeInvocationsPerWorkgroup: 256,
      maxComputeWorkgroupSizeX: 256,
      maxStorageBufferBindingSize: 128 * MiB,
    },
    subgroupSizes: [64, 128],
    source:
      "subgroups of 128, workgroup memory, f16: ggml-org/ggml issue 1287; subgroups of 64 (Adreno 735): ggml-org/llama.cpp issue 5739; storage range, textures of an Adreno 702: meta-flutter/workspace-automation issue 150; workgroups: WebGPU's default",
  },
  {
    name: 'ARM Mali-G720',
    ...GPU,
    ...NO_MATRICES,
    vendor: 'arm',
    architecture: '',
    limits: {
      ...vulkan,
      maxComputeInvocationsPerWorkgroup: 256,
      maxComputeWorkgroupSizeX: 256,
      maxStorageBufferBindingSize: 2 * GiB,
      maxTextureDimension2D: 65536,
    },
    subgroupSizes: [16, 16],
    source:
      "subgroups, workgroup memory, no matrices: ggml-org/llama.cpp pull request 27163; f16: ggml-org/llama.cpp issue 5739; storage range, textures of a Mali-G615: leegao/bionic-vulkan-wrapper issue 124; workgroups: WebGPU's default",
  },
  {
    name: 'SwiftShader Device (Subzero)',
    ...{ vendor: 'google', architecture: 'swiftshader', software: true, immediates: true },
    limits: { ...defaults, maxStorageBuffersPerShaderStage: 10 },
    features: ['subgroups', 'timestamp-query'],
    subgroupSizes: [4, 4],
    subgroupMatrix: [],
    source:
      "as Chromium 156 reports it: subgroups, features, storage buffers; other limits: WebGPU's default limits",
  },
  ...[4, 8, 16].map(llvmpipe),
  {
    name: 'a page in Firefox',
    ...page,
    source:
      "features as Firefox 153 reports them; subgroups: mozilla-firefox/firefox dom/webgpu/Adapter.cpp; WebGPU's default limits",
  },
  {
    name: 'a page in Safari',
    ...page,
    source: "features: WebKit's HardwareCapabilities.mm; WebGPU's default limits, the least that it offers",
  },
];

/** The description by which kernels are chosen for a known adapter. */
export function infoOf(known: KnownAdapter): AdapterInfo {
  const { name, software, features, immediates, limits, subgroupMatrix } = known;
  const [subgroupMinSize, subgroupMaxSize] = known.subgroupSizes;
  const { vendor, architecture, source } = known;
  const sizes = { subgroupMinSize, subgroupMaxSize };
  return adapterInfo(
    { ...{ vendor, architecture, description: source }, ...sizes, subgroupMatrixConfigs: subgroupMatrix },
    {
      ...{ name, software, features, immediates },
      lanes: askedLanes({ vendor, ...sizes }, new Set(features)),
      workgroupBytes: limits.maxComputeWorkgroupStorageSize,
    },
  );
}
