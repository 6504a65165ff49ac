/** Numbers that depend on the adapter alone, measured by `node dist/bench.js tune` and kept in `tuning/`. */
import fallback from '../../tuning/default.json' with { type: 'json' };
import mesaSoftware from '../../tuning/mesa-software.json' with { type: 'json' };

export interface Knobs {
  /** Subgroups of a LayerNorm: with few, each keeps the weights in registers for many rows; many fill a GPU. */
  layerNormSubgroups: number;
  /** Number of chunks of rows in the first stage of a sum over rows. */
  columnChunks: number;
  /** Products with fewer multiply-adds, if not shaped for texels, use the plain kernel, which compiles fast. */
  plainProducts: number;
  /** Workgroups that keep the adapter busy. To reach it, a product gets smaller tiles, then splits its sums. */
  productGroups: number;
  /** 1 if mixed precision keeps tensors between products in f16; 0 if products read f32 textures. */
  halfTensors: number;
}

const measured: Readonly<Record<string, Knobs>> = { 'mesa-software': mesaSoftware.knobs };

/** The name of an adapter's file in `tuning/`, without the extension. */
export const tuningName = ({ vendor, architecture }: { vendor: string; architecture: string }): string =>
  `${vendor}-${architecture}`.toLowerCase().replace(/[^a-z0-9-]+/g, '-');

/** The numbers measured on this adapter, or else the defaults. It is a copy, which the tuner may change. */
export const knobsFor = (adapter: { vendor: string; architecture: string }): Knobs => ({
  ...(measured[tuningName(adapter)] ?? fallback.knobs),
});
