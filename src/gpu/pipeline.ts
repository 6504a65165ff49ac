/** Pipelines from kernels: tuned, specialised, compiled once, and cached. Compile errors name file, line and column. */
import { KernelError, LimitError } from '../core/errors.js';
import type { DeviceErrors } from './device_errors.js';
import type { PipelineTime } from './diagnostics.js';
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

/**
 * A kernel from WGSL whose entry point is `main`. `name` is for messages and profiles. Bindings, parameters (`struct Params`) and
 * tuned constants are read from the text. Throws a KernelError if their form is not that of docs/kernels.md.
 */
export function defineKernel(name: string, source: string): Kernel {
  return { name, source, interface: readInterface(name, source) };
}

/** The constants that a kernel is compiled with. */
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

/** A kernel with its constants: what a pipeline is compiled from. */
export interface Specialised {
  readonly kernel: Kernel;
  readonly specialisation: Specialisation;
}

export interface Compiled extends Specialised {
  readonly id: number;
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
  if (kind === 'texture' || kind === 'layers') {
    const viewDimension = kind === 'layers' ? '2d-array' : '2d';
    const storageTexture = { access: 'read-only', format: 'rgba32float', viewDimension } as const;
    return { binding, visibility, storageTexture };
  }
  return { binding, visibility, buffer: { type: kind === 'read' ? 'read-only-storage' : 'storage' } };
}

const listed = (values: Readonly<Record<string, number | boolean>> = {}): string =>
  Object.entries(values).sort().join();

const keyOf = ({ name }: Kernel, { overrides, tune }: Specialisation): string =>
  `${name}|${listed(tune)}|${listed(overrides)}`;

export class PipelineCache {
  private readonly pipelines = new Map<string, Compiled>();
  private readonly modules = new Map<string, GPUShaderModule>();

  constructor(
    private readonly device: GPUDevice,
    private readonly immediates: boolean,
    private readonly errors: DeviceErrors,
    private readonly times: PipelineTime[] = [],
  ) {}

  /** All pipelines so far. */
  get all(): Specialised[] {
    return [...this.pipelines.values()];
  }

  get(kernel: Kernel, specialisation: Specialisation): Compiled {
    const key = keyOf(kernel, specialisation);
    const known = this.pipelines.get(key);
    if (known) return known;
    const start = performance.now();
    const { descriptor, ...made } = this.describe(kernel, specialisation);
    return this.keep(key, start, { ...made, pipeline: this.device.createComputePipeline(descriptor) });
  }

  /** Compiles side by side. A kernel that cannot be compiled is left to `get`, which reports why. */
  async prepare(kernels: readonly Specialised[]): Promise<void> {
    const compile = async ({ kernel, specialisation }: Specialised) => {
      const key = keyOf(kernel, specialisation);
      if (this.pipelines.has(key)) return;
      const start = performance.now();
      const { descriptor, ...made } = this.describe(kernel, specialisation);
      const pipeline = await this.device.createComputePipelineAsync(descriptor);
      if (!this.pipelines.has(key)) this.keep(key, start, { ...made, pipeline });
    };
    await Promise.allSettled(kernels.map(compile));
  }

  private keep(key: string, start: number, made: Omit<Compiled, 'id'>): Compiled {
    const { kernel, specialisation } = made;
    const ms = performance.now() - start;
    this.times.push({ kernel: kernel.name, constants: constantsOf(specialisation), ms });
    const compiled = { id: this.pipelines.size, ...made };
    this.pipelines.set(key, compiled);
    return compiled;
  }

  private module(
    kernel: Kernel,
    { tune = {} }: Specialisation,
    bindings: readonly Binding[],
  ): GPUShaderModule {
    const key = `${kernel.name}|${listed(tune)}|${bindings.map(({ name }) => name).join()}`;
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

  private describe(kernel: Kernel, specialisation: Specialisation) {
    const { overrides = {} } = specialisation;
    const { fields } = kernel.interface;
    const bindings = boundWith(kernel.interface, overrides);
    this.demandRoom(kernel, bindings);
    const module = this.module(kernel, specialisation, bindings);
    const entries = bindings.map(({ kind }, binding) => layoutEntry(binding, kind));
    const uniform = fields.length > 0 && !this.immediates;
    if (uniform) entries.push({ binding: bindings.length, visibility: COMPUTE, buffer: { type: 'uniform' } });
    const layout = this.device.createBindGroupLayout({ entries, label: kernel.name });
    const interfaces = {
      bindGroupLayouts: [layout],
      immediateSize: this.immediates ? 4 * fields.length : 0,
    };
    const constants = Object.entries(overrides).map(([name, value]) => [name, Number(value)]);
    const descriptor = {
      label: kernel.name,
      layout: this.device.createPipelineLayout(interfaces),
      compute: { module, entryPoint: 'main', constants: Object.fromEntries(constants) },
    };
    return { kernel, specialisation, bindings, layout, descriptor };
  }

  private demandRoom({ name, interface: { fields } }: Kernel, bindings: readonly Binding[]): void {
    const { maxStorageBuffersPerShaderStage: most } = this.device.limits;
    const buffers = bindings.filter(({ kind }) => kind !== 'texture' && kind !== 'layers').length;
    if (buffers > most)
      throw new LimitError(`[${name}] binds ${buffers} buffers; this adapter allows ${most}.`);
    const { maxImmediateSize } = this.device.limits as { maxImmediateSize?: number };
    if (this.immediates && 4 * fields.length > (maxImmediateSize ?? 64))
      throw new LimitError(
        `[${name}] has ${4 * fields.length} bytes of parameters; this adapter allows ${maxImmediateSize ?? 64}.`,
      );
  }
}
