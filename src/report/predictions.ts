/** Single images with the model's predictions. */
import { probabilities } from '../training/score.js';
import { figure, type Html, html, percent, section } from './html.js';
import { img, type Picture } from './picture.js';

export interface Prediction {
  /** Index of the image in its split. */
  readonly record: number;
  readonly actual: string;
  /** The most probable classes, the most probable first. */
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

/** The images on the page: evenly spaced samples of the right and of the wrong ones, and the most confident mistakes. */
export interface Selection {
  readonly right: readonly Prediction[];
  readonly wrong: readonly Prediction[];
  readonly surest: readonly Prediction[];
}

/** At most `count` images of each kind. */
export function select(predictions: readonly Prediction[], count: number): Selection {
  const wrong = predictions.filter((it) => !isRight(it));
  const surest = [...wrong].sort((a, b) => b.ranked[0]!.probability - a.ranked[0]!.probability);
  return {
    right: evenly(predictions.filter(isRight), count),
    wrong: evenly(wrong, count),
    surest: surest.slice(0, count),
  };
}

/** At most `count` items at equal distances, so that the sample does not flatter the model. */
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

/** The section of a report about single images. */
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
    'The true class is below each image, and the three most probable classes are beside it; the true one is coloured.',
    await group('Right', 'An evenly spaced sample of the images that are classified correctly.', right),
    await group('Wrong', 'An evenly spaced sample of the mistakes.', wrong),
    await group(
      'Most confident mistakes',
      'The mistakes with the highest confidence: hard images, and sometimes wrong labels.',
      surest,
    ),
  );
}
