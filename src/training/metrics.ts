/** The metrics of steps, kept on the device until they are read: a ring of rows, so that no step waits for the host. */
import type { Gpu } from '../gpu/gpu.js';
import { METRICS, recordMetrics } from '../ops/metrics.js';
import type { Arena } from '../tensor/arena.js';
import { keep } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';

/** The result of one step: the mean loss of its batch, images classified right, the gradient's norm before clipping. */
export interface StepMetrics {
  readonly loss: number;
  readonly correct: number;
  readonly gradNorm: number;
  /** The first parameter whose gradient is not finite, if any is; such a step moves nothing. */
  readonly badGradient: string | null;
}

/** Steps whose metrics are kept on the device at most: 16 KB of them. */
const MOST_UNREAD = 1024;
const ROW_BYTES = 4 * METRICS;

export interface RingOptions {
  /** Images of one part of a batch. */
  readonly microBatch: number;
  /** The most parts that a batch has; each writes a row. */
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

  /** The first row of a step, counted from 0. */
  row(step: number): number {
    return (step % this.unread) * this.options.accumulate;
  }

  /** Asks for the row that the step's state names to be written. */
  record(operands: Parameters<typeof recordMetrics>[0]): void {
    recordMetrics(operands, this.rows);
  }

  /** The metrics of the given steps, each with the size of its batch. Waits for these steps. */
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
        result.gradNorm = norm; // of the last part, after which it is known
        result.badGradient = arena.nameAt(words[row * METRICS + 3] as number);
      }
      return result;
    });
  }
}
