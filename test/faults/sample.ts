import { Counter } from '../../src/core/rng.js';
import type { FileContent } from '../../src/io/atomic.js';
import { encodeSafetensors, fromFloat32, type TensorData } from '../../src/io/safetensors.js';
import { safetensorsContent } from '../../src/io/safetensors_file.js';

const metadataOf = (step: number) => ({
  format: 'pt',
  step: String(step),
  progress: `{"step":${step}}`,
});

function tensorsOf(step: number, bytes: number): Map<string, TensorData> {
  const numbers = new Counter(step, 0);
  const width = Math.max(1, Math.floor(bytes / 4 / 8));
  const tensors = new Map<string, TensorData>();
  for (const prefix of ['', 'adamw.m.', 'adamw.v.', 'ema.'])
    for (const name of ['head.weight', 'head.bias'])
      tensors.set(
        prefix + name,
        fromFloat32([width], new Float32Array(width).fill(step + numbers.uniform())),
      );
  return tensors;
}

/** A state file of about `bytes` bytes, determined by `step`. */
export const sampleState = (step: number, bytes = 3000): Uint8Array =>
  encodeSafetensors(tensorsOf(step, bytes), metadataOf(step));

/** The same file as a trainer writes it: tensor after tensor, not in the order of the file. */
export function sampleContent(step: number, bytes = 3000): FileContent {
  const tensors = tensorsOf(step, bytes);
  const pieces = () => [...tensors].reverse().map(([name, tensor]) => ({ name, bytes: tensor.bytes }));
  return safetensorsContent(tensors, metadataOf(step), pieces);
}
