/**
 * The state of the page as signals, and the one place that talks to the worker. Data flows one way: replies set signals, and
 * components draw them.
 */
import { computed, signal } from '@preact/signals';
import type { Learned, Look } from '../inspect/look.js';
import { defaults, misfits } from './choices.js';
import type {
  Choices,
  Chosen,
  Curves,
  Machine,
  Pace,
  Profile,
  Reply,
  Request,
  SavedRun,
  Started,
} from './messages.js';

export type Phase = 'loading' | 'ready' | 'preparing' | 'training' | 'paused' | 'done' | 'error';

/** A moment of the image that is looked into. */
export interface Moment {
  readonly step: number;
  readonly look: Look;
}

/** The curves of an earlier run, for comparison. */
export interface Past extends Curves {
  readonly name: string;
}

export const phase = signal<Phase>('loading');
export const choices = signal<Choices>(defaults);
export const machine = signal<Machine | null>(null);
export const saved = signal<SavedRun | null>(null);
export const datasets = signal<readonly string[]>(['shapes10']);
/** The sentence under the button. */
export const sentence = signal('Asking this browser for a GPU.');
export const notes = signal<readonly string[]>([]);
export const run = signal<Started | null>(null);
export const curves = signal<Curves>({ points: [], scores: [] });
export const past = signal<readonly Past[]>([]);
export const pace = signal<Pace | null>(null);
export const strip = signal<readonly Float64Array[]>([]);
export const chosen = signal<Chosen>(0);
export const ownPicture = signal<Uint8Array | null>(null);
export const moments = signal<readonly Moment[]>([]);
export const learnedParts = signal<Learned | null>(null);
export const profile = signal<Profile | null>(null);
export const preview = signal<Extract<Reply, { kind: 'preview' }> | null>(null);
export const rate = signal(1);
/** The last step that is saved in the browser. */
export const savedStep = signal<number | null>(null);

export const busy = computed(() => phase.value === 'preparing' || phase.value === 'training');
export const problems = computed(() => misfits(choices.value));

/** Moments that are kept of an image. When they are full, every other one goes. */
const MOST_MOMENTS = 48;
const MOST_PAST = 3;

const worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' });
const ask = (request: Request): void => worker.postMessage(request);

let brief = false;
let resolveFile: ((bytes: Uint8Array) => void) | null = null;

const count = (n: number): string => Math.round(n).toLocaleString('en');

const replies: { [K in Reply['kind']]: (reply: Extract<Reply, { kind: K }>) => void } = {
  ready(reply) {
    machine.value = reply.machine;
    saved.value = reply.saved;
    datasets.value = reply.datasets;
    phase.value = 'ready';
    sentence.value = reply.machine.software
      ? 'This browser has no GPU to use, so a CPU will do the work: slower, and with the same results.'
      : `Ready to train on ${reply.machine.adapter}.`;
    onReady?.();
  },
  preparing: (reply) => {
    phase.value = 'preparing';
    sentence.value = reply.sentence;
  },
  started({ run: started }) {
    run.value = started;
    curves.value = started.curves;
    pace.value = null;
    strip.value = [];
    moments.value = [];
    profile.value = null;
  },
  compiled({ kernels, seconds }) {
    phase.value = 'training';
    sentence.value = `${kernels} kernels compiled and the first step done in ${seconds.toFixed(1)} s.`;
  },
  steps({ points, pace: now }) {
    const { points: before, scores } = curves.value;
    curves.value = { points: [...before, ...points], scores };
    pace.value = now;
    if (phase.value !== 'training') return;
    sentence.value = `Step ${count(now.step)} of ${count(run.value?.totalSteps ?? 0)}, ${count(now.imagesPerSecond)} images/s.`;
  },
  scored({ scored }) {
    const { points, scores } = curves.value;
    curves.value = { points, scores: [...scores, scored] };
  },
  strip({ probabilities }) {
    strip.value = probabilities;
  },
  look({ step, look, chosen: of }) {
    if (of !== chosen.value) return;
    const before = moments.value;
    const kept = before.length < MOST_MOMENTS ? before : before.filter((_, i) => i % 2 === 0);
    moments.value = [...kept.filter((moment) => moment.step < step), { step, look }];
  },
  learned({ learned }) {
    learnedParts.value = learned;
  },
  profile(reply) {
    profile.value = reply.profile;
  },
  preview(reply) {
    preview.value = reply;
  },
  datasets({ names }) {
    datasets.value = names;
    const newest = names.at(-1) as Choices['dataset'];
    choices.value = { ...choices.value, dataset: newest };
    const said = `${newest} is read, and chosen for the next run.`;
    if (busy.value) notes.value = [...notes.value, said];
    else sentence.value = said;
  },
  saved({ step }) {
    savedStep.value = step;
  },
  note: (reply) => {
    notes.value = [...notes.value.slice(-9), reply.sentence];
  },
  ended({ finished }) {
    phase.value = finished ? 'done' : 'paused';
    const accuracy = curves.value.scores.at(-1)?.accuracy;
    const said =
      accuracy === undefined ? '' : `: ${(100 * accuracy).toFixed(1)} % of the test images are right`;
    sentence.value = finished ? `Done${said}.` : 'Paused. The run is saved in this browser.';
  },
  file: ({ bytes }) => resolveFile?.(bytes),
  failed(reply) {
    sentence.value = reply.sentence;
    saved.value = reply.saved;
    phase.value = 'error';
  },
};

