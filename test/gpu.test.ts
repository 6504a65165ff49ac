/** The engine: exact memory accounting, wrong kernels, timing, loss of the device, transfers, waiting. */
// Alone: a lost device must say so within two seconds.
import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import { AdapterError, DeviceLostError, KernelError, OutOfMemoryError } from '../src/core/errors.js';
import type { OpenOptions } from '../src/gpu/device.js';
import { Gpu } from '../src/gpu/gpu.js';
import { defineKernel } from '../src/gpu/pipeline.js';
import { BufferPool, type FreeList, sizeClass } from '../src/gpu/pool.js';
import { waitFor } from '../src/gpu/wait.js';
import { type HostArray, Tensor } from '../src/tensor/tensor.js';
import { normals, withGpu } from './gpu.js';

const gpuOf = withGpu();
const immediately = globalThis.setImmediate;
afterEach(() => expect(globalThis.setImmediate).toBe(immediately));

/** A device for a single test, which may break it. */
async function openOwn(options: OpenOptions = {}): Promise<Gpu> {
  const gpu = await Gpu.open({ adapter: process.env.PATCHLIGHT_ADAPTER, ...options });
  onTestFinished(() => gpu.close());
  return gpu;
}

const source = (body: string) => `// multiply_forward: y = factor · x
requires immediate_address_space;
const WG = 64u; // tune
struct Params { n: u32, factor: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
var<immediate> p: Params;
@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= p.n) { return; }
  ${body}
}`;
const multiply = defineKernel('multiply_forward', source('y[i] = p.factor * x[i];'));

describe('size classes', () => {
  const sizes = Array.from({ length: 4000 }, (_, i) => Math.floor(1.006 ** i) + (i % 3));

  it('hold what they are asked for, on 256 bytes, wasting at most an eighth', () => {
    for (const bytes of [0, 1, 255, 256, 257, ...sizes]) {
      const size = sizeClass(bytes);
      expect(size % 256, `${bytes}`).toBe(0);
      expect(size, `${bytes}`).toBeGreaterThanOrEqual(Math.max(bytes, 1) - (bytes === 0 ? 1 : 0));
      expect(size - bytes, `${bytes}`).toBeLessThan(Math.max(257, bytes / 8));
      expect(sizeClass(size), `${bytes}`).toBe(size);
    }
  });

  it('grow with what they are asked for, eight an octave', () => {
    const classes = [...sizes].sort((a, b) => a - b).map(sizeClass);
    expect(classes).toEqual([...classes].sort((a, b) => a - b));
    const octave = new Set(Array.from({ length: 1 << 14 }, (_, i) => sizeClass((1 << 14) + 1 + i)));
    expect(octave.size).toBe(8);
  });
});

