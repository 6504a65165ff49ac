/** Single images with what the model made of them. */
import { probabilities } from '../training/score.js';
import { figure, type Html, html, percent, section } from './html.js';
import { img, type Picture } from './picture.js';

export interface Prediction {
  readonly record: number;
  readonly actual: string;
  /** The most probable classes, by falling probability. */
  readonly ranked: readonly { readonly name: string; readonly probability: number }[];
}

/** Classes shown beside an image. */
const SHOWN = 3;

/** The prediction of every record, from logits (n, K). */
export function predictionsOf(
  logits: Float32Array,
  labels: ArrayLike<number>,
  classes: readonly string[],
): Prediction[] {
  const K = classes.length;
  return Array.from({ length: logits.length / K }, (_, record) => {
    const p = probabilities(Float64Array.from(logits.subarray(record * K, (record + 1) * K)));
    const ranked = classes.map((name, c) => ({ name, probability: p[c] as number }));
    return {
      record,
      actual: classes[labels[record] as number] as string,
      ranked: ranked.sort((a, b) => b.probability - a.probability).slice(0, SHOWN),
    };
  });
}

const isRight = ({ actual, ranked }: Prediction): boolean => ranked[0]!.name === actual;

/** What the page shows: images evenly spaced among the right ones and among the wrong ones, and the surest mistakes. */
export interface Selection {
  readonly right: readonly Prediction[];
  readonly wrong: readonly Prediction[];
  readonly surest: readonly Prediction[];
}

export function select(predictions: readonly Prediction[], count: number): Selection {
  const wrong = predictions.filter((it) => !isRight(it));
  const surest = [...wrong].sort((a, b) => b.ranked[0]!.probability - a.ranked[0]!.probability);
  return {
    right: evenly(predictions.filter(isRight), count),
    wrong: evenly(wrong, count),
    surest: surest.slice(0, count),
  };
}

/** At most `count` items at equal distances: no choice that could flatter the model. */
export function evenly<T>(items: readonly T[], count: number): T[] {
  const n = Math.min(count, items.length);
  return Array.from({ length: n }, (_, i) => items[Math.floor((i * items.length) / n)] as T);
}

async function card(prediction: Prediction, picture: Picture): Promise<Html> {
  const { actual, ranked } = prediction;
  const bars = ranked
    .slice(0, SHOWN)
    .map(
      ({ name, probability }) =>
        html`<li class="${name === actual ? 'true' : 'other'}" style="--p:${probability.toFixed(4)}"><span>${name}</span><span>${percent(probability, 0)}</span></li>`,
    );
  return figure(html`${await img(picture, actual)}<ol>${bars}</ol>`, actual, 'card');
}

export async function predictionsSection(
  { right, wrong, surest }: Selection,
  pictureOf: (record: number) => Picture,
): Promise<Html> {
  const group = async (title: string, about: string, shown: readonly Prediction[]) =>
    shown.length > 0
      ? html`<h3>${title}</h3><p class="about">${about}</p><div class="cards">${await Promise.all(shown.map((it) => card(it, pictureOf(it.record))))}</div>`
      : null;
  return section(
    'predictions',
    'Predictions',
    'Under each image its class, beside it the three classes that the model finds most probable; the true one is coloured.',
    await group('Right', 'Evenly spaced among all images that were recognised.', right),
    await group('Wrong', 'Evenly spaced among all mistakes.', wrong),
    await group(
      'Surely wrong',
      'The mistakes with the highest confidence: hard images, and sometimes wrong labels.',
      surest,
    ),
  );
}
