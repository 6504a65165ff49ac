/** The samples of ops: the shapes of their inputs, and a text that names a sample. */
import type { Shape } from '../core/shape.js';
import { given, mapInputs } from './inputs.js';
import type { AnyOp, AnySample, SampleInput } from './op.js';

const shapeOf = (input: SampleInput): Shape =>
  'u32' in input ? input.u32 : 'rows' in input ? input.rows : input;

/** Shapes of the inputs by name. */
export const shapesOf = ({ inputs }: AnySample): Record<string, Shape> => mapInputs(inputs, shapeOf);

/** `(65, 16) (68, 16) (68) bias=true`: shapes, then optional inputs of floats, then attributes that differ from false. */
export function describeSample(op: AnyOp, sample: AnySample): string {
  const optional = given(sample.inputs).filter(
    ([name, input]) => op.inputs.includes(`${name}?`) && !('u32' in input),
  );
  const attrs = Object.entries({ ...sample.attrs }).filter(
    ([, value]) => value !== false && value !== undefined,
  );
  return [
    ...Object.values(shapesOf(sample)).map((shape) => `(${shape.join(', ')})`),
    ...optional.map(([name]) => `${name}=true`),
    ...attrs.map(([name, value]) => `${name}=${value}`),
  ].join(' ');
}
