/**
 * Compiling ahead, for software adapters. Their driver compiles a kernel on the processor when it first runs, one after
 * another, and keeps the result in a cache on disk. A second process compiles the kernels of a long submission from its
 * end while this one compiles and runs them from its start; where they meet, the rest is in the cache.
 */
import { type Command, setImmediates, TEXELS_PER_ROW } from './commands.js';
import { DeviceErrors } from './device_errors.js';
import { type Compiled, type Kernel, PipelineCache, type Specialisation } from './pipeline.js';

/** What the other process is told: an adapter by its name, and kernels in order. */
export interface CompileJob {
  readonly adapter: string;
  readonly kernels: readonly { readonly kernel: Kernel; readonly specialisation: Specialisation }[];
}

/** Fewer new kernels than this are not worth a process. */
const WORTH_IT = 8;

/** The job for those pipelines of a submission that have not run before, last ones first; null when there are few. */
export function jobFor(
  adapter: string,
  commands: readonly Command[],
  known: Set<Compiled>,
): CompileJob | null {
  const fresh: Compiled[] = [];
  for (const command of commands)
    if (command.kind === 'dispatch' && !known.has(command.compiled)) {
      known.add(command.compiled);
      fresh.push(command.compiled);
    }
  if (fresh.length < WORTH_IT) return null;
  return {
    adapter,
    kernels: fresh.reverse().map(({ kernel, specialisation }) => ({ kernel, specialisation })),
  };
}

// Bound in place of operands: nothing is read or written, because nothing runs.
const QUAD_BYTES = 16;

/** Compiles kernels on `device`, in order, by dispatching zero workgroups of each. */
export function compileAll(
  device: GPUDevice,
  immediates: boolean,
  kernels: readonly { readonly kernel: Kernel; readonly specialisation: Specialisation }[],
): void {
  const cache = new PipelineCache(device, immediates, new DeviceErrors()); // the process that runs them reports errors
  const buffer = (usage: number, size = QUAD_BYTES) => device.createBuffer({ size, usage });
  // One a binding: what may be written must not be bound twice.
  const most = Math.max(...kernels.map(({ kernel }) => kernel.interface.bindings.length));
  const storage = Array.from({ length: most }, () => buffer(0x80));
  const uniform = buffer(0x40, 64);
  // WebGPU itself would drop a direct dispatch of nothing; one whose size is in a buffer reaches the driver.
  const zeroGroups = buffer(0x100);
  const texture = device
    .createTexture({ size: [TEXELS_PER_ROW, 1], format: 'rgba32float', usage: 0x08 })
    .createView();
  for (const { kernel, specialisation } of kernels) {
    const { pipeline, layout } = cache.get(kernel, specialisation);
    const { bindings, fields } = kernel.interface;
    const entries: GPUBindGroupEntry[] = bindings.map(({ kind }, binding) => ({
      binding,
      resource: kind === 'texture' ? texture : { buffer: storage[binding] as GPUBuffer },
    }));
    if (fields.length > 0 && !immediates)
      entries.push({ binding: entries.length, resource: { buffer: uniform } });
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, device.createBindGroup({ layout, entries }));
    if (fields.length > 0 && immediates) setImmediates(pass, new ArrayBuffer(4 * fields.length));
    pass.dispatchWorkgroupsIndirect(zeroGroups, 0);
    pass.end();
    device.queue.submit([encoder.finish()]);
  }
}
