/**
 * Adapters of the world: what each would report to the engine, so that the choice of kernels can be read and tested without
 * the hardware. Each row names its sources. A figure without one is WebGPU's default.
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

// Dawn in Node gives no tiers of limits, but at most 16 storage buffers a stage, and buffers of 2 GiB where the driver
// does not say how large they may be (Dawn's Constants.h).
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
const NVIDIA_LISTS =
  "sizes of matrices: KhronosGroup/VK-GL-CTS issue 546; textures: KhronosGroup/Vulkan-Tools pull request 106; storage range: Dawn's PhysicalDeviceVk.cpp";

const amd = {
  ...GPU,
  vendor: 'amd',
  limits: { ...vulkan, maxComputeWorkgroupStorageSize: 64 * KiB },
  subgroupSizes: [32, 64],
} as const;
const AMD_LIMITS = 'limits of an RX 6500 XT: KomputeProject/kompute issue 275';

const intel = { ...GPU, vendor: 'intel', limits: vulkan, subgroupSizes: [8, 32] } as const;

const apple = {
  ...GPU,
  vendor: 'apple',
  architecture: 'metal-3',
  limits: { ...vulkan, maxStorageBuffersPerShaderStage: 10, maxBufferSize: 4 * GiB - 1 },
  features: METAL,
  subgroupSizes: [32, 32],
  subgroupMatrix: [...matrices('f32', 'f32', [8, 8, 8]), ...matrices('f16', 'f16', [8, 8, 8])],
} as const;
const APPLE_LIMITS = "Dawn's PhysicalDeviceMTL.mm, GPU family";

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
    source: `f16 matrices with f32 results: bench/results/nvidia-h100.md; subgroups and workgroup memory of an RTX 4070: ggml-org/llama.cpp pull request 14903; ${NVIDIA_LISTS}`,
  },
  {
    name: 'NVIDIA GeForce RTX 4090',
    ...nvidia,
    architecture: 'lovelace',
    source: `subgroups and workgroup memory of an RTX 4070: ggml-org/llama.cpp pull request 14903; ${NVIDIA_LISTS}`,
  },
  {
    name: 'NVIDIA GeForce RTX 2060',
    ...nvidia,
    architecture: 'turing',
    source: `subgroups, workgroups of a T4: iree-org/iree pull request 3469; matrices from RTX 2000 on: ggml-org/llama.cpp pull request 10597; ${NVIDIA_LISTS}`,
  },
  {
    name: 'AMD Radeon RX 6700 XT',
    ...amd,
    ...NO_MATRICES,
    architecture: 'rdna-2',
    source: `subgroups and workgroups of an RX 6650 XT: sharpemu/sharpemu pull request 332; workgroup memory of RADV: ggml-org/llama.cpp pull request 13324; ${AMD_LIMITS}`,
  },
  {
    name: 'AMD Radeon RX 7900 XTX',
    ...amd,
    architecture: 'rdna-3',
    features: MATRICES,
    subgroupMatrix: ['f16', 'f32'].flatMap((result) => matrices('f16', result, [16, 16, 16])),
    source: `matrices: pytorch/executorch pull request 18726; workgroup memory: ggml-org/llama.cpp pull request 27952; subgroups as of RDNA 2; ${AMD_LIMITS}`,
  },
  {
    name: 'Intel Arc A770',
    ...intel,
    architecture: 'gen-12hp',
    features: MATRICES,
    subgroupMatrix: ['f16', 'f32'].flatMap((result) => matrices('f16', result, [8, 8, 16])),
    source:
      "workgroup memory: ggml-org/llama.cpp pull request 14001; subgroups, limits of Intel's driver for Linux: smxi/inxi issue 284; matrices: Mesa's intel_device_info.c",
  },
  {
    name: 'Intel Iris Xe',
    ...intel,
    ...NO_MATRICES,
    architecture: 'gen-12lp',
    limits: { ...vulkan, maxComputeWorkgroupStorageSize: 16 * KiB },
    source:
      "subgroups: google/uVkCompute issue 43; limits of Intel's driver for Linux: smxi/inxi issue 284; workgroup memory: WebGPU's default",
  },
  { name: 'Apple M1', ...apple, source: `${APPLE_LIMITS} Apple7` },
  { name: 'Apple M2', ...apple, source: `${APPLE_LIMITS} Apple8` },
  { name: 'Apple M4', ...apple, source: `${APPLE_LIMITS} Apple9` },
  {
    name: 'Qualcomm Adreno 750',
    ...GPU,
    ...NO_MATRICES,
    vendor: 'qualcomm',
    architecture: 'adreno-7xx',
    limits: { ...vulkan, maxStorageBufferBindingSize: 128 * MiB },
    subgroupSizes: [64, 128],
    source:
      'workgroup memory, f16: ggml-org/ggml issue 1287; subgroups: termux/termux-packages pull request 7165; storage range of an Adreno 702: meta-flutter/workspace-automation issue 150; workgroups: ggml-org/whisper.cpp pull request 3590',
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
      "subgroups, workgroup memory: ggml-org/llama.cpp pull request 27163; storage range, textures of a Mali-G615: leegao/bionic-vulkan-wrapper issue 124; workgroups: WebGPU's default",
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
    source: "features: WebKit's HardwareCapabilities.mm; WebGPU's default limits",
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
