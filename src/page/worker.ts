/** The worker: it has the device, so that the page stays live, and a hidden tab goes on. */
import { PatchlightError } from '../core/errors.js';
import { Gpu } from '../gpu/gpu.js';
import { Datasets } from './datasets.js';
import { machineOf } from './machine.js';
import type { Choices, Reply, Request } from './messages.js';
import { preview } from './preview.js';
import { type Kept, SavedStates } from './saved.js';
import { Session, savedRun } from './session.js';

const post = (reply: Reply): void => self.postMessage(reply);
const say = (sentence: string): void => post({ kind: 'preparing', sentence });

const datasets = new Datasets();
const states = new SavedStates();
let gpu: Gpu | null = null;
let session: Session | null = null;
let running = false;

/** The open device; a lost one is replaced. */
async function device(): Promise<Gpu> {
  gpu ??= await Gpu.open();
  return gpu;
}

async function train(choices: Choices, brief: boolean, kept: Kept | null): Promise<void> {
  if (running) return;
  running = true;
  try {
    await session?.release();
    session = null;
    const open = await device();
    if (!kept) await states.forget().catch(() => {}); // a browser that keeps no files says so at the first save
    const dataset = await datasets.open(choices.dataset, say);
    say('Planning the run.');
    session = await Session.prepare({ gpu: open, choices, dataset, states, brief, kept, post });
    say(`Compiling the kernels for ${open.info.name}.`);
    await session.run();
  } finally {
    running = false;
  }
}

const handlers: { [K in Request['kind']]: (request: Extract<Request, { kind: K }>) => unknown } = {
  async open() {
    const open = await device();
    await datasets.ask();
    const saved = savedRun(await states.newest());
    post({ kind: 'ready', machine: machineOf(open), saved, datasets: datasets.names });
  },
  train: ({ choices, brief }) => train(choices, brief, null),
  async continue() {
    const kept = await states.newest();
    const saved = savedRun(kept);
    if (saved && kept) await train(saved.choices, false, kept);
  },
  pause: () => session?.pause(),
  save() {
    if (session) session.saveSoon = true;
  },
  rate({ factor }) {
    if (session) session.rate = factor;
  },
  choose: ({ chosen }) => session?.watch.choose(chosen),
  picture: ({ pixels }) => session?.watch.show(pixels),
  profile: () => session?.watch.profileNext(),
  async preview({ choices }) {
    const dataset = await datasets.open(choices.dataset, () => {});
    post({ kind: 'preview', ...(await preview(await device(), dataset, choices)) });
  },
  async files({ files }) {
    await datasets.takeIn(files, say);
    post({ kind: 'datasets', names: datasets.names });
  },
  async weights() {
    if (session) post({ kind: 'file', name: 'patchlight.safetensors', bytes: await session.weights() });
  },
};

/** Answers a failure with a sentence. An error that is none of ours is a bug, and also goes to the console. */
function failed(error: unknown, fatal: boolean): void {
  const ours = error instanceof PatchlightError;
  if (error instanceof PatchlightError && error.name === 'DeviceLostError') {
    gpu = null;
    session = null;
  }
  post({ kind: 'failed', sentence: ours ? error.message : `The page has a fault: ${error}`, fatal });
  if (!ours) reportError(error);
}

self.onmessage = async ({ data }: MessageEvent<Request>) => {
  try {
    await (handlers[data.kind] as (request: Request) => unknown)(data);
  } catch (error) {
    failed(error, data.kind === 'open');
  }
};
