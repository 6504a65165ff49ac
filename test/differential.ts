/** Random settings with the results of PyTorch and of timm's formulas, from scripts/reference/differential.py. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Counter } from '../src/core/rng.js';
import { asFloat32, decodeSafetensors } from '../src/io/safetensors.js';
import type { VitOptions } from '../src/models/vit_config.js';
import type { Settings } from '../src/recipe/settings.js';

/** A parameter's initial distribution: its kind, and a standard deviation, a value or the name of a bound. */
export type Law = readonly ['normal' | 'constant', number] | readonly ['uniform', string];

interface Cases {
  readonly schedule: {
    readonly kind: Settings['schedule'];
    /** Steps per epoch. */
    readonly batches: number;
    readonly epochs: number;
    readonly lr: number;
    readonly warmup_lr: number;
    readonly min_lr: number;
    readonly warmup_epochs: number;
    readonly lrs: number[];
  }[];
  readonly ema: { readonly decay: number; readonly steps: number[]; readonly decays: number[] }[];
  readonly accumulation: {
    readonly part: number;
    readonly smoothing: number;
    readonly records: number[];
    readonly loss: number;
    readonly right: number;
  }[];
  readonly clip: {
    readonly sizes: [number, number];
    readonly scale: number;
    readonly bound: number;
    readonly norm: number;
    readonly coefficient: number;
  }[];
  readonly smoothing: {
    readonly rows: number;
    readonly classes: number;
    readonly smoothing: number;
    readonly hard: number;
    readonly soft: number;
  }[];
  readonly mixup: {
    readonly rows: number;
    readonly classes: number;
    readonly lam: number;
    readonly smoothing: number;
    readonly loss: number;
  }[];
  readonly cutmix: {
    readonly height: number;
    readonly width: number;
    readonly lam: number;
    readonly row: number;
    readonly column: number;
    readonly box: [number, number, number, number];
    readonly corrected: number;
  }[];
  readonly drop_path: {
    readonly depth: number;
    readonly rate: number;
    readonly rates: number[];
    readonly scale: number;
  }[];
  readonly init: {
    readonly config: {
      readonly embed_dim: number;
      readonly num_heads: number;
      readonly depth: number;
      readonly mlp_ratio: number;
      readonly patch_size: number;
      readonly image_size: number;
      readonly in_chans: number;
      readonly num_classes: number;
      readonly pool: 'cls' | 'mean';
      readonly reg_tokens: number;
    };
    readonly bounds: Record<string, number>;
  }[];
  readonly laws: Record<'timm' | 'pytorch', Record<string, Law>>;
  readonly decays: Record<string, boolean>;
}

/** The seeds of the sections; stream 0 drew the settings, the others draw inputs. */
const SEED = { ema: 2, accumulation: 3, clip: 4, smoothing: 5, mixup: 6, drop_path: 8 } as const;
type Section = keyof typeof SEED;

const inReference = (name: string) => join(import.meta.dirname, 'reference', name);

export const cases: Cases = JSON.parse(readFileSync(inReference('differential.json'), 'utf8'));

/** The settings of a section, with their indices. */
export const numbered = <T>(section: readonly T[]): { i: number; setting: T }[] =>
  section.map((setting, i) => ({ i, setting }));

/** Returns a section's expected tensors, one setting after the other. */
export function answers(section: Section, lengths: readonly number[]): Float32Array[] {
  const { tensors } = decodeSafetensors(
    'differential',
    readFileSync(inReference('differential.safetensors')),
  );
  const all = asFloat32(tensors.get(section)!);
  let at = 0;
  const parts = lengths.map((length) => {
    at += length;
    return all.slice(at - length, at);
  });
  if (at !== all.length)
    throw new Error(`${section} has ${all.length} numbers, of which ${at} are asked for.`);
  return parts;
}

/** The draws of a setting's inputs, the same as in Python. */
export const drawing = (section: Section, i: number, stream = 1): Counter =>
  new Counter(SEED[section], stream, i);

/** Inputs that are uniform in ±scale, a power of two: exact in float32. */
export function uniform(section: Section, i: number, n: number, scale = 1): Float32Array<ArrayBuffer> {
  const draw = drawing(section, i);
  return Float32Array.from({ length: n }, () => scale * (2 * draw.uniform() - 1));
}

export const labelsOf = (section: Section, i: number, rows: number, classes: number) => {
  const draw = drawing(section, i, 2);
  return Uint32Array.from({ length: rows }, () => draw.below(classes));
};

export function vitOptions({ config }: Cases['init'][number]): VitOptions {
  return {
    embedDim: config.embed_dim,
    numHeads: config.num_heads,
    depth: config.depth,
    mlpRatio: config.mlp_ratio,
    patchSize: config.patch_size,
    imageSize: config.image_size,
    channels: config.in_chans,
    classes: config.num_classes,
    pool: config.pool,
    regTokens: config.reg_tokens,
  };
}
