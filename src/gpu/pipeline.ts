/** Pipelines from kernels: tuned, specialised, compiled once, and cached. Compile errors name file, line and column. */
import { KernelError, LimitError } from '../core/errors.js';
import type { DeviceErrors } from './device_errors.js';
import { writeOutLoops } from './unroll.js';
import {
  applyTuning,
  type Binding,
  boundWith,
  type Interface,
  immediatesAsUniform,
  originOf,
  readInterface,
  withBindings,
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

export interface Compiled {
  readonly id: number;
  readonly kernel: Kernel;
  readonly specialisation: Specialisation;
  /** What it binds, in binding order. */
  readonly bindings: readonly Binding[];
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
  ) {}

  get(kernel: Kernel, specialisation: Specialisation): Compiled {
    const { overrides = {}, tune = {} } = specialisation;
    const tuning = Object.entries(tune).sort().join();
    const key = `${kernel.name}|${tuning}|${Object.entries(overrides).sort().join()}`;
    let compiled = this.pipelines.get(key);
    if (!compiled) {
      compiled = this.compile(kernel, specialisation, tuning);
      this.pipelines.set(key, compiled);
    }
    return compiled;
  }

  private module(
    kernel: Kernel,
    { tune = {} }: Specialisation,
    tuning: string,
    bindings: readonly Binding[],
  ): GPUShaderModule {
    const key = `${kernel.name}|${tuning}|${bindings.map(({ name }) => name).join()}`;
    const known = this.modules.get(key);
    if (known) return known;
    const tuned = applyTuning(kernel.name, kernel.source, tune);
    let code = withBindings(writeOutLoops(kernel.name, tuned), bindings);
    if (!this.immediates) code = immediatesAsUniform(code, bindings.length);
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

  private compile(kernel: Kernel, specialisation: Specialisation, tuning: string): Compiled {
    const { overrides = {} } = specialisation;
    const { fields } = kernel.interface;
    const bindings = boundWith(kernel.interface, overrides);
    this.demandRoom(kernel, bindings);
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
        module: this.module(kernel, specialisation, tuning, bindings),
        entryPoint: 'main',
        constants: Object.fromEntries(
          Object.entries(overrides).map(([name, value]) => [name, Number(value)]),
        ),
      },
    });
    return { id: this.pipelines.size, kernel, specialisation, bindings, pipeline, layout };
  }

  private demandRoom({ name, interface: { fields } }: Kernel, bindings: readonly Binding[]): void {
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
