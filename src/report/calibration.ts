/** Calibration, which compares the model's confidence with its accuracy: the reliability diagram of Guo et al., 2017. */
import type { Evaluation } from '../training/score.js';
import { figure, type Html, html, percent, section } from './html.js';
import { plotSvg } from './plot.js';

const probability = { domain: [0, 1], nice: false };
const axis = { values: [0, 0.25, 0.5, 0.75, 1], format: '.0%' };

async function reliabilityPlot({ reliability }: Evaluation): Promise<Html> {
  const values = reliability.filter(({ images }) => images > 0).map((bin) => ({ ...bin }));
  const x = { field: 'lower', type: 'quantitative', title: 'confidence', scale: probability, axis } as const;
  return plotSvg({
    width: 320,
    height: 320,
    layer: [
      {
        data: { values },
        mark: { type: 'bar', color: 'var(--series1)', opacity: 0.75, binSpacing: 1 },
        encoding: {
          x: { ...x, bin: 'binned' },
          x2: { field: 'upper' },
          y: { field: 'accuracy', type: 'quantitative', title: 'accuracy', scale: probability, axis },
        },
      },
      {
        data: { values: [{ p: 0 }, { p: 1 }] },
        mark: { type: 'line', color: 'var(--muted)', strokeDash: [4, 4], strokeWidth: 1 },
        encoding: { x: { field: 'p', type: 'quantitative' }, y: { field: 'p', type: 'quantitative' } },
      },
      {
        data: { values },
        mark: { type: 'point', filled: true, size: 36, color: 'var(--series2)', opacity: 1 },
        encoding: {
          x: { field: 'confidence', type: 'quantitative' },
          y: { field: 'accuracy', type: 'quantitative' },
        },
      },
    ],
  });
}

async function histogram({ reliability, images }: Evaluation): Promise<Html> {
  return plotSvg({
    width: 320,
    height: 120,
    data: { values: reliability.map((bin) => ({ ...bin, part: bin.images / images })) },
    mark: { type: 'bar', color: 'var(--series1)', opacity: 0.75, binSpacing: 1 },
    encoding: {
      x: {
        field: 'lower',
        bin: 'binned',
        type: 'quantitative',
        title: 'confidence',
        scale: probability,
        axis,
      },
      x2: { field: 'upper' },
      y: {
        field: 'part',
        type: 'quantitative',
        title: 'images',
        axis: { format: '.0%', tickCount: 3 },
      },
    },
  });
}

function verdict({ reliability, images, top1, ece }: Evaluation): string {
  const confidence = reliability.reduce((sum, bin) => sum + (bin.confidence ?? 0) * bin.images, 0) / images;
  const gap = confidence - top1;
  const tendency =
    Math.abs(gap) < 0.01 ? 'neither over- nor underconfident' : gap > 0 ? 'overconfident' : 'underconfident';
  return `The mean confidence is ${percent(confidence)} and the accuracy ${percent(top1)}: the model is ${tendency}. The expected calibration error is ${percent(ece, 2)}.`;
}

/** The section of a report about calibration. */
export async function calibrationSection(evaluation: Evaluation): Promise<Html> {
  return section(
    'calibration',
    'Calibration',
    verdict(evaluation),
    html`<div class="plots narrow">${figure(
      await reliabilityPlot(evaluation),
      'Accuracy in each of 15 bins of confidence (the highest probability of an image). A dot stands at the mean confidence of its bin. On the dashed line confidence equals accuracy; bars below it are overconfident.',
    )}${figure(await histogram(evaluation), 'Share of the images in each bin. A bin of few images says little.')}</div>`,
  );
}