worker.onmessage = ({ data }: MessageEvent<Reply>) => (replies[data.kind] as (reply: Reply) => void)(data);
worker.onerror = (event) => {
  sentence.value = `The page's worker failed: ${event.message || 'it could not be loaded'}. Reload the page.`;
  phase.value = 'error';
};

let onReady: (() => void) | null = null;

/** Opens the device. `then` runs when the page is ready to train. */
export function open(then: (() => void) | null): void {
  onReady = then;
  ask({ kind: 'open' });
}

/** Starts a run with the page's choices. Under `auto`, evaluation is brief. */
export function train(auto = false): void {
  brief = auto;
  const { points, scores } = curves.value;
  if (run.value && points.length > 1)
    past.value = [{ name: nameOf(run.value.choices), points, scores }, ...past.value].slice(0, MOST_PAST);
  begin();
  rate.value = 1;
  savedStep.value = null;
  ask({ kind: 'train', choices: choices.value, brief });
}

/** Continues the run that the browser has kept. */
export function continueSaved(): void {
  if (saved.value) choices.value = saved.value.choices;
  begin();
  ask({ kind: 'continue' });
}

function begin(): void {
  phase.value = 'preparing';
  saved.value = null;
  sentence.value = 'Preparing.';
}

export const pause = (): void => ask({ kind: 'pause' });
export const saveSoon = (): void => ask({ kind: 'save' });
export const askProfile = (): void => ask({ kind: 'profile' });
export const askPreview = (): void => ask({ kind: 'preview', choices: choices.value });
export const takeIn = (files: readonly File[]): void => ask({ kind: 'files', files });

export function setRate(factor: number): void {
  rate.value = factor;
  ask({ kind: 'rate', factor });
}

export function choose(of: Chosen): void {
  if (of === chosen.value) return;
  chosen.value = of;
  moments.value = [];
  ask({ kind: 'choose', chosen: of });
}

export function showPicture(pixels: Uint8Array): void {
  ownPicture.value = pixels;
  if (chosen.value !== 'own') moments.value = [];
  chosen.value = 'own';
  ask({ kind: 'picture', pixels });
}

/** The weights of the run as a safetensors file. */
export const weights = (): Promise<Uint8Array> =>
  new Promise((resolve) => {
    resolveFile = resolve;
    ask({ kind: 'weights' });
  });

/** The name of a run in the legend of the curves. */
export const nameOf = ({ embedDim, depth, patchSize, optimizer, learningRate }: Choices): string =>
  `${embedDim}/${depth} p${patchSize}, ${optimizer} ${learningRate}`;
