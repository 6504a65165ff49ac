/** The engine's view of one device: run kernels, move bytes, wait, account. */
import { DeviceLostError, KernelError } from '../core/errors.js';
import { BindGroups } from './bind_groups.js';
import { type Command, encode, type Recording, stage } from './commands.js';
import { jobFor } from './compile_ahead.js';
import { type AdapterInfo, type OpenOptions, openAdapter } from './device.js';
import { DeviceErrors } from './device_errors.js';
import { DeviceLoss } from './device_loss.js';
import { Diagnostics } from './diagnostics.js';
import { packParams, shapeGroups, type Workgroups } from './dispatch.js';
import { type Host, hostHere } from './host.js';
import { DeviceMemory } from './memory.js';
import { type Compiled, type Kernel, PipelineCache, type Specialisation } from './pipeline.js';
import { BufferPool, type FreeList, type Region } from './pool.js';
import { Profiler } from './profile.js';
import { ReadbackBuffers } from './readback.js';
import { StagedBuffers, TexturePool } from './textures.js';
import { type Choice, type Family, pick } from './variants.js';
import { waitFor } from './wait.js';

// Enough that encoding overlaps with execution, few enough that a submit's own cost does not show.
const FLUSH_AT = 512;
/** Bytes of an upload that is submitted by itself. */
const LARGE_UPLOAD = 1 << 20;

export class Gpu {
  readonly memory: DeviceMemory;
  readonly pool: BufferPool;
  readonly profiler: Profiler | null;
  /** For tests, benchmarks and `check`. */
  readonly diagnostics = new Diagnostics();

  /** Sixteen bytes each, for bindings that a specialisation of a kernel declares, may write by its type, and does not use. */
  readonly spare: readonly [Region, Region];

  private readonly textures: TexturePool;
  private readonly staged: StagedBuffers;
  private readonly pipelines: PipelineCache;
  /** Pipelines that were submitted before. */
  private readonly ran = new Set<Compiled>();
  private readonly bindGroups: BindGroups;
  private readonly readback: ReadbackBuffers;
  private pending: Command[] = [];
  private log: Command[] | null = null;
  private readonly errors = new DeviceErrors();
  private readonly loss = new DeviceLoss();
  private closed = false;

