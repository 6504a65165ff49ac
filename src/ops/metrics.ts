/** Records the metrics of a step in a ring on the device. */
import metricsSource from '../../kernels/optimizer/metrics_step.wgsl';
import { defineKernel } from '../gpu/pipeline.js';
import type { Tensor } from '../tensor/tensor.js';

const metricsKernel = defineKernel('metrics_step', metricsSource);

/** Words of a row of the metrics ring: loss, correct, gradient norm, the first index of a gradient that is not finite. */
export const METRICS = 4;

/** Writes the row of the ring that `step` names; `first` as findNonFinite leaves it. */
export function recordMetrics(
  operands: {
    readonly loss: Tensor;
    readonly correct: Tensor;
    readonly clip: Tensor;
    readonly first: Tensor;
    readonly step: Tensor;
  },
  metrics: Tensor,
): void {
  metrics.gpu.run(metricsKernel, { ...operands, metrics }, { count: operands.first.size }, 1);
}
