/** Restarts of a run after its device was lost, for example by a driver reset: the saved state is still there. */
import { DeviceLostError } from '../core/errors.js';
import type { Gpu } from '../gpu/gpu.js';
import type { Outcome } from '../training/fit.js';
import { Trainer, type TrainerInput } from './trainer.js';

export interface RestartInput extends Omit<TrainerInput, 'environment'> {
  /** Opens a new device. */
  readonly reopen: () => Promise<Gpu>;
  /** The facts about a device that the run records. */
  readonly environmentOf: (gpu: Gpu) => TrainerInput['environment'];
  /** The most device losses after which the run continues. */
  readonly restarts: number;
  /** Called for each trainer before it runs. */
  readonly prepared?: (trainer: Trainer) => void;
}

export interface Trained {
  readonly outcome: Outcome;
  /** The last trainer. */
  readonly trainer: Trainer;
  /** The last device, still open. */
  readonly gpu: Gpu;
}

/**
 * Trains. If the device is lost (and we did not close it), opens a new one and continues from the newest saved state, or
 * from the start if none is saved. Weights and logs end as if no device had been lost. Throws a DeviceLostError if the
 * device is lost again after the last restart.
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
      gpu.close(); // frees whatever the lost device still holds, with its buffers
      // Until this run has saved a state, it restarts from its own --init or --resume: other states in the folder may be
      // newer than the one that the user chose.
      if (trainer?.hasSaved) [init, resume] = [undefined, input.run.path];
      if (losses === restarts) throw afterRestarts(error, restarts);
      input.reporter.note(`${error.message} Restart ${losses + 1} of ${restarts} on a new device.`);
    }
  }
}

function afterRestarts(error: DeviceLostError, restarts: number): DeviceLostError {
  if (restarts === 0) return error;
  return new DeviceLostError(`${error.message} All restarts are used up (--restarts ${restarts}).`, false);
}
