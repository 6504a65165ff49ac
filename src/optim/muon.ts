/**
 * Muon (Jordan et al., 2024): hidden weight matrices are updated by their orthogonalised momentum, all other parameters by
 * AdamW. There are two scales of an update, `MuonOptions.norm`.
 *
 * `rms`: torch.optim.Muon with `match_rms_adamw` (Liu et al., 2025). The update is 0.2 √max(rows, columns) times an
 * orthogonal matrix. It has the RMS of AdamW's updates, so AdamW's learning rate and weight decay suit Muon, too.
 *
 * `unit`: the Muon of airbench94_muon (Jordan, 2024). Before each update a matrix is rescaled to the norm √rows, with which a
 * linear layer's outputs have the RMS of its inputs. There is no weight decay. The update is √max(1, rows / columns) times an
 * orthogonal matrix, which has the norm √rows, too: a step moves every matrix by the learning rate times its norm. airbench
 * has no factor, because none of its matrices has more rows than columns.
 */
import { ConfigError } from '../core/errors.js';
import { muonMomentum, muonUpdate, normalizeMatrices, orthogonalize } from '../ops/muon.js';
import type { Arena, Layout, Part } from '../tensor/arena.js';
import type { Parameter } from '../tensor/parameter.js';
import { keep, scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { AdamW, type AdamWOptions } from './adamw.js';
import type { Optimizer, RateScale } from './optimizer.js';

/** The constants of Muon, besides those of AdamW. */
export interface MuonOptions {
  /** How weights and updates are scaled. */
  readonly norm: 'rms' | 'unit';
  /** Decay of Nesterov's momentum. */
  readonly momentum: number;
  /** Steps of Newton and Schulz, which orthogonalise the momentum. */
  readonly steps: number;
  /** The learning rate of hidden matrices, as a multiple of that of the other parameters. */
  readonly rate: number;
}

/** Jordan's constants, with the scale of torch.optim.Muon's `match_rms_adamw`. */
export const muonDefaults: MuonOptions = { norm: 'rms', momentum: 0.95, steps: 5, rate: 1 };

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
  readonly parts: number;
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
  private readonly options: AdamWOptions & MuonOptions;

  /**
   * The arena must have the order of `hiddenFirst`, and the hidden matrices must have weight decay. Throws a ConfigError if
   * `hidden` is empty.
   */
  constructor(
    arena: Arena,
    hidden: readonly HiddenMatrix[],
    options: AdamWOptions & Partial<MuonOptions>,
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
    this.options = { ...muonDefaults, ...options };
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
    const { norm, momentum, steps, rate } = this.options;
    const unit = norm === 'unit';
    const factor = unit ? Math.sqrt(Math.max(1, rows / columns)) : RMS * Math.sqrt(Math.max(rows, columns));
    const weightDecay = unit ? 0 : this.options.weightDecay;
    scope(() => {
      const x = Tensor.empty(clip.gpu, [count, rows, columns], 'f32', 'muon.x');
      for (const { gradient, m, at } of members) muonMomentum({ gradient, m, x, clip }, at, momentum);
      const orthogonal = orthogonalize(x, steps);
      for (const { parameter, parts, at, scale } of members) {
        if (unit) normalizeMatrices(parameter, parts, Math.sqrt(rows), clip);
        const constants = { at, factor, weightDecay, scale: rate * scale };
        muonUpdate({ parameter, x: orthogonal, clip, step }, constants);
      }
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
      parts,
      at: batch.count * rows * columns,
      scale: rateScale(parameter),
    });
    batch.count += parts;
  }
  return batches;
}
