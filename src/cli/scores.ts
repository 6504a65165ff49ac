/** An evaluation as text for a terminal: top-1, top-5, loss, ECE, accuracy by class, and mistakes. */
import { confusedPairs, type Evaluation } from '../training/score.js';
import { percent } from './progress.js';

/** A confusion matrix of more classes does not fit a terminal; the most frequent mistakes are listed instead. */
const MOST_IN_A_MATRIX = 20;
const PAIRS = 10;

/** The evaluation of the weights in `file`. */
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

/** The confusion matrix. Columns have the order of the rows, and the first letters of the classes as their names. */
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
    'Confusion matrix: a row for each true class, a column for each predicted class',
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
