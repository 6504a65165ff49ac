import { Counter } from '../../src/core/rng.js';
import { encodeSafetensors, fromFloat32, type TensorData } from '../../src/io/safetensors.js';

/** A state file of about `bytes` bytes, all of them a function of `step`. */
export function sampleState(step: number, bytes = 3000): Uint8Array {
  const numbers = new Counter(step, 0);
  const width = Math.max(1, Math.floor(bytes / 4 / 8));
  const tensors = new Map<string, TensorData>();
  for (const prefix of ['', 'adamw.m.', 'adamw.v.', 'ema.'])
    for (const name of ['head.weight', 'head.bias'])
      tensors.set(
        prefix + name,
        fromFloat32([width], new Float32Array(width).fill(step + numbers.uniform())),
      );
  return encodeSafetensors(tensors, { format: 'pt', step: String(step), progress: `{"step":${step}}` });
}