describe('the pool', () => {
  const accounts = ({ liveBytes, reservedBytes, peakBytes, created }: BufferPool) =>
    [liveBytes, reservedBytes, peakBytes, created] as const;

  it('counts every byte', () => {
    let destroyed = 0;
    const pool = new BufferPool(gpuOf().memory, () => destroyed++);
    const small = pool.acquire(1000, 'small');
    expect(accounts(pool)).toEqual([1024, 1024, 1024, 1]);
    const large = pool.acquire(5000, 'large');
    expect(accounts(pool)).toEqual([6144, 6144, 6144, 2]);
    pool.release(small);
    expect(accounts(pool)).toEqual([5120, 6144, 6144, 2]);
    expect(pool.acquire(1024, 'again')).toBe(small);
    expect(accounts(pool)).toEqual([6144, 6144, 6144, 2]);
    pool.release(small);
    pool.trim();
    expect(destroyed).toBe(1);
    expect(accounts(pool)).toEqual([5120, 5120, 6144, 2]);
    expect(pool.acquire(1000, 'anew').id).toBe(2);
    pool.release(large);
    expect(accounts(pool)).toEqual([1024, 6144, 6144, 3]);
  });

  it('gives the buffers of a list to nobody else', () => {
    const pool = new BufferPool(gpuOf().memory, () => {});
    const list = new Map();
    const mine = pool.withList(list, () => pool.acquire(256, 'mine'));
    pool.release(mine);
    expect(pool.acquire(256, 'other')).not.toBe(mine);
    expect(pool.withList(list, () => pool.acquire(256, 'mine'))).toBe(mine);
    pool.release(mine);
    pool.trim(list);
    expect(accounts(pool)).toEqual([256, 256, 512, 2]);
  });

  it('gives a later recording the smallest free buffer that is large enough, and a first one exact sizes', () => {
    const pool = new BufferPool(gpuOf().memory, () => {});
    const list: FreeList = new Map();
    const sizes = (...bytes: number[]) =>
      pool.withList(list, () => {
        const buffers = bytes.map((n) => pool.acquire(n, 'recorded'));
        for (const buffer of buffers) pool.release(buffer);
        return buffers.map((buffer) => buffer.bytes);
      });
    pool.withList(list, () => {
      pool.release(pool.acquire(4096, 'freed'));
      pool.release(pool.acquire(256, 'small'));
    });
    expect(accounts(pool)).toEqual([0, 4352, 4352, 2]);
    expect(sizes(1024, 256)).toEqual([4096, 256]);
    expect(sizes(1024, 1024, 8192)).toEqual([4096, 1024, 8192]);
    expect(sizes(1000, 1000, 1000)).toEqual([1024, 4096, 8192]);
    expect(pool.liveBytes).toBe(0);
    expect(pool.created).toBe(4);
  });

  it('keeps its budget: frees what is unused first, then refuses with the figures', async () => {
    const { pool } = await openOwn({ budgetBytes: 4_000_000 });
    const kept = pool.acquire(1_500_000, 'kept');
    pool.release(pool.acquire(2_300_000, 'unused'));
    const large = pool.acquire(2_000_000, 'large');
    expect(pool.reservedBytes).toBe(kept.bytes + large.bytes);
    const acquire = () => pool.acquire(1_000_000, 'logits');
    expect(acquire).toThrow(OutOfMemoryError);
    expect(acquire).toThrow(
      '[logits] out of memory: wanted 1.0 MB, live 3.7 MB of a budget of 4.0 MB, peak 3.9 MB. A smaller batch size needs less.',
    );
    pool.release(kept);
    expect(acquire().bytes).toBe(sizeClass(1_000_000));
  });

  it('refuses a buffer beyond the limit of the adapter', () => {
    const gpu = gpuOf();
    const acquire = () => gpu.pool.acquire(2 * gpu.device.limits.maxBufferSize, 'huge');
    expect(acquire).toThrow(OutOfMemoryError);
    expect(acquire).toThrow(/^\[huge\] wanted .*B in one buffer; this adapter allows .*B\.$/);
  });
});

