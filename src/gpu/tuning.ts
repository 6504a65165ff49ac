/** Numbers that depend on the adapter alone, measured by `node dist/bench.js tune` and kept in `tuning/`. */
import fallback from '../../tuning/default.json' with { type: 'json' };
import mesaSoftware from '../../tuning/mesa-software.json' with { type: 'json' };

export interface Knobs {
  /** Subgroups that share the rows of a LayerNorm: few keep weights in registers, many fill a GPU. */
  layerNormSubgroups: number;
  /** Chunks that rows are cut into for the first stage of a sum over rows. */
  columnChunks: number;
  /** Products of fewer multiply-adds take the plain kernel where texels do not fit: it compiles at once. */
  plainProducts: number;
  /** Workgroups of a product that keep the adapter busy: tiles get smaller, then sums are split, until there are so many. */
  productGroups: number;
  /** 1 where mixed precision keeps tensors between products in f16; 0 where products go through textures of f32. */
  halfTensors: number;
}

const measured: Readonly<Record<string, Knobs>> = { 'mesa-software': mesaSoftware.knobs };

/** What a file of `tuning/` is called for an adapter. */
export const tuningName = ({ vendor, architecture }: { vendor: string; architecture: string }): string =>
  `${vendor}-${architecture}`.toLowerCase().replace(/[^a-z0-9-]+/g, '-');

/** The adapter's own numbers where they were measured, else safe ones; a copy, which a tuner may change. */
export const knobsFor = (adapter: { vendor: string; architecture: string }): Knobs => ({
  ...(measured[tuningName(adapter)] ?? fallback.knobs),
});
