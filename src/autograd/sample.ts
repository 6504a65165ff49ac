/** The samples of ops: the shapes of their inputs, and a name for people. */
import type { Shape } from '../core/shape.js';
import type { Sample, SampleInput } from './op.js';

export const shapeOf = (input: SampleInput): Shape =>
  'u32' in input ? input.u32 : 'rows' in input ? input.rows : input;

export const shapesOf = ({ inputs }: Sample<unknown>): Shape[] => inputs.map(shapeOf);

/** `(4160, 192) (576, 192) transB=true` */
export function describeSample(sample: Sample<unknown>): string {
  const attrs = Object.entries((sample.attrs ?? {}) as Record<string, unknown>);
  const said = attrs.filter(([, value]) => value !== false && value !== undefined);
  return [
    ...shapesOf(sample).map((shape) => `(${shape.join(', ')})`),
    ...said.map(([name, value]) => `${name}=${value}`),
  ].join(' ');
}