describe('a dispatch', () => {
  const run = (gpu: Gpu, n: number) => {
    const x = Tensor.from(gpu, normals([n], 1));
    const y = Tensor.zeros(gpu, [n]);
    return { x, y, go: () => gpu.run(multiply, { x, y }, { n, factor: 2 }, Math.ceil(n / 64)) };
  };

  it('runs, and makes its bind group once', async () => {
    const gpu = gpuOf();
    const { y, go } = run(gpu, 1000);
    go();
    const { bindGroups } = gpu.diagnostics.counts;
    go();
    expect(gpu.diagnostics.counts.bindGroups).toBe(bindGroups);
    expect(await y.toFloat32()).toEqual(normals([1000], 1).map((v) => 2 * v));
  });

  it.each<[string, RegExp, (gpu: Gpu, x: Tensor) => void]>([
    [
      'an operand',
      /^\[multiply_forward\] operand y is missing/,
      (gpu, x) => gpu.run(multiply, { x }, { n: 1, factor: 1 }, 1),
    ],
    [
      'a parameter',
      /^\[multiply_forward\] parameter factor is missing/,
      (gpu, x) => gpu.run(multiply, { x, y: x }, { n: 1 }, 1),
    ],
    [
      'a constant to tune',
      /^\[multiply_forward\] has no tunable constant TILE/,
      (gpu, x) => gpu.run(multiply, { x, y: x }, { n: 1, factor: 1 }, 1, { tune: { TILE: 4 } }),
    ],
    [
      'a kernel in order',
      /^\[odd_forward\] bindings must be declared in order: @binding\(1\)/,
      () => defineKernel('odd_forward', '@group(0) @binding(1) var<storage, read> x: array<f32>;'),
    ],
  ])('without %s is a KernelError', (_, says, wrong) => {
    const x = Tensor.zeros(gpuOf(), [1]);
    expect(() => wrong(gpuOf(), x)).toThrow(KernelError);
    expect(() => wrong(gpuOf(), x)).toThrow(says);
    x.release();
  });

  it('of a kernel that does not compile names file, line and column, from then on', async () => {
    const gpu = await openOwn();
    const broken = defineKernel('broken_forward', source('y[i] = nothing[i];'));
    const x = Tensor.zeros(gpu, [64]);
    gpu.run(broken, { x, y: x }, { n: 64, factor: 1 }, 1);
    const where = /^kernels\/broken_forward\.wgsl:12:10: .*nothing/;
    await expect(x.toFloat32()).rejects.toThrow(where);
    expect(() => gpu.check()).toThrow(KernelError);
    await expect(gpu.finish()).rejects.toThrow(where);
  });

  it('is timed when the profiler is on', async ({ skip }) => {
    const gpu = gpuOf();
    const { profiler } = gpu;
    if (!profiler) return skip('this adapter has no timestamp queries');
    const { x, y, go } = run(gpu, 1 << 16);
    profiler.enabled = true;
    for (let i = 0; i < 3; i++) go();
    gpu.copy(y, x); // between passes
    gpu.flush();
    await profiler.collect();
    profiler.enabled = false;
    go();
    gpu.flush();
    await profiler.collect();
    expect(profiler.table()).toEqual([
      {
        kernel: 'multiply_forward',
        work: expect.stringContaining('factor=2'),
        calls: 3,
        milliseconds: expect.any(Number),
      },
    ]);
    expect(profiler.table()[0]!.milliseconds).toBeGreaterThan(0);
    profiler.reset();
    expect(profiler.table()).toEqual([]);
  });

  it.each([true, false])('of a recording is timed, on a CPU: %s', async (software) => {
    const gpu = await openOwn();
    Object.assign(gpu.info, { software });
    const { go } = run(gpu, 1 << 16);
    const { recording } = gpu.record(go);
    expect(await gpu.timePlay(recording)).toBeGreaterThan(0);
  });
});