  private constructor(
    readonly device: GPUDevice,
    readonly info: AdapterInfo,
    budgetBytes: number,
    private readonly host: Host,
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
    const spare = (id: number): Region => {
      const buffer = this.memory.buffer(16, 0x80, 'spare');
      return { buffer: { id, buffer, bytes: 16, home: new Map() }, offset: 0, bytes: 16 };
    };
    this.spare = [spare(-1), spare(-2)]; // the pool's ids start at 0
    this.pipelines = new PipelineCache(device, info.immediates, this.errors);
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

  /** Opens the best adapter, or the one named. Throws AdapterError with the remedy when there is none. */
  static async open(options: OpenOptions = {}, host: Host = hostHere()): Promise<Gpu> {
    const { device, info } = await openAdapter(options, host);
    return new Gpu(device, info, options.budgetBytes ?? Number.POSITIVE_INFINITY, host);
  }

  /**
   * Adds a dispatch. Operands and parameters go by the names that the kernel itself gives them; a missing one is a
   * KernelError, one that this variant does not have is passed over.
   */
  run(
    kernel: Kernel,
    operands: Readonly<Record<string, Region>>,
    params: Readonly<Record<string, number>>,
    workgroups: Workgroups,
    specialisation: Specialisation = {},
  ): void {
    const groups = shapeGroups(kernel, workgroups);
    if (groups.some((n) => n === 0)) return;
    const compiled = this.pipelines.get(kernel, specialisation);
    const immediates = packParams(kernel, params);
    const resources = kernel.interface.bindings.map(({ name, kind }) => {
      const region = operands[name];
      if (!region) throw new KernelError(`[${kernel.name}] operand ${name} is missing.`);
      if (kind !== 'texture') return region;
      const { buffer, offset } = region;
      const texels = Math.ceil(region.bytes / 16);
      const { staging, fill } = this.staged.take(buffer.id, offset, texels);
      if (fill) this.push(stage(buffer.buffer, offset, texels, staging.texture));
      return staging;
    });
    const bindGroup = this.bindGroups.get(compiled, resources, immediates);
    this.push({
      kind: 'dispatch',
      compiled,
      bindGroup,
      immediates: this.info.immediates && immediates ? immediates.buffer : null,
      groups,
    });
    kernel.interface.bindings.forEach(({ name, kind }) => {
      if (kind === 'read_write') this.staged.wrote((operands[name] as Region).buffer.id);
    });
    this.staged.trim();
    if (this.pending.length >= FLUSH_AT && !this.log) this.flush();
  }

  /** The variant of a kernel for this adapter and shape, with its tuning. */
  pick<S>(family: Family<S>, shape: S): Choice {
    const choice = pick(family, this.info, shape, this.diagnostics.preferences.get(family.name));
    this.diagnostics.picked.set(family.name, { family, kernel: choice.kernel.name });
    return choice;
  }

  /** Copies bytes between buffers; within one buffer WebGPU refuses it. */
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

  /** Writes host data. What was asked for before runs before it; what comes after sees it. */
  upload(to: Region, data: ArrayBufferView<ArrayBuffer>): void {
    this.flush();
    this.staged.wrote(to.buffer.id);
    const whole = data.byteLength % 4 === 0;
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const padded = whole ? bytes : new Uint8Array(align4(data.byteLength));
    if (!whole) padded.set(bytes);
    this.device.queue.writeBuffer(to.buffer.buffer, to.offset, padded);
    // Dawn holds a copy of the data until it is submitted and has run: of many large uploads, only the last ones at a time.
    if (padded.byteLength >= LARGE_UPLOAD) this.device.queue.submit([]);
  }

  /** Submits what is pending. */
  flush(): void {
    this.check();
    if (this.pending.length === 0) return;
    const commands = this.pending;
    this.pending = [];
    this.compileAhead(commands);
    this.submit(commands);
  }

  /**
   * Runs `body` and keeps its commands for `play`. Buffers acquired inside stay with the recording, so that nothing
   * else is given them between two plays; recordings that need nothing of each other's may share them by one list.
   * Where `body` throws, none of its commands runs.
   */
  record<T>(body: () => T, buffers: FreeList = new Map()): { result: T; recording: Recording } {
    this.flush();
    this.staged.clear(); // what a play finds in a texture, it has copied there itself
    const commands: Command[] = [];
    const shared = buffers.size > 0;
    this.log = commands;
    try {
      const result = this.pool.withList(buffers, body);
      this.flush();
      return { result, recording: { commands, buffers } };
    } catch (error) {
      this.pending = [];
      if (!shared) this.pool.trim(buffers); // what other recordings play on is theirs
      throw error;
    } finally {
      this.log = null;
      this.staged.clear();
    }
  }

  /** Runs a recording once more. */
  play(recording: Recording): void {
    this.flush();
    this.staged.clear(); // the recording writes textures and buffers of its own accord
    this.submit(recording.commands);
  }

  /** Reads bytes back; rejects with DeviceLostError, or with what went wrong since the last check. */
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

  /** A promise for the end of what was submitted so far; give it to `settle`. */
  submitted(): Promise<unknown> {
    const done = this.device.queue.onSubmittedWorkDone();
    done.catch(() => {}); // whoever settles it hears of a failure
    return done;
  }

  /** Resolves when all that was asked for has run. */
  async finish(): Promise<void> {
    this.flush();
    await this.settle(this.device.queue.onSubmittedWorkDone());
    this.check();
  }

  /** Resolves when the driver has granted the memory asked for so far; rejects with OutOfMemoryError where it has not. */
  async granted(): Promise<void> {
    const { pending } = this.errors;
    if (pending) await this.settle(pending);
    this.check();
  }

  /** Throws the first error that the device reported, if any; while an answer is open that may tell its cause, it waits. */
  check(): void {
    this.errors.check();
  }

  close(): void {
    this.closed = true;
    this.device.destroy();
  }

  /** Awaits a promise of the device's, racing its loss. */
  async settle<T>(promise: Promise<T>): Promise<T> {
    try {
      return await this.wait(promise);
    } catch (error) {
      this.check();
      // After a loss the promise itself may reject first, without a reason: let the loss speak.
      await this.loss.race(new Promise((resolve) => setTimeout(resolve, 50)));
      throw error;
    }
  }

  private wait<T>(promise: Promise<T>): Promise<T> {
    const both = Promise.allSettled([promise, this.errors.pending]).then(() => promise);
    return waitFor(this.loss.race(both), this.info.software);
  }

  // Commands that wait may use what is free by now: they go first.
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

  // A software adapter compiles what is new while this thread waits in submit.
  private compileAhead(commands: readonly Command[]): void {
    const job = this.info.software ? jobFor(this.info.name, commands, this.ran) : null;
    if (job) this.host.compileElsewhere(job);
  }

  private submit(commands: readonly Command[]): void {
    const encoder = this.device.createCommandEncoder();
    encode(encoder, commands, this.profiler);
    this.device.queue.submit([encoder.finish()]);
    const { counts } = this.diagnostics;
    counts.submits++;
    for (const command of commands) if (command.kind === 'dispatch') counts.dispatches++;
  }
}

const align4 = (bytes: number): number => Math.ceil(bytes / 4) * 4;
