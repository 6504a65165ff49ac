/** One device: runs kernels, moves bytes, waits, and accounts for memory. */
import { hostHere } from '#host';
import { DeviceLostError, KernelError } from '../core/errors.js';
import { BindGroups } from './bind_groups.js';
import { type Command, encode, type Origin, type Recording, stage } from './commands.js';
import { jobFor } from './compile_ahead.js';
import { type AdapterInfo, type OpenOptions, openAdapter } from './device.js';
import { DeviceErrors } from './device_errors.js';
import { DeviceLoss } from './device_loss.js';
import { Diagnostics } from './diagnostics.js';
import { packParams, shapeGroups, type Workgroups } from './dispatch.js';
import { dryDevice, type KernelLimits } from './dry_device.js';
import type { Host } from './host.js';
import { DeviceMemory } from './memory.js';
import {
  type Compiled,
  type Kernel,
  PipelineCache,
  type Specialisation,
  type Specialised,
} from './pipeline.js';
import { BufferPool, type FreeList, type Region } from './pool.js';
import { Profiler } from './profile.js';
import { ReadbackBuffers } from './readback.js';
import { Submits } from './submits.js';
import { layoutOf, type Operand, StagedBuffers, TexturePool } from './textures.js';
import { type Choice, type Family, pick } from './variants.js';
import { nudged, waitFor } from './wait.js';

// Commands a submit. With fewer, the cost of submitting shows; with more, the GPU idles while the host encodes.
const FLUSH_AT = 512;
/** An upload of this many bytes or more is submitted at once. */
const LARGE_UPLOAD = 1 << 20;

/** A WebGPU device: its memory, its kernels, and the queue that runs commands in order. `close` it at the end. */
export class Gpu {
  readonly memory: DeviceMemory;
  readonly pool: BufferPool;
  readonly profiler: Profiler | null;
  /** For tests, benchmarks and `check`. */
  readonly diagnostics = new Diagnostics();

  private readonly textures: TexturePool;
  private readonly staged: StagedBuffers;
  private readonly pipelines: PipelineCache;
  /** Pipelines that were submitted before. */
  private readonly ran = new Set<Compiled>();
  private readonly bindGroups: BindGroups;
  private readonly readback: ReadbackBuffers;
  private readonly submits = new Submits();
  /** Floating-point operations so far, of matrix products and attention. A multiply-add counts as two. */
  private operations = 0;
  private pending: Command[] = [];
  private log: Command[] | null = null;
  private origin: Origin | null = null;
  private readonly errors = new DeviceErrors();
  private readonly loss = new DeviceLoss();
  private closed = false;

  private constructor(
    readonly device: GPUDevice,
    readonly info: AdapterInfo,
    budgetBytes: number,
    private readonly host: Pick<Host, 'compileElsewhere' | 'slowPolls'>,
    /** True if it only counts memory: tensors have no values, and kernels do not run. */
    readonly dry = false,
  ) {
    this.memory = new DeviceMemory(device, budgetBytes, this.errors, {
      reclaim: () => this.reclaim(),
      distrust: () => this.distrust(),
    });
    this.pool = new BufferPool(this.memory, () => this.bindGroups.clear());
    this.bindGroups = new BindGroups(device, this.memory, info.immediates, this.diagnostics);
    this.readback = new ReadbackBuffers(this.memory);
    this.textures = new TexturePool(this.memory);
    this.staged = new StagedBuffers(this.textures);
    this.pipelines = new PipelineCache(device, info.immediates, this.errors, this.diagnostics.pipelines);
    this.profiler = info.features.has('timestamp-query') ? new Profiler(device) : null;
    device.addEventListener('uncapturederror', (event) => {
      event.preventDefault();
      this.errors.fail(new KernelError(event.error.message));
    });
    void device.lost.then(({ message, reason }) => {
      const why = this.closed ? 'it was closed' : message || reason;
      const sentence = `The GPU device was lost (${why}); nothing more can run on it.`;
      const error = new DeviceLostError(sentence, this.closed);
      this.errors.fail(error, true);
      this.loss.declare(error);
    });
  }

