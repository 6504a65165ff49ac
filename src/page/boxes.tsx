/** The model as boxes: what goes in and comes out, what it costs, and the kernels that compute it. */
import { signal } from '@preact/signals';
import type { OpTime } from '../gpu/profile.js';
import { Kernels, shown } from './kernels.js';
import type { Started } from './messages.js';
import { askProfile, machine, phase, profile, run } from './state.js';

interface Box {
  readonly id: string;
  readonly name: string;
  readonly shape: string;
  readonly parameters: number;
  readonly inBlock?: boolean;
}

function boxesOf({ choices, grid, prefix, hidden, classes }: Started): readonly Box[] {
  const { embedDim: D, patchSize: P } = choices;
  const N = prefix + grid[0] * grid[1];
  const K = classes.length;
  const tokens = `(B, ${N}, ${D})`;
  const block = (id: string, name: string, shape: string, parameters: number) => ({
    ...{ id, name, shape, parameters },
    inBlock: true,
  });
  return [
    { id: 'batch', name: 'Batch', shape: 'bytes → (B, 3, 32, 32)', parameters: 0 },
    { id: 'embed', name: 'Patch embedding', shape: `→ ${tokens}`, parameters: D * 3 * P * P + D + N * D },
    block('norm1', 'LayerNorm', tokens, 2 * D),
    block('qkv', 'Queries, keys, values', `→ (B, ${N}, ${3 * D})`, 3 * D * D + 3 * D),
    block('attention', 'Attention', `→ ${tokens}`, 0),
    block('proj', 'Projection', tokens, D * D + D),
    block('norm2', 'LayerNorm', tokens, 2 * D),
    block('mlp', 'MLP', `${tokens}, hidden ${hidden}`, 2 * D * hidden + hidden + D),
    { id: 'head', name: 'Mean, LayerNorm, head', shape: `→ (B, ${K})`, parameters: 2 * D + D * K + K },
    { id: 'loss', name: 'Loss', shape: '→ 1', parameters: 0 },
    { id: 'optimizer', name: 'Optimizer', shape: 'all parameters', parameters: 0 },
  ];
}

const EMBEDDING = new Set(['im2col', 'average_pool', 'prepend_token', 'keep_tokens']);
const POOLING = new Set(['mean_tokens', 'take_token']);
const LOSS = new Set(['cross_entropy', 'correct', 'sum', 'scale_channels']);

/** The box that an op of a step belongs to. Kernels outside of ops are those of the batch, and of the update. */
export function boxOf({ op, parameter }: Pick<OpTime, 'op' | 'parameter'>): string {
  const inBlock = /^blocks\.\d+\.(?:attn\.)?(norm1|qkv|proj|norm2|mlp)\b/.exec(parameter);
  if (inBlock) return inBlock[1]!;
  if (op === 'attention') return 'attention';
  if (/^(patch_embed|pos_embed|cls_token)/.test(parameter) || EMBEDDING.has(op)) return 'embed';
  if (/^(head|norm|fc_norm)\b/.test(parameter) || POOLING.has(op)) return 'head';
  if (LOSS.has(op)) return 'loss';
  return /^(augment|gather|mix|normalise)/.test(op) ? 'batch' : 'optimizer';
}

interface Cost {
  readonly forward: number;
  readonly backward: number;
  readonly flops: number;
  readonly kernels: { readonly forward: readonly string[]; readonly backward: readonly string[] };
}

const NOTHING: Cost = { forward: 0, backward: 0, flops: 0, kernels: { forward: [], backward: [] } };

/** The cost of each box, by its id. */
export function costs(times: readonly OpTime[]): ReadonlyMap<string, Cost> {
  const all = new Map<string, Cost>();
  for (const time of times) {
    const id = boxOf(time);
    const { pass, milliseconds, flops, kernels } = time;
    const before = all.get(id) ?? NOTHING;
    const names = [...new Set([...before.kernels[pass], ...kernels])];
    all.set(id, {
      ...before,
      [pass]: before[pass] + milliseconds,
      flops: before.flops + flops,
      kernels: { ...before.kernels, [pass]: names },
    });
  }
  return all;
}

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
