/** A Vision Transformer looked into: the attention of each head, its rollout, and the prediction after each block. */
import type { VisionTransformer } from '../models/vit.js';
import type { ImageStore } from '../ops/batch.js';
import { keep } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { forward } from '../training/evaluate.js';
import { probabilities } from '../training/score.js';
import { attentionWeights, meanOf, rollout } from './rollout.js';

/** The inside of one forward pass of one image. N tokens, K classes. */
export interface Look {
  /** Attention weights by layer and head, each (N, N): row i has the shares that token i takes from every token. */
  readonly attention: readonly (readonly Float64Array[])[];
  /** Attention rollout (N, N) over all layers. */
  readonly rollout: Float64Array;
  /**
   * Class probabilities (K) after each block, by the model's own pooling, norm and head (the logit lens of nostalgebraist, 2020).
   * The last ones are the model's prediction.
   */
  readonly lens: readonly Float64Array[];
}

/** Looks into the forward passes of records, in one batch. Attention is computed in float64 from the queries and keys. */
export async function look(
  model: VisionTransformer,
  store: ImageStore,
  records: readonly number[],
): Promise<Look[]> {
  const { tokens, heads, locality: masked } = model.config;
  const [qkv, logits]: Tensor[][] = [[], []];
  forward(model, store, Uint32Array.from(records), {
    observeAttention: (packed) => qkv!.push(keep(packed)),
    observeBlock: (x) => logits!.push(keep(model.readOut(x))),
  }).release();
  const [packed, lenses] = [await readAll(qkv!), await readAll(logits!)];
  const ofRecord = (values: Float32Array, i: number) => {
    const size = values.length / records.length;
    return values.subarray(i * size, (i + 1) * size);
  };
  return records.map((_, i) => {
    const attention = packed.map((values) =>
      attentionWeights({ qkv: ofRecord(values, i), tokens, heads, masked }),
    );
    return {
      attention,
      rollout: rollout(attention.map(meanOf), tokens),
      lens: lenses.map((values) => probabilities(Float64Array.from(ofRecord(values, i)))),
    };
  });
}

async function readAll(tensors: readonly Tensor[]): Promise<Float32Array[]> {
  const values = await Promise.all(tensors.map((tensor) => tensor.toFloat32()));
  for (const tensor of tensors) tensor.release();
  return values;
}

/** The learned parts of a model that can be seen: filters and positions. */
export interface Learned {
  /** Weights of the patch embedding (D, C, P, P); null for another tokenizer than plain patches. */
  readonly filters: { readonly values: Float32Array; readonly shape: readonly number[] } | null;
  /** Cosine similarity (n, n) of the position embeddings of the n patches. */
  readonly similarity: Float64Array;
}

/** Reads the filters and the positions of a model. */
export async function learned(model: VisionTransformer): Promise<Learned> {
  const { embedDim, prefix, tokens } = model.config;
  const positions = await model.posEmbed.tensor.toFloat32();
  const filters = model.parameters().find(({ name }) => name === 'patch_embed.proj.weight');
  return {
    filters: filters ? { values: await filters.tensor.toFloat32(), shape: filters.shape } : null,
    similarity: cosines(positions.subarray(prefix * embedDim), tokens - prefix),
  };
}

/** Cosine similarity (n, n) of n vectors in the rows of a matrix. A zero vector is similar to none. */
export function cosines(rows: Float32Array, n: number): Float64Array {
  const width = rows.length / n;
  const row = (i: number) => rows.subarray(i * width, (i + 1) * width);
  const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, c) => sum + value * b[c]!, 0);
  const norms = Array.from({ length: n }, (_, i) => Math.sqrt(dot(row(i), row(i))));
  return Float64Array.from({ length: n * n }, (_, at) => {
    const [i, j] = [Math.floor(at / n), at % n];
    const both = norms[i]! * norms[j]!;
    return both > 0 ? dot(row(i), row(j)) / both : 0;
  });
}
