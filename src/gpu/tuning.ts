/**
 * Knobs: choices that depend on the adapter alone. `node dist/bench.js tune` measures them and keeps them in files, one for
 * each adapter, in the project's folder `tuning/` or in the user's.
 */
import fallback from '../../tuning/default.json' with { type: 'json' };
import swiftShader from '../../tuning/google-swiftshader.json' with { type: 'json' };
import mesaSoftware from '../../tuning/mesa-software.json' with { type: 'json' };
import { FormatError } from '../core/errors.js';
import { checked } from '../core/setting.js';

const { knobs: defaults } = fallback;

const count = (value: number, min: number, most = 1 << 30) =>
  ({ default: value, min, most, whole: true }) as const;
const growth = (value: number) => ({ default: value, min: -2, most: 2 }) as const;
/** `auto` is the first variant in the family's own order that can run. */
const variant = <const K extends string>(...kinds: readonly K[]) =>
  ({ default: 'auto' as 'auto' | K, choices: ['auto', ...kinds] as readonly ('auto' | K)[] }) as const;

/** The values that each knob may have, and the one it has where nobody measured. */
const knobRows = {
  /** Subgroups of a LayerNorm: with few, each keeps the weights in registers for many rows; many fill a GPU. */
  layerNormSubgroups: count(defaults.layerNormSubgroups, 1),
  /** Number of chunks of rows in the first stage of a sum over rows. */
  columnChunks: count(defaults.columnChunks, 1),
  /** Products with fewer multiply-adds, if not shaped for texels, use the plain kernel, which compiles fast. */
  plainProducts: count(defaults.plainProducts, 0),
  /** Workgroups that keep the adapter busy. To reach it, a product gets smaller tiles, then splits its sums. */
  productGroups: count(defaults.productGroups, 1),
  /** 1 if mixed precision keeps tensors between products in f16; 0 if products read f32 textures. */
  halfTensors: count(defaults.halfTensors, 0, 1),
  /**
   * The cost model of a product multiplies the rate of a tile by (area / 64²) to this power. The rates are those of one
   * card: above 0, large tiles are better than there; below 0, small ones are. Tiles by invocations, and by matrix units.
   */
  tileGrowth: growth(0),
  matrixTileGrowth: growth(0),
  /** The variant of a product that is tried first, in float32 and in mixed precision. */
  products: variant('subgroup_matrix', 'texture', 'tile', 'plain'),
  halfProducts: variant('subgroup_matrix', 'texture', 'tile', 'plain'),
  /** The same for attention. */
  attention: variant('subgroup_matrix', 'texture', 'subgroup', 'plain'),
  halfAttention: variant('subgroup_matrix', 'texture', 'subgroup', 'plain'),
  layerNorm: variant('subgroup', 'plain'),
};

type KnobRows = typeof knobRows;
export type Knob = keyof KnobRows;
export type Knobs = {
  -readonly [K in Knob]: KnobRows[K] extends { choices: readonly (infer C)[] } ? C : number;
};
/** Knobs that name a variant of a kernel. */
export type VariantKnob = { [K in Knob]: Knobs[K] extends number ? never : K }[Knob];
/** A variant's class of adapters, as knobs name it. */
export type Kind = Exclude<Knobs[VariantKnob], 'auto'>;

export interface TuningFile {
  readonly path: string;
  readonly text: string;
}

/** Where an adapter's knobs come from. */
export interface TuningSource {
  /** Null if nobody measured this adapter: its knobs have safe values. */
  readonly file: string | null;
  /** A sentence for each value of the file that this adapter cannot use. Its knob stays as it would be without it. */
  readonly ignored: readonly string[];
}

/** The part of an adapter's information that tuning needs. */
interface Adapter {
  readonly vendor: string;
  readonly architecture: string;
  readonly software: boolean;
  readonly subgroupMatrix: readonly unknown[];
  readonly features: ReadonlySet<string>;
}

const bundled: Readonly<Record<string, TuningFile>> = {
  'google-swiftshader': { path: 'tuning/google-swiftshader.json', text: JSON.stringify(swiftShader) },
  'mesa-software': { path: 'tuning/mesa-software.json', text: JSON.stringify(mesaSoftware) },
};

/** The name of an adapter's file in `tuning/`, without the extension. */
export const tuningName = ({ vendor, architecture }: { vendor: string; architecture: string }): string =>
  `${vendor}-${architecture}`.toLowerCase().replace(/[^a-z0-9-]+/g, '-');

/** The adapters that a variant is for, and how to tell. Variants that are not listed run everywhere. */
const NEEDS: Readonly<Partial<Record<string, [string, (adapter: Adapter) => boolean]>>> = {
  subgroup_matrix: ['adapters with matrix units', ({ subgroupMatrix }) => subgroupMatrix.length > 0],
  texture: ["Mesa's CPU driver", ({ vendor, software }) => vendor === 'mesa' && software],
  subgroup: ['adapters with subgroups', ({ features }) => features.has('subgroups')],
};

/**
 * The knobs of an adapter: those that the file has, else those of the bundled file of its name, else the defaults. They are
 * a copy, which the tuner may change. Throws a FormatError or ConfigError that names the file if it is not one of knobs.
 */
export function tuningOf(
  adapter: Adapter,
  file: TuningFile | null = null,
): { readonly knobs: Knobs; readonly tuning: TuningSource } {
  const files = [bundled[tuningName(adapter)], file].filter((it) => it != null);
  const rows = Object.entries(knobRows);
  const knobs = Object.fromEntries(rows.map(([name, row]) => [name, row.default as unknown]));
  const ignored: string[] = [];
  for (const source of files)
    for (const [name, value] of Object.entries(read(source))) {
      const [what, fits] = NEEDS[String(value)] ?? [];
      if (fits && !fits(adapter))
        ignored.push(`${source.path}: ${name} is ${value}, which is for ${what}; this adapter ignores it.`);
      else knobs[name] = value;
    }
  return { knobs: knobs as Knobs, tuning: { file: files.at(-1)?.path ?? null, ignored } };
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const REMEDY = 'Correct the file, or delete it and tune again.';

/** The knobs that a file has, each checked. */
function read({ path, text }: TuningFile): Readonly<Record<string, unknown>> {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw new FormatError(path, `the file is not JSON: ${(error as Error).message}. ${REMEDY}`);
  }
  const knobs = isObject(content) ? content.knobs : undefined;
  if (!isObject(knobs)) throw new FormatError(path, `the file has no object "knobs". ${REMEDY}`);
  for (const [name, value] of Object.entries(knobs)) {
    if (!Object.hasOwn(knobRows, name))
      throw new FormatError(path, `there is no knob ${JSON.stringify(name)}. ${REMEDY}`);
    checked(knobRows[name as Knob], `${name} in ${path}`, value);
  }
  return knobs;
}