describe('the device', () => {
  it.each<[string, RegExp, (gpu: Gpu) => void]>([
    ['lost', /^The GPU device was lost \(.+\); nothing more can run on it\.$/, (gpu) => gpu.device.destroy()],
    ['closed', /^The GPU device was lost \(it was closed\)/, (gpu) => gpu.close()],
  ])('that is %s says so within two seconds', async (_, says, lose) => {
    const gpu = await openOwn();
    const x = Tensor.from(gpu, normals([1000], 1));
    const before = performance.now();
    const under = x.toFloat32();
    lose(gpu);
    for (const use of [under, x.toFloat32(), gpu.finish()]) {
      const error = await use.catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(DeviceLostError);
      expect(String((error as Error).message)).toMatch(says);
    }
    expect(performance.now() - before).toBeLessThan(2000);
  });

  it('that does not exist is an AdapterError with those that do', async () => {
    const error = await Gpu.open({ adapter: 'nonexistent' }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(AdapterError);
    const says = /^No adapter's name contains "nonexistent"\. There is: 0: (.+)\.$/;
    expect((error as Error).message).toMatch(says);
    const [, names] = says.exec((error as Error).message)!;
    await openOwn({ adapter: names!.split('; 1: ')[0] });
    await openOwn({ adapter: 0 });
  });
});

describe('bytes go there and back', () => {
  const arrays: HostArray[] = [1, 2, 3, 4, 5, 257, 1023].flatMap((n) => [
    normals([n], n),
    Uint32Array.from({ length: n }, (_, i) => 0xffffffff - i),
    Uint8Array.from({ length: n }, (_, i) => 255 - i),
  ]);
  it.each(arrays.map((data) => [data.constructor.name, data.length, data] as const))(
    '%s of %i',
    async (_, n, data) => {
      const gpu = gpuOf();
      const whole = Tensor.from(gpu, new Uint8Array(8192).fill(0xa5));
      const dtype = data instanceof Float32Array ? 'f32' : data instanceof Uint32Array ? 'u32' : 'u8';
      const tensor = Tensor.from(gpu, data);
      expect(tensor.dtype).toBe(dtype);
      const like = data.constructor as new (buffer: ArrayBuffer) => HostArray;
      expect(new like(await gpu.read(tensor))).toEqual(data);
      // Into the middle of a larger buffer: its neighbours stay, except for the padding of the last word.
      const { buffer } = whole;
      gpu.upload({ buffer, offset: 512, bytes: tensor.bytes }, data);
      const bytes = new Uint8Array(await gpu.read(whole));
      const end = 512 + tensor.bytes;
      expect(new like(bytes.slice(512, end).buffer)).toEqual(data);
      const around = [...bytes.subarray(0, 512), ...bytes.subarray(Math.ceil(end / 4) * 4)];
      expect(around.every((byte) => byte === 0xa5)).toBe(true);
      const copy = Tensor.empty(gpu, [n], dtype);
      gpu.copy(tensor, copy);
      gpu.clear(tensor);
      expect(new like(await gpu.read(copy))).toEqual(data);
      expect(new like(await gpu.read(tensor))).toEqual(data.map(() => 0));
      for (const it of [whole, tensor, copy]) it.release();
    },
  );

  it('refuses data of another size', () => {
    expect(() => Tensor.from(gpuOf(), new Float32Array(5), [2, 3])).toThrow(
      '5 values cannot fill a tensor of shape (2, 3).',
    );
  });

  it('in the order they were asked for', async () => {
    const gpu = gpuOf();
    const x = Tensor.from(gpu, Float32Array.of(1));
    const y = Tensor.zeros(gpu, [1]);
    gpu.run(multiply, { x, y }, { n: 1, factor: 3 }, 1);
    x.upload(Float32Array.of(5));
    const first = y.toFloat32();
    gpu.run(multiply, { x, y }, { n: 1, factor: 3 }, 1);
    expect(await Promise.all([first, y.toFloat32()])).toEqual([Float32Array.of(3), Float32Array.of(15)]);
  });
});

describe('a wait', () => {
  const later = <T>(value: T) => new Promise<T>((resolve) => setTimeout(() => resolve(value), 5));

  it('spaces polls while it lasts, and only then', async () => {
    const [one, two] = [
      waitFor(later(1), true),
      waitFor(
        later(2).then(() => later(2)),
        true,
      ),
    ];
    expect(globalThis.setImmediate).not.toBe(immediately);
    expect(await one).toBe(1);
    expect(globalThis.setImmediate).not.toBe(immediately);
    const polled = new Promise((resolve) => setImmediate(resolve, 'polled'));
    expect(await two).toBe(2);
    expect(globalThis.setImmediate).toBe(immediately);
    expect(await polled).toBe('polled');
  });

  it('ends when the promise fails, and changes nothing where cores are not shared', async () => {
    const failing = waitFor(
      later(0).then(() => Promise.reject(new RangeError('on purpose'))),
      true,
    );
    await expect(failing).rejects.toThrow('on purpose');
    expect(globalThis.setImmediate).toBe(immediately);
    const plain = waitFor(later(3), false);
    expect(globalThis.setImmediate).toBe(immediately);
    expect(await plain).toBe(3);
  });
});
