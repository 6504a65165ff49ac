/** From settings to the learning rate schedule. */
import { ConfigError } from '../core/errors.js';
import { learningRate, type Schedule } from '../optim/schedule.js';
import type { Settings } from './settings.js';

/**
 * The learning rate schedule of a run with `batches` steps per epoch; `affordable` is the number of steps of --max-flops.
 * Throws a ConfigError if the warm-up is not shorter than the schedule.
 */
export function scheduleOf(settings: Settings, batches: number, affordable?: number): Schedule {
  const warmupSteps = Math.round(settings.warmupEpochs * batches);
  const totalSteps = affordable ?? (settings.scheduleSteps || settings.epochs * batches);
  if ((affordable !== undefined || settings.scheduleSteps > 0) && warmupSteps >= totalSteps)
    throw new ConfigError(
      `--warmup-epochs ${settings.warmupEpochs} means ${warmupSteps} steps: it must be shorter than ${affordable === undefined ? `--schedule-steps ${totalSteps}` : `the ${totalSteps} steps of --max-flops ${settings.maxFlops}`}.`,
    );
  return {
    kind: settings.schedule,
    lr: settings.learningRate,
    warmupLr: settings.warmupLr,
    minLr: settings.minLr,
    warmupSteps,
    totalSteps,
  };
}

/** A fraction of the way from the lowest to the peak learning rate. Few runs are meant to end above it. */
const HIGH = 0.1;

/** A note if a run of `steps` steps ends with a learning rate far above the end of its schedule; otherwise null. */
export function endsHigh(schedule: Schedule, steps: number): string | null {
  const { lr, totalSteps } = schedule;
  const [end, floor] = [learningRate(schedule, steps - 1), learningRate(schedule, totalSteps)];
  if (steps >= totalSteps || end - floor <= HIGH * (lr - floor)) return null;
  return (
    `The run ends after ${steps} of the ${totalSteps} steps of its schedule, at a learning rate of ${Number(end.toPrecision(3))} ` +
    `instead of ${Number(floor.toPrecision(3))}. Use --schedule-steps ${steps} to end the schedule with the run.`
  );
}
