/** The course of a run, known before its first step: its phases, their cost, its length and its learning rates. */
import { ConfigError } from '../core/errors.js';
import { learningRate, type Schedule } from '../optim/schedule.js';
import type { Phase } from '../recipe/phases.js';
import { scheduleOf } from '../recipe/schedule.js';
import type { Settings } from '../recipe/settings.js';
import type { RunLength } from './progress.js';

/** Floating-point operations of a step: with a whole batch, and with the batch that is the last of an epoch. */
export interface StepFlops {
  readonly whole: number;
  readonly last: number;
}

/** A phase with the cost of its steps. */
export interface PlannedPhase extends Phase {
  readonly flops: StepFlops;
}

/** A phase in the run. */
interface Stretch extends PlannedPhase {
  /** Finished steps, and what they cost, when it begins. */
  readonly step: number;
  readonly spent: number;
}

/** The end of a run that is not stopped: its epochs, or a limit. */
export type Limit = 'finished' | 'max-steps' | 'max-flops';

/**
 * A run of `settings` with `batches` steps an epoch. A step never exceeds --max-flops. With --max-flops, the share of the run
 * that is done is a share of these FLOPs, and otherwise of the steps of the schedule; phases and learning rates follow it.
 */
export class Plan implements RunLength {
  readonly totalSteps: number;
  readonly limit: Limit;
  readonly schedule: Schedule;
  private readonly stretches: readonly Stretch[];
  private readonly maxFlops: number;

  /** Throws a ConfigError if --max-flops does not suffice for a step, or if the warm-up is not shorter than the schedule. */
  constructor(
    settings: Settings,
    readonly batches: number,
    phases: readonly PlannedPhase[],
  ) {
    const { epochs, maxSteps, maxFlops } = settings;
    this.maxFlops = maxFlops;
    const all = epochs * batches;
    const length = settings.scheduleSteps || all;
    const begins = maxFlops > 0 ? (share: number) => share * maxFlops : (share: number) => share * length;
    this.stretches = this.layOut(phases, begins);
    const affordable = maxFlops > 0 ? this.stepsFor(maxFlops) : Number.POSITIVE_INFINITY;
    if (affordable === 0)
      throw new ConfigError(
        `--max-flops ${maxFlops} is less than the ${this.flopsAt(1)} of one step. Use a larger one or a smaller --batch-size.`,
      );
    const steps = maxSteps > 0 ? Math.min(maxSteps, all) : all;
    this.totalSteps = Math.min(steps, affordable);
    this.limit = affordable < steps ? 'max-flops' : steps < all ? 'max-steps' : 'finished';
    this.schedule = scheduleOf(settings, batches, maxFlops > 0 ? affordable : undefined);
  }

  /** The phase of the step that follows `step` finished ones, from 0. */
  phaseAt(step: number): number {
    return this.stretches.findLastIndex((stretch) => stretch.step <= step);
  }

  /** The operations of one step, by its phase and by its number in the epoch, from 0. */
  flopsOf(phase: number, batch: number): number {
    const { whole, last } = (this.stretches[phase] as Stretch).flops;
    return batch === this.batches - 1 ? last : whole;
  }

  /** The operations of the first `step` steps of the run. */
  flopsAt(step: number): number {
    const stretch = this.stretches[this.phaseAt(step)] as Stretch;
    return stretch.spent + this.cost(stretch, step);
  }

  /** The learning rate of the step that follows `step` finished ones. */
  learningRate(step: number): number {
    const { schedule, maxFlops } = this;
    return learningRate(
      schedule,
      maxFlops > 0 ? (schedule.totalSteps * this.flopsAt(step)) / this.flopsAt(schedule.totalSteps) : step,
    );
  }

  /** The operations of a stretch by the time that `step` steps of the run are finished. */
  private cost(stretch: Pick<Stretch, 'step' | 'flops'>, step: number): number {
    const { whole, last } = stretch.flops;
    const epochs = (at: number) => Math.floor(at / this.batches);
    return (step - stretch.step) * whole + (epochs(step) - epochs(stretch.step)) * (last - whole);
  }

  /** Where each phase begins: with the first step before which its share, of FLOPs or of steps, is done. */
  private layOut(phases: readonly PlannedPhase[], begins: (share: number) => number): Stretch[] {
    const stretches: Stretch[] = [];
    for (const [i, phase] of phases.entries()) {
      const before = stretches.at(-1);
      const share = phases[i - 1]?.until ?? 0;
      const step = !before
        ? 0
        : this.maxFlops > 0
          ? this.reaching(before, begins(share))
          : Math.ceil(begins(share));
      stretches.push({ ...phase, step, spent: before ? before.spent + this.cost(before, step) : 0 });
    }
    return stretches;
  }

  /** The first step count at which a stretch, continued, has spent `flops`. */
  private reaching(stretch: Stretch, flops: number): number {
    const guess = stretch.step + Math.max(0, (flops - stretch.spent) / Math.max(stretch.flops.whole, 1));
    let step = Math.max(stretch.step, Math.floor(guess));
    while (stretch.spent + this.cost(stretch, step) < flops) step++;
    return step;
  }

  /** The most steps that cost at most `flops`. */
  private stepsFor(flops: number): number {
    const last = this.stretches.at(-1) as Stretch;
    let step = this.reaching(last, flops);
    while (step > 0 && this.flopsAt(step) > flops) step--;
    return step;
  }
}
