/**
 * Muon (Jordan et al., 2024): hidden weight matrices are updated by their orthogonalised momentum, all other parameters by
 * AdamW. Semantics of torch.optim.Muon with `match_rms_adamw` (Liu et al., 2025): the update is 0.2 √max(rows, columns)
 * times an orthogonal matrix. It has the RMS of AdamW's updates, so AdamW's learning rate and weight decay suit Muon, too.
 */
import { ConfigError } from '../core/errors.js';
import { muonMomentum, muonUpdate, orthogonalize } from '../ops/muon.js';
import type { Arena, Layout, Part } from '../tensor/arena.js';
import type { Parameter } from '../tensor/parameter.js';
import { keep, scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { AdamW, type AdamWOptions } from './adamw.js';
import type { Optimizer, RateScale } from './optimizer.js';

/** Decay of the momentum. */
const BETA = 0.95;
/** RMS of an update, relative to the learning rate. */
const RMS = 0.2;
/** The most floats in a batch of matrices. A step needs temporary memory for four times as many. */
const MOST = 2 ** 23;

/** A weight that stacks `parts` matrices of one shape, such as the qkv weight: three matrices. */
export interface HiddenMatrix {
  readonly parameter: Parameter;
  readonly parts: number;
}

interface Member {
  readonly parameter: Tensor;
  readonly gradient: Tensor;
  readonly m: Tensor;
  /** Floats from the start of the batch. */
  readonly at: number;
  readonly scale: number;
}

/** Matrices of one shape that are orthogonalised together. */
interface Batch {
  readonly rows: number;
  readonly columns: number;
  /** Number of matrices. */
  count: number;
  readonly members: Member[];
}

/** Puts Muon's matrices first, so that they are contiguous in the arena. The other parameters keep their order. */
export function hiddenFirst(parameters: readonly Parameter[], hidden: readonly HiddenMatrix[]): Parameter[] {
  const first = new Set(hidden.map(({ parameter }) => parameter));
  return [...first, ...parameters.filter((parameter) => !first.has(parameter))];
}

/** Muon for hidden matrices, with an AdamW for the other parameters. */
export class Muon implements Optimizer {
  readonly momentum: Tensor;
  readonly adamw: AdamW;
  readonly state: Readonly<Record<'m' | 'v' | 'momentum', Part>>;
  private readonly batches: readonly Batch[];

  /**
   * The arena must have the order of `hiddenFirst`, and the hidden matrices must have weight decay. Throws a ConfigError if
   * `hidden` is empty.
   */
  constructor(
    arena: Arena,
    hidden: readonly HiddenMatrix[],
    private readonly options: AdamWOptions,
    rateScale?: RateScale,
  ) {
    if (hidden.length === 0)
      throw new ConfigError(
        'Muon needs at least one weight matrix of a hidden layer, and this model has none. Use --optimizer adamw.',
      );
    const end = arena.slots[hidden.length]?.start ?? arena.size;
    const layout = arena.section(0, end);
    const inFront = new Set(layout.slots.map(({ parameter }) => parameter));
    if (end > arena.decayed || !hidden.every(({ parameter }) => inFront.has(parameter)))
      throw new Error(
        'The matrices of Muon must be at the front of the arena and have weight decay. Order the parameters with hiddenFirst.',
      );
    this.momentum = layout.like('muon.momentum');
    const rest = arena.section(end, arena.trained.size);
    this.adamw = new AdamW(arena, options, { layout: rest, rateScale });
    this.state = { ...this.adamw.state, momentum: { layout, tensor: this.momentum } };
    this.batches = batchesOf(layout, this.momentum, hidden, rateScale);
  }

  /** The bias corrections of AdamW; Muon has none. */
  corrections(lr: number, t: number): { stepSize: number; rootC2: number } {
    return this.adamw.corrections(lr, t);
  }

  step(clip: Tensor, state: Tensor): void {
    for (const batch of this.batches) this.move(batch, clip, state);
    this.adamw.step(clip, state);
  }

  private move({ count, rows, columns, members }: Batch, clip: Tensor, step: Tensor): void {
    const factor = RMS * Math.sqrt(Math.max(rows, columns));
    const { weightDecay } = this.options;
    scope(() => {
      const x = Tensor.empty(clip.gpu, [count, rows, columns], 'f32', 'muon.x');
      for (const { gradient, m, at } of members) muonMomentum({ gradient, m, x, clip }, at, BETA);
      const orthogonal = orthogonalize(x);
      for (const { parameter, at, scale } of members)
        muonUpdate({ parameter, x: orthogonal, clip, step }, { at, factor, weightDecay, scale });
    });
  }
}

/** Groups the hidden matrices by shape, in batches of bounded size. */
function batchesOf(
  layout: Layout,
  momentum: Tensor,
  hidden: readonly HiddenMatrix[],
  rateScale: RateScale = () => 1,
): Batch[] {
  const partsOf = new Map(hidden.map(({ parameter, parts }) => [parameter, parts]));
  const open = new Map<string, Batch>();
  const batches: Batch[] = [];
  for (const { parameter, start } of layout.slots) {
    const parts = partsOf.get(parameter) as number;
    const [rows, columns] = [(parameter.shape[0] as number) / parts, parameter.shape[1] as number];
    const key = `${rows}x${columns}`;
    let batch = open.get(key);
    if (!batch || batch.count * rows * columns + parameter.size > MOST) {
      batch = { rows, columns, count: 0, members: [] };
      batches.push(batch);
      open.set(key, batch);
    }
    batch.members.push({
      parameter: parameter.tensor,
      gradient: parameter.tensor.grad as Tensor,
      m: keep(momentum.view(parameter.shape, start)),
      at: batch.count * rows * columns,
      scale: rateScale(parameter),
    });
    batch.count += parts;
  }
  return batches;
}
