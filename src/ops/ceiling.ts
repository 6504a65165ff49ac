/** The arithmetic ceiling of an adapter: multiply-adds on registers alone. Not an op: the benchmark compares ops with it. */
import source from '../../kernels/elementwise/ceiling_forward.wgsl';
import { defineKernel } from '../gpu/pipeline.js';
import type { Tensor } from '../tensor/tensor.js';
import { groupsFor, quadsOf, ROW_WG } from './common.js';

const kernel = defineKernel('ceiling_forward', source);

const ROUNDS = 4; // of the kernel's inner loop
const OPERATIONS = 48; // of a round: a multiplication and an addition in each of six vec4

/** Runs the chains, one invocation per quad of y; returns the floating-point operations that takes. */
export function multiplyAdds(y: Tensor, trips: number): number {
  const threads = quadsOf(y.size);
  // Chains that tend to 1, so that no value overflows or turns denormal.
  y.gpu.run(kernel, { y }, { threads, trips, m: 0.875, a: 0.125 }, groupsFor(threads, ROW_WG));
  return threads * trips * ROUNDS * OPERATIONS;
}
