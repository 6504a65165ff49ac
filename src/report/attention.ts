/** Attention maps of a Vision Transformer: single heads, and rollout over all layers. */
import { look } from '../inspect/look.js';
import { overPatches } from '../inspect/rollout.js';
import type { Model } from '../models/model.js';
import { VisionTransformer } from '../models/vit.js';
import type { ImageStore } from '../ops/batch.js';
import { figure, type Html, html, percent, section } from './html.js';
import { heat, img, lit, type Picture } from './picture.js';
import type { Prediction } from './predictions.js';

/** Attention of one image over the grid of patches. A map has a value for each patch, row by row. */
export interface AttentionMaps {
  /** A map for each head of the last layer. */
  readonly heads: readonly Float64Array[];
  /** Attention rollout over all layers. */
  readonly rollout: Float64Array;
}

/** The attention maps of each record. */
export async function attentionMaps(
  model: VisionTransformer,
  store: ImageStore,
  records: readonly number[],
): Promise<AttentionMaps[]> {
  const { tokens: N, grid, pool } = model.config;
  const patches = grid[0] * grid[1];
  const looks = await look(model, store, records);
  return looks.map(({ attention, rollout }) => ({
    heads: attention.at(-1)!.map((head) => overPatches(head, N, patches, pool)),
    rollout: overPatches(rollout, N, patches, pool),
  }));
}

/** An image with its prediction. */
export interface Shown {
  readonly prediction: Prediction;
  readonly picture: Picture;
}

interface Looked extends Shown {
  readonly maps: AttentionMaps;
}

/** The least width of a lit image in pixels. It is enlarged so that the light falls off smoothly. */
const LIT_WIDTH = 128;

async function row({ prediction, picture, maps }: Looked, { config }: VisionTransformer): Promise<Html> {
  const { actual, ranked } = prediction;
  const heads = await Promise.all(
    maps.heads.map((map, h) => img(heat(map, config.grid), `attention of head ${h + 1}`)),
  );
  const seen = ranked[0]!;
  const caption = html`<b>${actual}</b>, ${seen.name === actual ? 'recognised' : html`taken for <b>${seen.name}</b>`} (${percent(seen.probability, 0)})`;
  return figure(
    html`<div class="looked"><div class="pair">${await img(picture, actual)}${await img(
      lit(picture, maps.rollout, config.grid, Math.ceil(LIT_WIDTH / picture.width)),
      'the image lit by its attention rollout',
    )}</div><div class="heads" style="--columns:${Math.ceil(heads.length / 2)}">${heads}</div></div>`,
    caption,
    'attention',
  );
}

/** The section of a report about attention; null if the model is not a Vision Transformer. */
export async function attentionSection(
  model: Model,
  store: ImageStore,
  shown: readonly Shown[],
): Promise<Html | null> {
  if (!(model instanceof VisionTransformer)) return null;
  const maps = await attentionMaps(
    model,
    store,
    shown.map(({ prediction }) => prediction.record),
  );
  const looked = shown.map((it, i) => ({ ...it, maps: maps[i] as AttentionMaps }));
  const { pool, depth, heads, regTokens } = model.config;
  const reader =
    pool === 'cls'
      ? 'the row of the class token, which is what the head reads'
      : `the mean over the rows of all patches${regTokens > 0 ? ', without the registers' : ''}, because the head reads the mean of their tokens; a mean says less than the row of one class token`;
  return section(
    'attention',
    'Attention',
    html`Each image, the same image lit by attention rollout over all ${depth} layers, and the maps of the ${heads} heads of the last layer (dark: least, light: most; every map on its own scale). Shown is ${reader}. Rollout multiplies the layers' matrices 0.5 A + 0.5 I, A averaged over heads and rows divided by their sums (Abnar and Zuidema, 2020). It traces where information can come from, and does not explain a decision.`,
    html`<div class="lookeds">${await Promise.all(looked.map((it) => row(it, model)))}</div>`,
  );
}
