/** Accuracy of each class, and the confusion matrix. */
import { type ConfusedPair, confusedPairs, type Evaluation } from '../training/score.js';
import { count, figure, type Html, html, percent, section } from './html.js';
import { plotSvg } from './plot.js';

/** The confusion matrix of more classes is a heat map instead of a table of numbers. */
const MOST_IN_A_TABLE = 20;
const PAIRS = 10;
/** Cells of larger shares are so dark that their numbers have the colour of the page. */
const DARK = 0.72;

function bars({ per_class }: Evaluation): Html {
  const rows = [...per_class]
    .sort((a, b) => (b.accuracy ?? -1) - (a.accuracy ?? -1))
    .map(
      ({ class: name, accuracy, images }) =>
        html`<li style="--p:${(accuracy ?? 0).toFixed(4)}" title="${count(images)} images"><span>${name}</span><span>${percent(accuracy)}</span></li>`,
    );
  return html`<ol class="bars">${rows}</ol>`;
}

function matrixTable({ confusion, per_class }: Evaluation): Html {
  const heads = per_class.map(({ class: name }) => html`<th scope="col"><span>${name}</span></th>`);
  const rows = confusion.map((row, i) => {
    const { class: name, images } = per_class[i]!;
    const cells = row.map((n, j) => {
      const share = images === 0 ? 0 : n / images;
      const kind = `${i === j ? 'right' : 'wrong'}${share > DARK ? ' full' : ''}`;
      return html`<td class="${kind}" style="--p:${share.toFixed(3)}">${n || html`<span class="zero">·</span>`}</td>`;
    });
    return html`<tr><th scope="row">${name}</th>${cells}</tr>`;
  });
  return html`<table class="confusion"><thead><tr><td></td>${heads}</tr></thead><tbody>${rows}</tbody></table>`;
}

async function matrixMap({ confusion, per_class }: Evaluation): Promise<Html> {
  const values = confusion.flatMap((row, i) =>
    row.flatMap((n, j) => (n > 0 ? [{ i, j, share: n / per_class[i]!.images }] : [])),
  );
  const edge = { type: 'ordinal', axis: null, scale: { domain: per_class.map((_, c) => c) } } as const;
  return plotSvg({
    width: 420,
    height: 420,
    data: { values },
    mark: { type: 'rect', color: 'var(--series1)' },
    encoding: {
      x: { field: 'j', ...edge },
      y: { field: 'i', ...edge },
      opacity: {
        field: 'share',
        type: 'quantitative',
        scale: { domain: [0, 1], range: [0.06, 1] },
        legend: null,
      },
    },
  });
}

const pairsTable = (pairs: readonly ConfusedPair[]): Html =>
  html`<table class="pairs"><thead><tr><th scope="col">class</th><th scope="col">predicted</th><th scope="col">images</th><th scope="col">of the class</th></tr></thead><tbody>${pairs.map(
    ({ actual, predicted, images, share }) =>
      html`<tr><td>${actual}</td><td>${predicted}</td><td>${count(images)}</td><td>${percent(share)}</td></tr>`,
  )}</tbody></table>`;

/** The section of a report about classes: accuracy by class, confusion matrix, most frequent mistakes. */
export async function classesSection(evaluation: Evaluation): Promise<Html> {
  const few = evaluation.per_class.length <= MOST_IN_A_TABLE;
  const pairs = confusedPairs(evaluation, PAIRS);
  const [top] = pairs;
  const matrix = few ? matrixTable(evaluation) : await matrixMap(evaluation);
  return section(
    'classes',
    'Classes',
    top
      ? html`The most frequent mistake: <b>${top.actual}</b> classified as <b>${top.predicted}</b>, ${count(top.images)} times (${percent(top.share)} of the class).`
      : 'There are no mistakes.',
    figure(bars(evaluation), 'Accuracy by class, best first.', 'wide'),
    html`<div class="plots matrix">${figure(
      matrix,
      'Confusion matrix: rows are true classes, columns predicted classes; shading is the share of the row.',
    )}${pairs.length > 0 ? figure(pairsTable(pairs), `The ${pairs.length} most frequent mistakes.`) : null}</div>`,
  );
}
