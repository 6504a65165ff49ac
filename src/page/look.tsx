/** Inside the model for one image: attention from a patch, rollout, the prediction after each block, and how they formed. */
import { useState } from 'preact/hooks';
import { overPatches } from '../inspect/rollout.js';
import { Filter, Heat, Pixels } from './pixels.js';
import { chosen, learnedParts, moments, ownPicture, run } from './state.js';

/** Filters that are shown. */
const FILTERS = 32;

const percent = (p: number): string => `${(100 * p).toFixed(0)} %`;

/** A row of buttons, of which one is pressed. */
function Choice({
  label,
  names,
  at,
  set,
}: {
  readonly label: string;
  readonly names: readonly string[];
  readonly at: number;
  readonly set: (i: number) => void;
}) {
  return (
    <div class="choice">
      <span id={`choice-${label}`}>{label}</span>
      <div role="radiogroup" aria-labelledby={`choice-${label}`}>
        {names.map((name, i) => (
          // biome-ignore lint/a11y/useSemanticElements: a pressed button is what this looks like.
          <button key={name} type="button" role="radio" aria-checked={i === at} onClick={() => set(i)}>
            {name}
          </button>
        ))}
      </div>
    </div>
  );
}

/** The image with its patches; pointing at one, or the arrow keys, choose it. */
function Patches({
  planes,
  grid: [rows, columns],
  from,
  set,
}: {
  readonly planes: Uint8Array;
  readonly grid: readonly [number, number];
  readonly from: number | null;
  readonly set: (patch: number | null) => void;
}) {
  const move: Record<string, number> = {
    ArrowLeft: -1,
    ArrowRight: 1,
    ArrowUp: -columns,
    ArrowDown: columns,
  };
  const count = rows * columns;
  const place = (event: PointerEvent & { currentTarget: HTMLElement }) => {
    const { left, top, width, height } = event.currentTarget.getBoundingClientRect();
    const row = Math.floor(((event.clientY - top) / height) * rows);
    const column = Math.floor(((event.clientX - left) / width) * columns);
    set(Math.min(count - 1, Math.max(0, row * columns + column)));
  };
  const said =
    from === null ? 'no patch' : `row ${Math.floor(from / columns) + 1}, column ${(from % columns) + 1}`;
  return (
    <div
      class="patches"
      role="slider"
      tabIndex={0}
      aria-label="Patch that looks at the others. Arrow keys move it, Escape lets go."
      aria-valuemin={0}
      aria-valuemax={count - 1}
      aria-valuenow={from ?? 0}
      aria-valuetext={said}
      onPointerDown={place}
      onPointerMove={(event) => event.pointerType === 'mouse' && place(event)}
      onPointerLeave={(event) => event.pointerType === 'mouse' && set(null)}
      onKeyDown={(event) => {
        if (event.key === 'Escape') return set(null);
        const by = move[event.key];
        if (by === undefined) return;
        event.preventDefault();
        set(((((from ?? 0) + by) % count) + count) % count);
      }}
    >
      <Pixels planes={planes} label="The image" />
      <div class="lines" style={{ '--rows': rows, '--columns': columns }} aria-hidden="true" />
      {from !== null && (
        <div
          class="from"
          aria-hidden="true"
          style={{
            left: `${(100 * (from % columns)) / columns}%`,
            top: `${(100 * Math.floor(from / columns)) / rows}%`,
            width: `${100 / columns}%`,
            height: `${100 / rows}%`,
          }}
        />
      )}
    </div>
  );
}

