/** An evaluation as text for a terminal. */
import { confusedPairs, type Evaluation } from '../training/score.js';
import { percent } from './progress.js';

/** More classes than this make a matrix that no terminal holds: their most frequent mistakes are listed instead. */
const MOST_IN_A_MATRIX = 20;
const PAIRS = 10;

export function describeEvaluation(file: string, evaluation: Evaluation): string {
  const { images, top1, top5, loss, ece, tta, per_class } = evaluation;
  const line = (figures: Pick<Evaluation, 'top1' | 'top5' | 'loss' | 'ece'>) =>
    `top-1 ${percent(figures.top1)}   top-5 ${percent(figures.top5)}   loss ${figures.loss.toFixed(4)}   ECE ${percent(figures.ece)}`;
  return [
    `${file}: ${images} images`,
    line({ top1, top5, loss, ece }),
    ...(tta ? [`with the mirror image: ${line(tta)}`] : []),
    '',
    ...perClass(evaluation),
    '',
    ...(per_class.length <= MOST_IN_A_MATRIX ? matrix(evaluation) : mistakes(evaluation)),
  ].join('\n');
}

const widest = (names: readonly string[]): number => Math.max(...names.map((name) => name.length));

function perClass({ per_class }: Evaluation): string[] {
  const width = widest(per_class.map(({ class: name }) => name));
  return per_class.map(
    ({ class: name, images, accuracy }) =>
      `  ${name.padEnd(width)}  ${percent(accuracy).padStart(8)}  of ${images}`,
  );
}

/** Columns are named by the first letters of their classes, in the order of the rows. */
function matrix({ confusion, per_class }: Evaluation): string[] {
  const names = per_class.map(({ class: name }) => name);
  const width = widest(names);
  const cell = Math.max(5, ...confusion.flat().map((n) => String(n).length + 1));
  const head = names.map((name) => name.slice(0, cell - 1).padStart(cell)).join('');
  const rows = confusion.map((row, i) => {
    const cells = row.map((n) => (n === 0 ? '·' : String(n)).padStart(cell)).join('');
    return `  ${names[i]!.padEnd(width)}${cells}`;
  });
  return [
    'Confusion: a row for each true class, a column for what it was taken for',
    `  ${''.padEnd(width)}${head}`,
    ...rows,
  ];
}

function mistakes(evaluation: Evaluation): string[] {
  const pairs = confusedPairs(evaluation, PAIRS);
  const actual = widest(pairs.map((pair) => pair.actual));
  const predicted = widest(pairs.map((pair) => pair.predicted));
  const rows = pairs.map(
    (pair) =>
      `  ${pair.actual.padEnd(actual)}  taken for  ${pair.predicted.padEnd(predicted)}  ${String(pair.images).padStart(5)}  ${percent(pair.share).padStart(8)} of the class`,
  );
  return [`The ${pairs.length} most frequent mistakes`, ...rows];
}