  /** Opens the best adapter, or the one that `options` choose. Throws AdapterError with a remedy if there is none. */
  static async open(options: OpenOptions = {}, host: Host = hostHere()): Promise<Gpu> {
    const { device, info } = await openAdapter(options, host);
    return new Gpu(device, info, options.budgetBytes ?? Number.POSITIVE_INFINITY, host);
  }

  /** A Gpu like this one that counts memory, with a budget of its own, and runs nothing. */
  dryRun(budgetBytes: number): Gpu {
    return Gpu.dry(this.info, this.device.limits, budgetBytes);
  }

  /** A Gpu of an adapter that need not exist, which counts memory and runs nothing. */
  static dry(info: AdapterInfo, limits: KernelLimits, budgetBytes = Number.POSITIVE_INFINITY): Gpu {
    return new Gpu(dryDevice(limits, info.features), info, budgetBytes, { compileElsewhere() {} }, true);
  }

  /**
   * Adds a dispatch. Operands and parameters have the names that the kernel declares. A missing one is a KernelError; one
   * that this variant does not declare, or does not bind with these overrides, is ignored.
   */
  run(
    kernel: Kernel,
    operands: Readonly<Record<string, Operand | undefined>>,
    params: Readonly<Record<string, number>>,
    workgroups: Workgroups,
    specialisation: Specialisation = {},
  ): void {
    const groups = shapeGroups(kernel, workgroups);
    if (groups.some((n) => n === 0)) return;
    this.diagnostics.onDispatch?.({ kernel, params, specialisation });
    const compiled = this.pipelines.get(kernel, specialisation);
    const immediates = packParams(kernel, params);
    const resources = compiled.bindings.map(({ name, kind }) => {
      const region = operands[name];
      if (!region) throw new KernelError(`[${kernel.name}] operand ${name} is missing.`);
      if (kind !== 'texture' && kind !== 'layers') return region;
      const { buffer, offset } = region;
      const layout = layoutOf(kind, region);
      const { staging, fill } = this.staged.take(buffer.id, offset, layout);
      if (fill) this.push(stage(buffer.buffer, offset, layout, staging.texture));
      return staging;
    });
    const bindGroup = this.bindGroups.get(compiled, resources, immediates);
    this.push({
      kind: 'dispatch',
      origin: this.origin,
      compiled,
      bindGroup,
      immediates: this.info.immediates && immediates ? immediates.buffer : null,
      groups,
    });
    compiled.bindings.forEach(({ name, kind }) => {
      if (kind === 'read_write') this.staged.wrote((operands[name] as Region).buffer.id);
    });
    this.staged.trim();
    if (this.pending.length >= FLUSH_AT && !this.log) this.flush();
  }

  /**
   * The floating-point operations of all matrix products and attention so far, a multiply-add counting as two. They are those
   * of the mathematics and not of the kernels, so every adapter counts the same. What is played again counts again.
   */
  get flops(): number {
    return this.operations;
  }

  /** Counts the operations of a product or of attention. An op calls it when it runs its kernels. */
  countFlops(operations: number): void {
    this.operations += operations;
  }

  /** Runs `body`, whose dispatches belong to `origin` in profiles. */
  within<T>(origin: Origin, body: () => T): T {
    const before = this.origin;
    this.origin = origin;
    try {
      return body();
    } finally {
      this.origin = before;
    }
  }

  /** Every kernel that ran, with its constants. */
  get kernels(): Specialised[] {
    return this.pipelines.all;
  }