export function Inside() {
  const started = run.value;
  const [at, setAt] = useState<number | null>(null);
  const [layer, setLayer] = useState(0);
  const [from, setFrom] = useState<number | null>(null);
  const all = moments.value;
  const moment = all[at === null ? all.length - 1 : Math.min(at, all.length - 1)];
  const planes = chosen.value === 'own' ? ownPicture.value : started?.strip[chosen.value]?.pixels;
  if (!started || !moment || !planes)
    return <p class="about">While the model trains, this shows what it does with one image.</p>;
  const { grid, prefix, classes } = started;
  const patches = grid[0] * grid[1];
  const N = prefix + patches;
  const { attention, rollout, lens } = moment.look;
  const block = Math.min(layer, attention.length - 1);
  const row = (matrix: Float64Array) =>
    from === null
      ? overPatches(matrix, N, patches, prefix > 0 ? 'cls' : 'mean')
      : matrix.subarray((prefix + from) * N + prefix, (prefix + from + 1) * N);
  const who = from === null ? 'all patches together' : 'the marked patch';
  return (
    <>
      <div class="inside">
        <figure>
          <Patches {...{ planes, grid, from }} set={setFrom} />
          <figcaption>Point at a patch, or focus the image and use the arrow keys.</figcaption>
        </figure>
        <figure>
          <Heat values={row(rollout)} columns={grid[1]} label={`Attention rollout of ${who}`} />
          <figcaption>
            <b>Rollout</b>: where {who} can get information from, through all blocks
          </figcaption>
        </figure>
        <figure class="heads">
          <Choice label="Block" names={attention.map((_, i) => `${i + 1}`)} at={block} set={setLayer} />
          <div class="maps">
            {attention[block]!.map((head, h) => (
              <Heat
                key={h}
                values={row(head)}
                columns={grid[1]}
                label={`Attention of head ${h + 1}, ${who}`}
              />
            ))}
          </div>
          <figcaption>
            <b>Attention</b> of the {attention[block]!.length} heads of block {block + 1}, from {who}: light
            is most
          </figcaption>
        </figure>
        <figure class="lens">
          <ol>
            {lens.map((probabilities, i) => {
              const top = [...probabilities].map((p, k) => ({ p, k })).sort((a, b) => b.p - a.p);
              return (
                <li key={i}>
                  <span class="muted">after block {i + 1}</span>
                  {top.slice(0, 3).map(({ p, k }) => (
                    <span key={k} class="share" style={{ '--p': p }}>
                      {classes[k]!.replaceAll('_', ' ')} {percent(p)}
                    </span>
                  ))}
                </li>
              );
            })}
          </ol>
          <figcaption>
            <b>Logit lens</b>: the prediction if the model stopped after each block
          </figcaption>
        </figure>
      </div>
      <label class="time">
        <span>{at === null ? `Now, step ${moment.step}` : `At step ${moment.step}`}</span>
        <input
          type="range"
          min={0}
          max={all.length - 1}
          value={at ?? all.length - 1}
          aria-label="Step whose attention is shown"
          aria-valuetext={`step ${moment.step}`}
          onInput={({ currentTarget }) => {
            const value = Number(currentTarget.value);
            setAt(value >= all.length - 1 ? null : value);
          }}
        />
        <span class="muted">how this image was seen, from step {all[0]!.step} on</span>
      </label>
      <Parts from={from} grid={grid} />
    </>
  );
}

/** Learned parts that need no image: filters of the patch embedding, similarity of positions. */
function Parts({ from, grid }: { readonly from: number | null; readonly grid: readonly [number, number] }) {
  const parts = learnedParts.value;
  if (!parts) return null;
  const { filters, similarity } = parts;
  const patches = grid[0] * grid[1];
  const size = filters ? filters.values.length / filters.shape[0]! : 0;
  const of = from ?? Math.floor(grid[0] / 2) * grid[1] + Math.floor(grid[1] / 2);
  if (similarity.length !== patches * patches) return null;
  return (
    <div class="parts">
      {filters && (
        <figure>
          <div class="filters">
            {Array.from({ length: Math.min(FILTERS, filters.shape[0]!) }, (_, i) => (
              <Filter
                key={i}
                weights={filters.values.subarray(i * size, (i + 1) * size)}
                label={`Filter ${i + 1}`}
              />
            ))}
          </div>
          <figcaption>
            <b>Patch filters</b>: what the embedding looks for in a patch (grey is zero)
          </figcaption>
        </figure>
      )}
      <figure class="similarity">
        <Heat
          values={similarity.subarray(of * patches, (of + 1) * patches)}
          columns={grid[1]}
          label="Similarity of positions"
          range={[-1, 1]}
        />
        <figcaption>
          <b>Positions</b>: how alike the embedding of each place is to that of{' '}
          {from === null ? 'the middle' : 'the marked patch'}
        </figcaption>
      </figure>
    </div>
  );
}
