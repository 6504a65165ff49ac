/** Pipelines from kernels: tuned, specialised, compiled once, and cached. Compile errors name file, line and column. */
import { KernelError, LimitError } from '../core/errors.js';
import type { DeviceErrors } from './device_errors.js';
import type { PipelineTime } from './diagnostics.js';
import { writeOutLoops } from './unroll.js';
import {
  applyTuning,
  type Interface,
  immediatesAsUniform,
  originOf,
  readInterface,
  withoutSubgroupSize,
} from './wgsl.js';

/** The linked text of a `.wgsl` file, and its bindings, parameters and constants. */
export interface Kernel {
  readonly name: string;
  readonly source: string;
  readonly interface: Interface;
}

export function defineKernel(name: string, source: string): Kernel {
  return { name, source, interface: readInterface(name, source) };
}

export interface Specialisation {
  /** Values for `override` declarations; booleans become 0 and 1. */
  readonly overrides?: Readonly<Record<string, number | boolean>>;
  /** Values for `const NAME = 4u; // tune` lines. */
  readonly tune?: Readonly<Record<string, number>>;
}

/** The constants that are not 0, as `DEPTH=16 ACCUMULATE`. */
export function constantsOf({ tune = {}, overrides = {} }: Specialisation): string {
  return Object.entries({ ...tune, ...overrides })
    .flatMap(([name, value]) => (value ? [value === true ? name : `${name}=${value}`] : []))
    .join(' ');
}

export interface Compiled {
  readonly id: number;
  readonly kernel: Kernel;
  readonly specialisation: Specialisation;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

const COMPUTE = 4;
/** The feature by which a kernel asks for its subgroup size. */
export const SUBGROUP_SIZE = 'subgroup-size-control';

function layoutEntry(binding: number, kind: string): GPUBindGroupLayoutEntry {
  const visibility = COMPUTE;
  if (kind === 'texture')
    return { binding, visibility, storageTexture: { access: 'read-only', format: 'rgba32float' } };
  return { binding, visibility, buffer: { type: kind === 'read' ? 'read-only-storage' : 'storage' } };
}

export class PipelineCache {
  private readonly pipelines = new Map<string, Compiled>();
  private readonly modules = new Map<string, GPUShaderModule>();

  constructor(
    private readonly device: GPUDevice,
    private readonly immediates: boolean,
    private readonly errors: DeviceErrors,
    private readonly times: PipelineTime[] = [],
  ) {}

  get(kernel: Kernel, specialisation: Specialisation): Compiled {
    const { overrides = {}, tune = {} } = specialisation;
    const tuning = Object.entries(tune).sort().join();
    const key = `${kernel.name}|${tuning}|${Object.entries(overrides).sort().join()}`;
    let compiled = this.pipelines.get(key);
    if (!compiled) {
      const start = performance.now();
      compiled = this.compile(kernel, this.module(kernel, tune, tuning), specialisation);
      const ms = performance.now() - start;
      this.times.push({ kernel: kernel.name, constants: constantsOf(specialisation), ms });
      this.pipelines.set(key, compiled);
    }
    return compiled;
  }

  private module(kernel: Kernel, tune: Readonly<Record<string, number>>, tuning: string): GPUShaderModule {
    const key = `${kernel.name}|${tuning}`;
    const known = this.modules.get(key);
    if (known) return known;
    let code = writeOutLoops(kernel.name, applyTuning(kernel.name, kernel.source, tune));
    if (!this.immediates) code = immediatesAsUniform(code, kernel.interface.bindings.length);
    if (!this.device.features.has(SUBGROUP_SIZE as GPUFeatureName)) code = withoutSubgroupSize(code);
    const module = this.device.createShaderModule({ code, label: kernel.name });
    this.modules.set(key, module);
    const told = module.getCompilationInfo().then(({ messages }) => {
      const worst = messages.find((message) => message.type === 'error');
      if (!worst) return;
      const where = `${originOf(kernel.name, kernel.source, worst.lineNum)}:${worst.linePos}`;
      this.errors.fail(new KernelError(`${where}: ${worst.message}`), true);
    });
    this.errors.expect(told);
    return module;
  }

  private compile(kernel: Kernel, module: GPUShaderModule, specialisation: Specialisation): Compiled {
    const { bindings, fields } = kernel.interface;
    this.demandRoom(kernel);
    const entries = bindings.map(({ kind }, binding) => layoutEntry(binding, kind));
    const uniform = fields.length > 0 && !this.immediates;
    if (uniform) entries.push({ binding: bindings.length, visibility: COMPUTE, buffer: { type: 'uniform' } });
    const layout = this.device.createBindGroupLayout({ entries, label: kernel.name });
    const descriptor = {
      bindGroupLayouts: [layout],
      immediateSize: this.immediates ? 4 * fields.length : 0,
    };
    const pipeline = this.device.createComputePipeline({
      label: kernel.name,
      layout: this.device.createPipelineLayout(descriptor),
      compute: {
        module,
        entryPoint: 'main',
        constants: Object.fromEntries(
          Object.entries(specialisation.overrides ?? {}).map(([name, value]) => [name, Number(value)]),
        ),
      },
    });
    return { id: this.pipelines.size, kernel, specialisation, pipeline, layout };
  }
  private demandRoom({ name, interface: { bindings, fields } }: Kernel): void {
    const { maxStorageBuffersPerShaderStage: most } = this.device.limits;
    const buffers = bindings.filter(({ kind }) => kind !== 'texture').length;
    if (buffers > most)
      throw new LimitError(`[${name}] binds ${buffers} buffers; this adapter allows ${most}.`);
    const { maxImmediateSize } = this.device.limits as { maxImmediateSize?: number };
    if (this.immediates && 4 * fields.length > (maxImmediateSize ?? 64))
      throw new LimitError(
        `[${name}] has ${4 * fields.length} bytes of parameters; this adapter allows ${maxImmediateSize ?? 64}.`,
      );
  }
}
