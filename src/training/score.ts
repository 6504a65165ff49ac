/** Scores of labelled images from their logits: accuracy, loss, confusion, calibration. Computed on the host in float64. */
import { NonFiniteError } from '../core/errors.js';

/** The accuracy on the images of one class. */
export interface ClassResult {
  readonly class: string;
  readonly images: number;
  /** A fraction of `images`; null if there are none. */
  readonly accuracy: number | null;
}

/** The images whose highest probability lies in (lower, upper]. Means are fractions; null for an empty bin. */
export interface ReliabilityBin {
  readonly lower: number;
  readonly upper: number;
  readonly images: number;
  readonly confidence: number | null;
  readonly accuracy: number | null;
}

/** Scores of a set of images. Accuracies and the calibration error are fractions. */
export interface Score {
  readonly images: number;
  readonly top1: number;
  readonly top5: number;
  /** Mean cross-entropy (negative log-likelihood) in nats, without label smoothing. */
  readonly loss: number;
  /** Expected calibration error over 15 bins of equal width (Guo et al., 2017, equation 3). */
  readonly ece: number;
}

/** All scores of a set of images, overall and by class. */
export interface Evaluation extends Score {
  readonly per_class: readonly ClassResult[];
  /** confusion[i][j]: number of images of class i that are classified as class j. */
  readonly confusion: readonly (readonly number[])[];
  readonly reliability: readonly ReliabilityBin[];
  /** Scores with test-time augmentation: the mean probabilities of each image and its mirror image. Absent without it. */
  readonly tta?: Score & { readonly method: 'flip' };
}

const BINS = 15;

type Values = ArrayLike<number>;

/** Row i of values (n, K). */
const rowOf = (values: Values, i: number, K: number): Float64Array =>
  Float64Array.from({ length: K }, (_, c) => values[i * K + c] as number);

/** softmax(logits) of one row (K), in float64. Throws a NonFiniteError if a logit is NaN or infinite. */
export function probabilities(logits: Float64Array): Float64Array {
  const highest = logits.reduce((most, x) => Math.max(most, x));
  const row = logits.map((x) => Math.exp(x - highest));
  const mass = row.reduce((sum, p) => sum + p, 0);
  if (!Number.isFinite(mass))
    throw new NonFiniteError('The logits are not finite. The weights are damaged, or the training diverged.');
  return row.map((p) => p / mass);
}

/** Logits (n, K) whose softmax is the mean of softmax(a) and softmax(b): the logarithm of that mean. */
export function meanPrediction(a: Values, b: Values, K: number): Float64Array {
  const mean = new Float64Array(a.length);
  for (let i = 0; i < a.length / K; i++) {
    const [p, q] = [probabilities(rowOf(a, i, K)), probabilities(rowOf(b, i, K))];
    mean.set(
      p.map((value, c) => Math.log((value + q[c]!) / 2)),
      i * K,
    );
  }
  return mean;
}

/** Scores logits (n, K) against n labels. Equal logits rank in the order of the classes. Throws a NonFiniteError. */
export function score(logits: Values, labels: Values, classes: readonly string[]): Evaluation {
  const K = classes.length;
  const confusion = classes.map(() => classes.map(() => 0));
  const bins = Array.from({ length: BINS }, () => ({ images: 0, right: 0, confidence: 0 }));
  let [five, loss] = [0, 0];
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i] as number;
    const row = rowOf(logits, i, K);
    const mine = row[label] as number;
    const before = row.reduce((n, x, c) => n + (x > mine || (x === mine && c < label) ? 1 : 0), 0);
    const highest = row.reduce((most, x) => Math.max(most, x));
    const predicted = row.indexOf(highest); // the first of equal logits
    const confidence = probabilities(row)[predicted] as number;
    confusion[label]![predicted]!++;
    if (before < 5) five++;
    loss += highest - mine - Math.log(confidence);
    const bin = bins[Math.max(0, Math.ceil(confidence * BINS) - 1)]!;
    bin.images++;
    bin.confidence += confidence;
    if (before === 0) bin.right++;
  }
  const images = labels.length;
  const right = confusion.reduce((sum, row, c) => sum + row[c]!, 0);
  const gap = bins.reduce((sum, bin) => sum + Math.abs(bin.right - bin.confidence), 0);
  return {
    images,
    top1: right / images,
    top5: five / images,
    loss: loss / images,
    ece: gap / images,
    per_class: classes.map((name, c) => {
      const seen = confusion[c]!.reduce((sum, n) => sum + n, 0);
      return { class: name, images: seen, accuracy: share(confusion[c]![c]!, seen) };
    }),
    confusion,
    reliability: bins.map((bin, b) => ({
      lower: b / BINS,
      upper: (b + 1) / BINS,
      images: bin.images,
      confidence: share(bin.confidence, bin.images),
      accuracy: share(bin.right, bin.images),
    })),
  };
}

const share = (n: number, of: number): number | null => (of === 0 ? null : n / of);

export interface ConfusedPair {
  readonly actual: string;
  readonly predicted: string;
  readonly images: number;
  /** Fraction of all images of the actual class. */
  readonly share: number;
}

/** The `count` most frequent mistakes, the most frequent first. */
export function confusedPairs({ confusion, per_class }: Evaluation, count: number): ConfusedPair[] {
  const pairs = confusion.flatMap((row, i) =>
    row.flatMap((images, j) => {
      if (i === j || images === 0) return [];
      const [actual, predicted] = [per_class[i]!, per_class[j]!];
      return [{ actual: actual.class, predicted: predicted.class, images, share: images / actual.images }];
    }),
  );
  return pairs.sort((a, b) => b.images - a.images).slice(0, count);
}
