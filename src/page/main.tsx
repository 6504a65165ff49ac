/** The page: draws the app, follows the link, and keeps the state of the page where programs can read it. */
import { effect } from '@preact/signals';
import { render } from 'preact';
import 'uplot/dist/uPlot.min.css';
import './page.css';
import { hasWebGpu } from '../gpu/host.js';
import { App } from './app.js';
import { readLink } from './choices.js';
import { isPicture } from './draw.js';
import { remedy } from './remedy.js';
import { choices, curves, notes, open, pace, phase, saveSoon, sentence, takeIn, train } from './state.js';

const { dataset } = document.documentElement;

/** The states that programs wait for. */
const STATES = {
  loading: 'loading',
  ready: 'ready',
  preparing: 'training',
  training: 'training',
  paused: 'ready',
  done: 'done',
  error: 'error',
} as const;

effect(() => {
  const point = curves.value.points.at(-1);
  dataset.step = String(pace.value?.step ?? 0);
  dataset.loss = point ? String(point.loss) : '';
  dataset.state = STATES[phase.value];
});

const link = readLink(location.search);
choices.value = link.choices;
notes.value = link.problems;

addEventListener('dragover', (event) => event.preventDefault());
addEventListener('drop', (event) => {
  event.preventDefault();
  const files = [...(event.dataTransfer?.files ?? [])];
  const picture = files.find(isPicture);
  if (picture) dispatchEvent(new CustomEvent('picture', { detail: picture }));
  else if (files.length > 0) takeIn(files);
});
// A phone may end a hidden tab without a word.
document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'hidden') saveSoon();
});

render(<App />, document.getElementById('app')!);

if (hasWebGpu()) open(link.auto ? () => train(true) : null);
else {
  phase.value = 'error';
  sentence.value = remedy(navigator.userAgent, isSecureContext);
}
