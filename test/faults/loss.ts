/** Destroys the device at a chosen moment of a step. */
import type { Gpu } from '../../src/gpu/gpu.js';
import type { RunSink } from '../../src/runs/run_sink.js';
import type { Trainer, TrainerInput } from '../../src/runs/trainer.js';
import { evaluate } from '../../src/training/evaluate.js';

export const phases = [
  'upload',
  'forward',
  'backward',
  'optimizer',
  'readback',
  'evaluation',
  'checkpoint',
] as const;
export type Phase = (typeof phases)[number];

const KERNELS: Partial<Record<Phase, RegExp>> = {
  forward: /_forward/,
  backward: /_backward/,
  optimizer: /^adamw_step/,
};

/** Replaces a method by one that calls `before` first. */
function precede<T extends object, K extends keyof T>(
  object: T,
  name: K,
  before: (...args: unknown[]) => void,
): void {
  const method = (object[name] as (...args: unknown[]) => unknown).bind(object);
  object[name] = ((...args: unknown[]) => {
    before(...args);
    return method(...args);
  }) as T[K];
}

/** Calls `seen` with the name of each kernel that is encoded, eagerly or from a recording. */
function watchKernels(gpu: Gpu, seen: (kernel: string) => void): void {
  const { device } = gpu;
  const create = device.createCommandEncoder.bind(device);
  device.createCommandEncoder = (...args) => {
    const encoder = create(...args);
    const begin = encoder.beginComputePass.bind(encoder);
    encoder.beginComputePass = (...descriptor) => {
      const pass = begin(...descriptor);
      precede(pass, 'setPipeline', (pipeline) => seen((pipeline as GPUComputePipeline).label));
      return pass;
    };
    return encoder;
  };
}

/** Destroys the device at the n-th moment of a phase. Returns its time (0 until then) and the number of moments. */
export function loseAt(gpu: Gpu, trainer: Trainer, phase: Phase, nth: number): { at: number; seen: number } {
  const lost = { at: 0, seen: 0 };
  let [evaluating, saving] = [false, false];
  const moment = () => {
    if (++lost.seen !== nth) return;
    lost.at = performance.now();
    gpu.device.destroy();
  };
  const during = async <T>(body: () => Promise<T>, set: (value: boolean) => void): Promise<T> => {
    set(true);
    try {
      return await body();
    } finally {
      set(false);
    }
  };
  const inside = trainer as unknown as { input: TrainerInput; sink: RunSink };
  const judge = inside.input.evaluate ?? evaluate;
  inside.input = {
    ...inside.input,
    evaluate: (input) =>
      during(
        () => judge(input),
        (value) => (evaluating = value),
      ),
  };
  const save = inside.sink.state.bind(inside.sink);
  inside.sink.state = (...args) =>
    during(
      () => save(...args),
      (value) => (saving = value),
    );
  watchKernels(gpu, (kernel) => {
    if (phase === 'evaluation' ? evaluating : !evaluating && KERNELS[phase]?.test(kernel)) moment();
  });
  precede(gpu, 'upload', () => phase === 'upload' && !evaluating && moment());
  precede(gpu, 'read', () => {
    if (phase === 'readback' ? !evaluating && !saving : phase === 'checkpoint' && saving)
      queueMicrotask(moment);
  });
  return lost;
}
