/** From settings to the schedule of the learning rate. */
import { ConfigError } from '../core/errors.js';
import { learningRate, type Schedule } from '../optim/schedule.js';
import type { Settings } from './settings.js';

/** `batches` is steps an epoch. A ConfigError where the warm-up would outlast the schedule. */
export function scheduleOf(settings: Settings, batches: number): Schedule {
  const warmupSteps = Math.round(settings.warmupEpochs * batches);
  const totalSteps = settings.scheduleSteps || settings.epochs * batches;
  if (settings.scheduleSteps > 0 && warmupSteps >= totalSteps)
    throw new ConfigError(
      `--warmup-epochs ${settings.warmupEpochs} are ${warmupSteps} steps, which must be fewer than --schedule-steps ${totalSteps}.`,
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

/** A share of the way from the peak rate to the floor; few runs are meant to end above it. */
const HIGH = 0.1;

/** A sentence where a run of so many steps ends with a learning rate far above the floor of its schedule; else null. */
export function endsHigh(schedule: Schedule, steps: number): string | null {
  const { lr, totalSteps } = schedule;
  const [end, floor] = [learningRate(schedule, steps - 1), learningRate(schedule, totalSteps)];
  if (steps >= totalSteps || end - floor <= HIGH * (lr - floor)) return null;
  return (
    `The run ends after ${steps} of the ${totalSteps} steps of its schedule, at a learning rate of ${Number(end.toPrecision(3))} ` +
    `instead of ${Number(floor.toPrecision(3))}; --schedule-steps ${steps} makes both end together.`
  );
}
