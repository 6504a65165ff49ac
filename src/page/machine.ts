/** The machine, as the browser describes it. */
import type { Gpu } from '../gpu/gpu.js';
import type { Machine } from './messages.js';

/** The limits that decide which kernels run. */
const LIMITS = [
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxStorageBufferBindingSize',
  'maxBufferSize',
] as const;

/** The facts about an open device that people need to understand its results. */
export function machineOf({ info, device }: Gpu): Machine {
  return {
    ...{ adapter: info.name, vendor: info.vendor, architecture: info.architecture, software: info.software },
    features: [...info.features].sort(),
    immediates: info.immediates,
    tuning: info.tuning.file ?? 'defaults, because nobody measured this adapter',
    limits: Object.fromEntries(LIMITS.map((name) => [name, device.limits[name]])),
  };
}
