/** The metrics of steps, in a ring buffer on the device until they are read, so that no step waits for the host. */
import type { Gpu } from '../gpu/gpu.js';
import { METRICS, recordMetrics } from '../ops/metrics.js';
import type { Arena } from '../tensor/arena.js';
import { keep } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';

/** The metrics of one step. */
export interface StepMetrics {
  /** Mean loss of the batch, in nats. */
  readonly loss: number;
  /** Correctly classified images. */
  readonly correct: number;
  /** Global L2 norm of the gradient before clipping. */
  readonly gradNorm: number;
  /** The first parameter with a gradient that is not finite; null if there is none. Such a step changes no parameter. */
  readonly badGradient: string | null;
}

/** The most steps with unread metrics on the device: 16 KB. */
const MOST_UNREAD = 1024;
const ROW_BYTES = 4 * METRICS;

export interface RingOptions {
  /** Images of a micro-batch. */
  readonly microBatch: number;
  /** The most micro-batches of a step. Each writes a row. */
  readonly accumulate: number;
  readonly logInterval: number;
}

export class MetricsRing {
  /** The most steps between two reads. */
  readonly unread: number;
  private readonly rows: Tensor;

  constructor(
    private readonly gpu: Gpu,
    private readonly options: RingOptions,
  ) {
    this.unread = Math.min(options.logInterval, MOST_UNREAD);
    this.rows = keep(Tensor.zeros(gpu, [this.unread * options.accumulate, METRICS], 'u32', 'metrics'));
  }

  /** The first row of a step; steps count from 0. */
  row(step: number): number {
    return (step % this.unread) * this.options.accumulate;
  }

  /** Writes a row of metrics on the device: the row that the step's state names. */
  record(operands: Parameters<typeof recordMetrics>[0]): void {
    recordMetrics(operands, this.rows);
  }

  /** Reads the metrics of the given steps, `images` being the size of a step's batch. Waits for these steps. */
  async read(
    steps: readonly { readonly step: number; readonly images: number }[],
    arena: Arena,
  ): Promise<StepMetrics[]> {
    const { microBatch, accumulate } = this.options;
    const rows = steps.map(({ step }) => this.row(step));
    const first = Math.min(...rows);
    const { buffer, offset } = this.rows;
    const bytes = ROW_BYTES * (Math.max(...rows) + accumulate - first);
    const read = await this.gpu.read({ buffer, offset: offset + ROW_BYTES * first, bytes });
    const [words, values] = [new Uint32Array(read), new Float32Array(read)];
    return steps.map(({ images }, i) => {
      const result = { loss: 0, correct: 0, gradNorm: 0, badGradient: null as string | null };
      for (let done = 0, row = (rows[i] as number) - first; done < images; done += microBatch, row++) {
        const [loss, right, norm] = values.subarray(row * METRICS) as unknown as [number, number, number];
        result.loss += (loss * Math.min(microBatch, images - done)) / images;
        result.correct += right;
        result.gradNorm = norm; // the last micro-batch of the step has the final norm
        result.badGradient = arena.nameAt(words[row * METRICS + 3] as number);
      }
      return result;
    });
  }
}
