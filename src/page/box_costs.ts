/** The parts of a model in training as boxes, and the cost of each from the profile of a step. */
import type { OpTime } from '../gpu/profile.js';
import type { Started } from './messages.js';

export interface Box {
  readonly id: string;
  readonly name: string;
  readonly shape: string;
  readonly parameters: number;
  readonly inBlock?: boolean;
}

/** The boxes of a model in training, from the batch to the optimizer. */
export function boxesOf({ choices, grid, prefix, hidden, classes }: Started): readonly Box[] {
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

/** Milliseconds, floating-point operations and kernels of a box in one step. */
export interface Cost {
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