  /**
   * Compiles kernels side by side, on the driver's threads, so that the first step does not compile one after another. The
   * driver of a software adapter compiles a kernel only when it first runs: there this does nothing (compile_ahead.ts).
   */
  async prepare(kernels: readonly Specialised[]): Promise<void> {
    if (!this.info.software && !this.dry) await this.settle(this.pipelines.prepare(kernels));
  }

  /** Picks the variant of a kernel for this adapter and shape, and its tuned constants. */
  pick<S>(family: Family<S>, shape: S): Choice {
    const choice = pick(family, this.info, shape, this.diagnostics.preferences.get(family.name));
    this.diagnostics.picked.set(family.name, { family, kernel: choice.kernel.name });
    return choice;
  }

  /** Copies bytes between two buffers. WebGPU does not allow a copy within one buffer. */
  copy(from: Region, to: Region): void {
    this.staged.wrote(to.buffer.id);
    this.push({
      kind: 'copy',
      from: from.buffer.buffer,
      fromOffset: from.offset,
      to: to.buffer.buffer,
      toOffset: to.offset,
      bytes: align4(from.bytes),
    });
  }

  /** Fills with zero bytes. */
  clear({ buffer, offset, bytes }: Region): void {
    this.staged.wrote(buffer.id);
    this.push({ kind: 'clear', buffer: buffer.buffer, offset, bytes: align4(bytes) });
  }

  /** Writes host data. Earlier commands run before the write; later ones see it. */
  upload(to: Region, data: ArrayBufferView<ArrayBuffer>): void {
    this.flush();
    this.staged.wrote(to.buffer.id);
    const whole = data.byteLength % 4 === 0;
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const padded = whole ? bytes : new Uint8Array(align4(data.byteLength));
    if (!whole) padded.set(bytes);
    this.device.queue.writeBuffer(to.buffer.buffer, to.offset, padded);
    // Dawn keeps a copy of the data until it was submitted and has run. Submitting each large upload frees the earlier ones.
    if (padded.byteLength >= LARGE_UPLOAD) this.device.queue.submit([]);
  }

  /** Submits the pending commands. */
  flush(): void {
    this.check();
    if (this.pending.length === 0) return;
    const commands = this.pending;
    this.pending = [];
    this.compileAhead(commands);
    this.submit(commands);
  }

  /**
   * Runs `body` and keeps its commands for `play`. Buffers acquired inside belong to the recording, so that nothing else
   * gets them between two plays. Recordings that do not read each other's buffers may share one list. If `body` throws,
   * none of its commands runs.
   */
  record<T>(body: () => T, buffers: FreeList = new Map()): { result: T; recording: Recording } {
    this.flush();
    this.staged.clear(); // a recording copies its own operands to textures, so that a play depends on nothing before it
    const commands: Command[] = [];
    const shared = buffers.size > 0;
    const before = this.operations;
    this.log = commands;
    try {
      const result = this.pool.withList(buffers, body);
      this.flush();
      return { result, recording: { commands, buffers, flops: this.operations - before } };
    } catch (error) {
      this.pending = [];
      this.operations = before;
      if (!shared) this.pool.trim(buffers); // a shared list has buffers of other recordings
      throw error;
    } finally {
      this.log = null;
      this.staged.clear();
    }
  }

  /** Runs a recording once more. */
  play(recording: Recording): void {
    this.flush();
    this.staged.clear(); // the recording overwrites textures and buffers that are remembered as staged
    this.operations += recording.flops;
    this.submit(recording.commands);
  }

  /**
   * Runs a recording once more and resolves with the milliseconds that it took: by the device's clock, or by this
   * process's where the device has none or is the CPU.
   */
  async timePlay(recording: Recording): Promise<number> {
    await this.finish();
    if (this.profiler && !this.info.software) {
      this.staged.clear(); // as in `play`
      const { commands } = recording;
      const pieces = this.submits.pieces(commands);
      const ms = await this.settle(
        this.profiler.span(pieces.map((piece) => (encoder) => encode(encoder, piece, null))),
      );
      this.submits.learn(commands, ms / 1000);
      return ms;
    }
    const start = performance.now();
    this.play(recording);
    await this.finish();
    return performance.now() - start;
  }

