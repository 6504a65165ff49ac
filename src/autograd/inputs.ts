/**
 * The inputs of ops by name. An op declares them as `['x', 'weight', 'bias?']`: an input with a `?` may be left out. The
 * types here turn that list into objects, so that the compiler refuses a name that was not declared.
 */
import type { AnyOp } from './op.js';

type Optional = `${string}?`;

/** `bias` of the declaration `bias?`. */
export type InputName<D extends string> = D extends `${infer Name}?` ? Name : D;

/** Inputs of an op that is not known to the compiler. */
export type Inputs<T> = Readonly<Record<string, T | undefined>>;

/** A T for each declared input D; undefined for one that is left out. */
export type ByName<D extends string, T> = string extends D
  ? Inputs<T>
  : { readonly [Name in Exclude<D, Optional>]: T } & {
      readonly [Name in InputName<Extract<D, Optional>>]?: T | undefined;
    };

/** Names and values of the inputs that are not left out, in the object's order. */
export const given = <T>(inputs: Inputs<T>): [name: string, value: T][] =>
  Object.entries(inputs).filter((entry): entry is [string, T] => entry[1] !== undefined);

/** Applies `f` to every input that is not left out. `index` counts these from 0. */
export const mapInputs = <T, U>(
  inputs: Inputs<T>,
  f: (value: T, name: string, index: number) => U,
): Record<string, U> =>
  Object.fromEntries(given(inputs).map(([name, value], index) => [name, f(value, name, index)]));

/** True where the op has a gradient for the input. */
export const hasGradient = ({ backward, differentiable }: AnyOp, name: string): boolean =>
  backward !== undefined && (differentiable?.includes(name) ?? true);
