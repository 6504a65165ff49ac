/** The page from top to bottom. Each section works while training runs. */
import type { ComponentChildren } from 'preact';
import { Boxes } from './boxes.js';
import { Charts } from './charts.js';
import { Controls } from './controls.js';
import { Draw } from './draw.js';
import { Inside } from './look.js';
import {
  busy,
  continueSaved,
  curves,
  notes,
  pace,
  pause,
  phase,
  problems,
  run,
  saved,
  savedStep,
  sentence,
  train,
} from './state.js';
import { Strip } from './strip.js';
import { MachineView, Take } from './take.js';

function Go() {
  const now = phase.value;
  const kept = saved.value;
  const ready = now !== 'loading' && now !== 'preparing' && problems.value.length === 0;
  const done = run.value ? (pace.value?.step ?? run.value.from) / run.value.totalSteps : 0;
  const [label, act] =
    now === 'training'
      ? ['Pause', pause]
      : now === 'paused'
        ? ['Continue', continueSaved]
        : [now === 'done' ? 'Train again' : 'Train', () => train()];
  return (
    <div class="go">
      <button type="button" class="train" disabled={!ready} onClick={act}>
        {label}
      </button>
      <progress value={done} max={1} aria-label="Steps done" />
      <p class="sentence" role="status" data-phase={now}>
        {sentence.value}
      </p>
      {kept && !busy.value && (
        <p class="sentence">
          A run of this page is kept here, {kept.step.toLocaleString('en')} of{' '}
          {kept.totalSteps.toLocaleString('en')} steps done.{' '}
          <button type="button" class="plain" onClick={continueSaved}>
            Continue it
          </button>
        </p>
      )}
      {now === 'paused' && (
        <button type="button" class="plain" onClick={() => train()}>
          Start anew
        </button>
      )}
      <Numbers />
      {notes.value.length > 0 && <p class="muted small">{notes.value.at(-1)}</p>}
    </div>
  );
}

function Numbers() {
  const [started, now] = [run.value, pace.value];
  if (!started) return null;
  const tested = curves.value.scores.at(-1);
  const facts: [string, string][] = [
    ['test accuracy', tested ? `${(100 * tested.accuracy).toFixed(1)} %` : '–'],
    ['images/s', now ? Math.round(now.imagesPerSecond).toLocaleString('en') : '–'],
    ['GFLOP/s', now ? now.gflops.toFixed(now.gflops < 10 ? 1 : 0) : '–'],
    ['parameters', started.parameters.toLocaleString('en')],
  ];
  return (
    <dl class="numbers">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
      {savedStep.value !== null && (
        <p class="muted small">Saved in this browser at step {savedStep.value}.</p>
      )}
    </dl>
  );
}

function Section({
  id,
  title,
  about,
  children,
}: {
  readonly id: string;
  readonly title: string;
  readonly about: string;
  readonly children: ComponentChildren;
}) {
  return (
    <section id={id} aria-labelledby={`${id}-title`}>
      <h2 id={`${id}-title`}>{title}</h2>
      <p class="about">{about}</p>
      {children}
    </section>
  );
}

export const App = () => (
  <>
    <header>
      <h1>Train a Vision Transformer in this tab</h1>
      <p class="about">
        One button. The model learns to name twelve images while you watch. Nothing leaves this machine.
      </p>
    </header>
    <div class="fold">
      <Go />
      <Strip />
      <Charts />
    </div>
    <Section
      id="own"
      title="Your own picture"
      about="Draw, drop or paste an image. Its most probable classes move while training goes on."
    >
      <Draw />
    </Section>
    <Section
      id="inside"
      title="Look inside"
      about="A Vision Transformer cuts an image into patches, and lets each patch look at the others, block after block. Choose an image above to see it happen."
    >
      <Inside />
    </Section>
    <Section
      id="model"
      title="The model"
      about="Every box is computed by kernels written by hand in WGSL. A box opens them, with their time in one training step."
    >
      <Boxes />
    </Section>
    <Section
      id="change"
      title="Change it"
      about="Smaller patches see more and cost more. Try half the width, or no augmentation."
    >
      <Controls />
    </Section>
    <Section id="take" title="Take it away" about="What was trained here goes on elsewhere.">
      <Take />
    </Section>
    <Section
      id="machine"
      title="This machine"
      about="What the browser says of it, and the kernels that were chosen for it."
    >
      <MachineView />
    </Section>
  </>
);
