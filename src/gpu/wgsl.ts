/**
 * Reads a kernel's bindings, parameter fields and tunable constants from its text. Call sites name buffers and numbers as
 * the kernel does, so that nothing is declared twice.
 */
import { KernelError } from '../core/errors.js';

export type BindingKind = 'read' | 'read_write' | 'texture' | 'layers';

export interface Binding {
  readonly name: string;
  readonly kind: BindingKind;
  /** The override by which it is bound (`// if NAME` behind its declaration); null if it always is. */
  readonly condition: string | null;
}

export interface Field {
  readonly name: string;
  readonly type: 'u32' | 'i32' | 'f32';
}

export interface Interface {
  /** In the order of the text, all of group 0. */
  readonly bindings: readonly Binding[];
  /** The fields of `struct Params`, four bytes each, in order. */
  readonly fields: readonly Field[];
  /** Names of `const NAME = 4u; // tune` and `alias NAME = f16; // tune` lines: the only text a loader may change. */
  readonly tunables: readonly string[];
  readonly subgroups: boolean;
}

const BINDING =
  /@group\(0\) @binding\((\d+)\) var(?:<storage, (read|read_write)>)? (\w+)\s*:\s*(texture_storage_2d(?:_array)?<rgba32float, read>)?[^;]*;(?: \/\/ if (\w+))?/g;
const PARAMS = /struct Params \{([^}]*)\}/;
const FIELD = /(\w+)\s*:\s*(u32|i32|f32)/g;
const TUNABLE = /^((?:const|alias) (\w+) = f?)\d+(u?; \/\/ tune)$/gm;
const HALVES = /^alias \w+ = f16; \/\/ tune$/m;
const ENABLE_F16 = /^enable f16;/m;
const IMMEDIATE = /^var<immediate> (\w+)\s*:\s*Params;$/m;

export function readInterface(label: string, source: string): Interface {
  const bindings: Binding[] = [];
  for (const [, index, access, name, texture, condition = null] of source.matchAll(BINDING)) {
    if (Number(index) !== bindings.length)
      throw new KernelError(
        `[${label}] bindings must be declared in order: @binding(${index}) is out of place.`,
      );
    const off = condition && new RegExp(`^override ${condition}: (bool = false|u32 = 0u);`, 'm').test(source);
    if (condition && (texture || !off))
      throw new KernelError(
        `[${label}] ${name}: "// if ${condition}" must follow an array, and ${condition} must be an override that is false or 0 by default.`,
      );
    const staged = texture?.includes('_array') ? 'layers' : 'texture';
    bindings.push({ name: name as string, kind: texture ? staged : (access as BindingKind), condition });
  }
  const params = PARAMS.exec(source)?.[1] ?? '';
  const fields = [...params.matchAll(FIELD)].map(([, name, type]) => ({ name, type }) as Field);
  return {
    bindings,
    fields,
    tunables: [...source.matchAll(TUNABLE)].map((match) => match[2] as string),
    subgroups: /^enable subgroups;/m.test(source),
  };
}

/** The bindings that a kernel has with these overrides, in binding order. */
export const boundWith = (
  { bindings }: Interface,
  overrides: Readonly<Record<string, number | boolean>>,
): Binding[] =>
  bindings.filter(({ condition }) => condition === null || Number(overrides[condition] ?? 0) !== 0);

// Compilers check indices that are constants, such as clip[1], so an array that is never read has a few elements.
const UNBOUND_ELEMENTS = 4;

/** Numbers the bindings anew and declares all others as private arrays, which the kernel does not touch. Line numbers stay. */
export function withBindings(source: string, bound: readonly Binding[]): string {
  return source.replace(BINDING, (line, _, __, name: string) => {
    const at = bound.findIndex((binding) => binding.name === name);
    return at >= 0
      ? line.replace(/@binding\(\d+\)/, `@binding(${at})`)
      : line.replace(/^.* var<[^>]*>/, 'var<private>').replace('>;', `, ${UNBOUND_ELEMENTS}>;`);
  });
}

/** Replaces the values of `// tune` lines (16 makes an alias f16); a name the kernel does not have is an error. */
export function applyTuning(label: string, source: string, values: Readonly<Record<string, number>>): string {
  const left = new Set(Object.keys(values));
  const tuned = source.replace(TUNABLE, (line, before: string, name: string, after: string) =>
    left.delete(name) ? `${before}${values[name]}${after}` : line,
  );
  if (left.size > 0) throw new KernelError(`[${label}] has no tunable constant ${[...left].join(', ')}.`);
  // A kernel that also works in f32 does not enable f16 itself. It is added to the first line, to keep the line numbers.
  const lacks = HALVES.test(tuned) && !ENABLE_F16.test(tuned);
  return lacks ? `enable f16; ${tuned}` : tuned;
}

const IMPORTED = /^\/\/ from (\S+\.wgsl):(\d+)$/;
const OWN = /^\/\/ end of (\S+\.wgsl)$/m;

/** The `file:line` that a line of a linked text comes from (scripts/wgsl.mjs). Lines count from 1. */
export function originOf(name: string, source: string, line: number): string {
  const above = source.split('\n').slice(0, line - 1);
  const mark = above.findLastIndex((text) => IMPORTED.test(text));
  const [, file, first] = IMPORTED.exec(above[mark] ?? '') ?? [];
  if (file) return `${file}:${Number(first) + above.length - 1 - mark}`;
  return `${OWN.exec(source)?.[1] ?? `kernels/${name}.wgsl`}:${line}`;
}

/** For devices without `@subgroup_size`: such kernels are chosen there only if the device has one size. */
export const withoutSubgroupSize = (source: string): string =>
  source.replace(/^enable subgroup_size_control;$/m, '').replace(/@subgroup_size\(\w+\) /, '');

/** For devices without immediates: moves the parameters to a uniform buffer after the last binding. */
export function immediatesAsUniform(source: string, binding: number): string {
  return source
    .replace(/^requires immediate_address_space;$/m, '')
    .replace(IMMEDIATE, (_, name: string) => `@group(0) @binding(${binding}) var<uniform> ${name} : Params;`);
}