  /** Reads bytes back. Rejects with DeviceLostError, or with an error since the last check. */
  async read({ buffer, offset, bytes }: Region): Promise<ArrayBuffer> {
    const size = align4(bytes);
    const staging = this.readback.acquire(size);
    const to = { to: staging, toOffset: 0 };
    this.push({ kind: 'copy', from: buffer.buffer, fromOffset: offset, ...to, bytes: size });
    this.flush();
    const copied = staging.mapAsync(1, 0, size).then(() => staging.getMappedRange(0, size).slice(0, bytes));
    const copy = await this.settle(copied);
    staging.unmap();
    this.readback.release(staging, size);
    this.check();
    return copy;
  }

  /** A promise for the end of all work submitted so far; await it by `settle`. */
  submitted(): Promise<unknown> {
    const done = this.device.queue.onSubmittedWorkDone();
    done.catch(() => {}); // `settle` rejects if this does
    return done;
  }

  /** Resolves when all commands so far have run. */
  async finish(): Promise<void> {
    this.flush();
    await this.settle(this.device.queue.onSubmittedWorkDone());
    this.check();
  }

  /** Resolves when the driver has granted all memory requested so far; rejects with OutOfMemoryError if it refused any. */
  async granted(): Promise<void> {
    const { pending } = this.errors;
    if (pending) await this.settle(pending);
    this.check();
  }

  /** Throws the first error that the device reported, unless a reply is pending that may name its cause. */
  check(): void {
    this.errors.check();
  }

  /** Destroys the device, and with it the memory of all tensors. */
  close(): void {
    this.closed = true;
    this.device.destroy();
  }

  /** Awaits a promise of the device. Rejects if the device is lost. */
  async settle<T>(promise: Promise<T>): Promise<T> {
    try {
      return await this.wait(promise);
    } catch (error) {
      this.check();
      // After a loss the promise itself may reject first, without naming the loss; DeviceLostError does.
      await this.loss.race(new Promise((resolve) => setTimeout(resolve, 50)));
      throw error;
    }
  }

  private wait<T>(promise: Promise<T>): Promise<T> {
    const both = Promise.allSettled([promise, this.errors.pending]).then(() => promise);
    const raced = this.loss.race(both);
    if (this.host.slowPolls) return nudged(raced, () => this.device.queue.submit([]));
    return waitFor(raced, this.info.software);
  }

  // Pending commands may use buffers that are free by now, so they are submitted before those are destroyed.
  private reclaim(): void {
    this.flush();
    this.pool.trim();
    this.readback.trim();
  }

  private distrust(): void {
    this.staged.clear();
    this.bindGroups.distrust();
  }

  private push(command: Command): void {
    this.pending.push(command);
    this.log?.push(command);
  }

  // A software adapter compiles new kernels on this thread during submit; another process helps.
  private compileAhead(commands: readonly Command[]): void {
    const job = this.info.software ? jobFor(this.info.name, commands, this.ran) : null;
    if (job) this.host.compileElsewhere(job);
  }

  private submit(commands: readonly Command[]): void {
    const { counts } = this.diagnostics;
    const timed = !this.info.software && !this.dry;
    const ended = timed ? this.submits.begin(commands) : null;
    for (const piece of timed ? this.submits.pieces(commands) : [commands]) {
      const encoder = this.device.createCommandEncoder();
      encode(encoder, piece, this.profiler);
      this.device.queue.submit([encoder.finish()]);
      counts.submits++;
    }
    if (ended) this.submitted().then(ended, () => {});
    for (const command of commands) if (command.kind === 'dispatch') counts.dispatches++;
  }
}

const align4 = (bytes: number): number => Math.ceil(bytes / 4) * 4;
