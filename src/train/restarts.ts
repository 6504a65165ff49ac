/** A run that survives its device: a driver that was reset takes the device along, and not what was saved. */
import { existsSync } from 'node:fs';
import { DeviceLostError } from '../core/errors.js';
import type { Gpu } from '../gpu/gpu.js';
import { checkpointNames } from './checkpoint.js';
import type { TrainerInput } from './prepare.js';
import { type Outcome, Trainer } from './trainer.js';

export interface RestartInput extends Omit<TrainerInput, 'environment'> {
  /** Another device, each time that it is called. */
  readonly reopen: () => Promise<Gpu>;
  /** What is recorded of a device. */
  readonly environmentOf: (gpu: Gpu) => TrainerInput['environment'];
  /** How many losses of the device are survived. */
  readonly restarts: number;
  /** Called for each trainer before it runs. */
  readonly prepared?: (trainer: Trainer) => void;
}

export interface Trained {
  readonly outcome: Outcome;
  /** Those that served last; the device is open. */
  readonly trainer: Trainer;
  readonly gpu: Gpu;
}

/**
 * Trains; where the device is lost, and it was not we who closed it, goes on from the newest saved state on a new one (from
 * the start where none is saved). The weights and logs are those of a run that lost nothing. Throws DeviceLostError at the
 * loss after the last restart.
 */
export async function trainWithRestarts(input: RestartInput): Promise<Trained> {
  const { reopen, environmentOf, restarts, prepared } = input;
  for (let losses = 0; ; losses++) {
    const gpu = losses === 0 ? input.gpu : await reopen();
    const from = losses === 0 ? {} : restartFrom(input);
    try {
      const trainer = await Trainer.prepare({ ...input, ...from, gpu, environment: environmentOf(gpu) });
      prepared?.(trainer);
      return { outcome: await trainer.run(), trainer, gpu };
    } catch (error) {
      if (!(error instanceof DeviceLostError) || error.closed) throw error;
      gpu.close(); // what is left of it; its buffers go with it
      if (losses === restarts) throw afterRestarts(error, restarts);
      input.reporter.note(`${error.message} Restart ${losses + 1} of ${restarts}, on a new one.`);
    }
  }
}

/** The run's own state, once it has one; till then what it was to start from. */
function restartFrom({ run, init, resume }: RestartInput): Pick<TrainerInput, 'init' | 'resume'> {
  const saved = existsSync(run.checkpoint(checkpointNames.state));
  return saved ? { init: undefined, resume: run.path } : { init, resume };
}

function afterRestarts(error: DeviceLostError, restarts: number): DeviceLostError {
  if (restarts === 0) return error;
  return new DeviceLostError(`${error.message} It was the loss after restart ${restarts}, the last.`, false);
}
