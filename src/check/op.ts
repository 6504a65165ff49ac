/** The check of a whole op, one's own as well as the project's: every sample, every kernel variant, float32 and f16. */
import type { AnyOp, AnySample, ForwardResult, Op, Sample } from '../autograd/op.js';
import { describeSample } from '../autograd/sample.js';
import type { Gpu } from '../gpu/gpu.js';
import { lacks, worksInHalf } from './expectation.js';
import { checkSample, type Finding } from './ops.js';

/** The result of one sample of an op, computed by one variant of its kernels. */
export interface OpFinding extends Finding {
  /** Shapes and attributes of the sample; `f16` behind them in mixed precision. */
  readonly sample: string;
}

/** The samples and precisions to check. */
export interface CheckOptions<D extends string, A> {
  /** Inputs and attributes; the op's own samples when absent. */
  readonly samples?: readonly Sample<D, A>[];
  /** True for f16 alone, false for f32 alone. When absent: f32, and f16 if the op and the adapter have it. */
  readonly f16?: boolean;
}

/**
 * Checks an op on a device. For each sample and each variant of its kernels it compares the forward pass with the op's float64
 * `reference`, and each gradient with central differences of that reference. It also looks for stores outside of the tensors,
 * gradients that are not added up, values that differ in a second run, and memory that is not released.
 *
 * Returns a finding for each; an op is right where every `problems` is empty. Rejects with a KernelError for WGSL that does not
 * compile, and with a ShapeError for a sample that the op refuses.
 */
export function checkOp<D extends string, A, S extends ForwardResult>(
  gpu: Gpu,
  op: Op<D, A, S>,
  options?: CheckOptions<D, NoInfer<A>>,
): Promise<OpFinding[]>;
export async function checkOp(
  gpu: Gpu,
  op: AnyOp,
  { samples = op.samples, f16 }: { samples?: readonly AnySample[]; f16?: boolean } = {},
): Promise<OpFinding[]> {
  const both = worksInHalf(op) && lacks(gpu.info, { f16: true }) === null ? [false, true] : [false];
  const { slackBytes } = gpu.diagnostics;
  const found: OpFinding[] = [];
  try {
    for (const sample of samples)
      for (const half of f16 === undefined ? both : [f16]) {
        const name = `${describeSample(op, sample)}${half ? ' f16' : ''}`;
        const findings = await checkSample(gpu, op, sample, half);
        found.push(...findings.map((finding) => ({ sample: name, ...finding })));
      }
  } finally {
    gpu.diagnostics.slackBytes = slackBytes;
  }
  return found;
}
