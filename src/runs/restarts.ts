/** A run that survives its device: a driver that was reset takes the device along, and not what was saved. */
import { DeviceLostError } from '../core/errors.js';
import type { Gpu } from '../gpu/gpu.js';
import type { Outcome } from '../training/fit.js';
import { Trainer, type TrainerInput } from './trainer.js';

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
  let { init, resume } = input;
  for (let losses = 0; ; losses++) {
    const gpu = losses === 0 ? input.gpu : await reopen();
    let trainer: Trainer | null = null;
    try {
      trainer = await Trainer.prepare({ ...input, init, resume, gpu, environment: environmentOf(gpu) });
      prepared?.(trainer);
      return { outcome: await trainer.run(), trainer, gpu };
    } catch (error) {
      if (!(error instanceof DeviceLostError) || error.closed) throw error;
      gpu.close(); // what is left of it; its buffers go with it
      // Until this run has saved a state, it starts from what it was given: the folder may hold newer states that were avoided.
      if (trainer?.hasSaved) [init, resume] = [undefined, input.run.path];
      if (losses === restarts) throw afterRestarts(error, restarts);
      input.reporter.note(`${error.message} Restart ${losses + 1} of ${restarts}, on a new one.`);
    }
  }
}

function afterRestarts(error: DeviceLostError, restarts: number): DeviceLostError {
  if (restarts === 0) return error;
  return new DeviceLostError(`${error.message} It was the loss after restart ${restarts}, the last.`, false);
}
