/** The ceilings of an adapter: the most bytes that it moves and multiply-adds that it does in a second. */
import type { Gpu } from '../gpu/gpu.js';
import { multiplyAdds } from '../ops/ceiling.js';
import { scaleOp } from '../ops/scale.js';
import { Tensor } from '../tensor/tensor.js';
import { type Effort, timed } from './measure.js';

export interface Ceilings {
  /** Bytes read plus bytes written, by the scale kernel or by a copy between buffers, whichever is faster. */
  readonly gbps: number;
  readonly gflops: number;
}

const COPIED = 2 ** 26; // bytes, beyond most caches
const SOFTWARE_THREADS = 2 ** 14;
const GPU_THREADS = 2 ** 20;
const TRIPS = 171;

export async function measureCeilings(gpu: Gpu, effort: Effort): Promise<Ceilings> {
  const [x, y] = [Tensor.zeros(gpu, [COPIED / 4]), Tensor.zeros(gpu, [COPIED / 4])] as const;
  const times = [
    await timed(gpu, () => void scaleOp.forward({ x }, y, { factor: 1 }), effort),
    await timed(gpu, () => gpu.copy(x, y), effort),
  ];
  x.release();
  y.release();
  const chains = Tensor.empty(gpu, [4 * (gpu.info.software ? SOFTWARE_THREADS : GPU_THREADS)]);
  let operations = 0;
  const ms = await timed(
    gpu,
    () => {
      operations = multiplyAdds(chains, TRIPS);
    },
    effort,
  );
  chains.release();
  return {
    gbps: (2 * COPIED) / Math.min(...(times as number[])) / 1e6,
    gflops: operations / (ms as number) / 1e6,
  };
}
