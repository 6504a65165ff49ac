/** The page that checks a visitor's adapter: every op against float64, a small benchmark, and the result to take away. */
import { computed, effect, signal } from '@preact/signals';
import { render } from 'preact';
import './page.css';
import type { Ceilings } from '../bench/ceilings.js';
import type { OpRow } from '../bench/ops.js';
import { type LeftOut, leftOutSentences, summarise } from '../check/summary.js';
import type { Row } from '../check/tasks.js';
import { hasWebGpu } from '../gpu/host.js';
import type { CheckReply, CheckRequest } from './check_messages.js';
import { Copy, download, markdown } from './download.js';
import type { Machine } from './messages.js';
import { remedy } from './remedy.js';

const sentence = signal('Asking this browser for a GPU.');
const machine = signal<Machine | null>(null);
const total = signal(0);
const done = signal(0);
const rows = signal<readonly Row[]>([]);
const leftOut = signal<readonly LeftOut[]>([]);
const ceilings = signal<Ceilings | null>(null);
const timed = signal<readonly OpRow[]>([]);
const state = signal<'loading' | 'checking' | 'timing' | 'done' | 'error'>('loading');

const wrong = computed(() => rows.value.filter(({ problems }) => problems.length > 0));

const { dataset } = document.documentElement;
effect(() => {
  dataset.state = state.value;
  dataset.checked = String(rows.value.length);
  dataset.wrong = String(wrong.value.length);
});

const replies: { [K in CheckReply['kind']]: (reply: Extract<CheckReply, { kind: K }>) => void } = {
  machine(reply) {
    machine.value = reply.machine;
    total.value = reply.total;
    state.value = 'checking';
  },
  checked(reply) {
    done.value = reply.done;
    rows.value = [...rows.value, ...reply.rows];
    sentence.value = `Checking ${reply.op}: ${reply.done} of ${total.value}.`;
  },
  leftOut(reply) {
    done.value = reply.done;
    leftOut.value = [...leftOut.value, reply.leftOut];
  },
  timing(reply) {
    state.value = 'timing';
    sentence.value = reply.sentence;
  },
  ceilings(reply) {
    ceilings.value = reply.ceilings;
  },
  timed(reply) {
    timed.value = [...timed.value, reply.row];
  },
  ended() {
    state.value = 'done';
    const bad = wrong.value.length;
    sentence.value =
      bad === 0
        ? `All ${rows.value.length} checks are right on ${machine.value?.adapter}.`
        : `${bad} of ${rows.value.length} checks are wrong on ${machine.value?.adapter}. Please send the table.`;
  },
  failed(reply) {
    state.value = 'error';
    sentence.value = reply.sentence;
  },
};

const worst = (value: number): string => (Number.isFinite(value) ? value.toFixed(3) : '–');

const summaryTable = (): string[][] => [
  ['op', 'kernel', 'checks', 'wrong', 'worst error, of the tolerance'],
  ...summarise(rows.value).map((row) => [
    row.op,
    row.variant,
    String(row.samples),
    String(row.wrong),
    worst(row.worst),
  ]),
];

const benchTable = (): string[][] => [
  ['op', 'shape', 'kernel', 'ms', 'GFLOP/s', '% of the ceiling'],
  ...timed.value.map(({ op, shape, variant, ms, gflops, percent_of_ceiling }) => [
    ...[op, shape, variant],
    ms.toFixed(2),
    gflops.toFixed(1),
    percent_of_ceiling.toFixed(0),
  ]),
];

const ceilingSentence = (): string =>
  ceilings.value
    ? `Copies move ${ceilings.value.gbps.toFixed(1)} GB/s; multiply-adds reach ${ceilings.value.gflops.toFixed(0)} GFLOP/s.`
    : '';

/** Everything as Markdown, for an issue. */
function asText(): string {
  const here = machine.value;
  return [
    `**${here?.adapter}** (${[here?.vendor, here?.architecture].filter(Boolean).join(', ') || 'no vendor said'})`,
    `Features: ${here?.features.join(', ') || 'none'}. ${navigator.userAgent}`,
    `${rows.value.length} checked, ${wrong.value.length} wrong. ${leftOutSentences(leftOut.value).join('. ')}`,
    ...wrong.value.map(
      ({ op, shape, variant, problems }) => `WRONG ${op} ${shape}, ${variant}: ${problems[0]}`,
    ),
    ceilingSentence(),
    markdown(benchTable()),
    markdown(summaryTable()),
  ].join('\n\n');
}

const asJson = (): string =>
  JSON.stringify(
    {
      ...{ machine: machine.value, userAgent: navigator.userAgent, ceilings: ceilings.value },
      ...{ bench: timed.value, rows: rows.value, leftOut: leftOut.value },
    },
    null,
    1,
  );

function Table({
  caption,
  cells: [head = [], ...body],
}: {
  readonly caption: string;
  readonly cells: string[][];
}) {
  return (
    <div class="scroll">
      <table class="figures">
        <caption>{caption}</caption>
        <thead>
          <tr>
            {head.map((text) => (
              <th key={text} scope="col">
                {text}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {body.map((cells) => (
            <tr
              key={cells.slice(0, 3).join()}
              class={cells[3] !== '0' && head[3] === 'wrong' ? 'warning' : ''}
            >
              {cells.map((text, i) => (
                <td key={head[i]}>{text}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function App() {
  const ended = state.value === 'done' || state.value === 'error';
  return (
    <>
      <header>
        <h1>Check every op on this machine</h1>
        <p class="about">
          Each op and each kernel that this adapter can run computes small inputs, forward and backward, and
          is compared with float64. Then products and attention are timed. It takes minutes, and nothing
          leaves this machine. <a href="./">Back to the page that trains</a>
        </p>
      </header>
      <progress value={total.value > 0 ? done.value / total.value : 0} max={1} aria-label="Checks done" />
      <p class="sentence" role="status" data-phase={state.value}>
        {sentence.value}
      </p>
      <p class="row">
        <button
          type="button"
          class="plain"
          disabled={!ended}
          onClick={() => download('patchlight-check.json', asJson(), 'application/json')}
        >
          Download the results
        </button>
        <Copy label="Copy as a table for an issue" text={asText} />
      </p>
      {leftOutSentences(leftOut.value).map((text) => (
        <p key={text} class="muted">
          {text}
        </p>
      ))}
      {wrong.value.slice(0, 20).map(({ op, shape, variant, problems }) => (
        <p key={`${op} ${shape} ${variant}`} class="warning">
          {op} {shape}, {variant}: {problems[0]}
        </p>
      ))}
      {timed.value.length > 0 && <Table caption={ceilingSentence()} cells={benchTable()} />}
      {rows.value.length > 0 && <Table caption="Checks by op and kernel" cells={summaryTable()} />}
    </>
  );
}

render(<App />, document.getElementById('app')!);

if (hasWebGpu()) {
  const worker = new Worker(new URL('check_worker.js', import.meta.url), { type: 'module' });
  worker.onmessage = ({ data }: MessageEvent<CheckReply>) =>
    (replies[data.kind] as (reply: CheckReply) => void)(data);
  worker.onerror = ({ message }) =>
    replies.failed({
      kind: 'failed',
      sentence: `The worker failed: ${message || 'it could not be loaded'}.`,
    });
  const link = new URLSearchParams(location.search);
  const request: CheckRequest = {
    filter: link.get('filter') ?? '',
    seconds: Number(link.get('seconds')) || 0,
  };
  worker.postMessage(request);
} else replies.failed({ kind: 'failed', sentence: remedy(navigator.userAgent, isSecureContext) });
