/** The model as boxes: what goes in and comes out, what it costs, and the kernels that compute it. */
import { signal } from '@preact/signals';
import { type Box, boxesOf, type Cost, costs } from './box_costs.js';
import { Kernels, shown } from './kernels.js';
import { askProfile, machine, phase, profile, run } from './state.js';

const milliseconds = (ms: number): string => `${ms < 10 ? ms.toFixed(2) : ms.toFixed(0)} ms`;

/** The box whose kernels are shown. */
const opened = signal<string | null>(null);

function BoxView({
  box,
  cost,
  total,
}: {
  readonly box: Box;
  readonly cost: Cost | undefined;
  readonly total: number;
}) {
  const ms = cost ? cost.forward + cost.backward : 0;
  const open = opened.value === box.id;
  return (
    <button
      type="button"
      class="box"
      aria-expanded={open}
      disabled={!cost}
      style={{ '--p': total > 0 ? ms / total : 0 }}
      onClick={() => {
        opened.value = open ? null : box.id;
        shown.value = null;
      }}
    >
      <b>{box.name}</b>
      <span class="muted">{box.shape}</span>
      <span class="muted">
        {box.parameters > 0 ? `${box.parameters.toLocaleString('en')} parameters` : ' '}
      </span>
      <span>
        {cost
          ? `${milliseconds(ms)}${cost.flops > 0 ? `, ${(cost.flops / ms / 1e6).toFixed(1)} GFLOP/s` : ''}`
          : ' '}
      </span>
    </button>
  );
}

export function Boxes() {
  const started = run.value;
  if (!started) return <p class="about">The parts of the model appear here when it trains.</p>;
  const timed = machine.value?.features.includes('timestamp-query') ?? false;
  const boxes = boxesOf(started);
  const known = profile.value ? costs(profile.value.times) : new Map<string, Cost>();
  const total = [...known.values()].reduce((sum, { forward, backward }) => sum + forward + backward, 0);
  const view = (box: Box) => <BoxView key={box.id} {...{ box, total }} cost={known.get(box.id)} />;
  const inBlock = boxes.filter((box) => box.inBlock);
  const first = boxes.indexOf(inBlock[0]!);
  const box = boxes.find(({ id }) => id === opened.value);
  const cost = box && known.get(box.id);
  return (
    <>
      <p class="row">
        <button
          type="button"
          class="plain"
          disabled={phase.value !== 'training' || !timed}
          onClick={askProfile}
        >
          {profile.value ? 'Time a step again' : 'Time the kernels of a step'}
        </button>
        <span class="muted">
          {!timed
            ? 'This browser gives no timestamps, so no kernel can be timed.'
            : profile.value
              ? `Step ${profile.value.step}: ${milliseconds(total)} in kernels. A box opens its kernels.`
              : 'A step is timed soon after the first one; then each box opens its kernels.'}
        </span>
      </p>
      <div class="boxes">
        {boxes.slice(0, first).map(view)}
        <div class="block">
          <span class="times">× {started.choices.depth} blocks</span>
          {inBlock.map(view)}
        </div>
        {boxes.slice(first + inBlock.length).map(view)}
      </div>
      {box && cost && <Kernels name={box.name} {...cost.kernels} />}
    </>
  );
}
