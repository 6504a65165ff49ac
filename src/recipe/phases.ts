/**
 * Phases of a run: shares of it in which some settings have other values, such as larger patches at first. The model, the
 * augmentation and the step are built anew for each phase; weights and optimizer go on.
 */
import { ConfigError } from '../core/errors.js';
import { modelNamed } from '../models/registry.js';
import { resolveSettings, type Settings } from './settings.js';
import { parseValue, settingOf, snake } from './spelled.js';

/** A part of a run. */
export interface Phase {
  /** The end of the phase, as a share of the run: 1 is its end. */
  readonly until: number;
  /** The settings of the run, with those of the phase. */
  readonly settings: Settings;
}

/** Settings of a run that a phase may change, besides those that its model allows (`ModelKind.phased`). */
const PHASED: ReadonlySet<string> = new Set<keyof Settings>([
  'augment',
  'flip',
  'paddingMode',
  'scaleMin',
  'ratioMax',
  'randMagnitude',
  'randNumOps',
  'colorJitter',
  'hueJitter',
  'mixup',
  'cutmix',
  'mixupProb',
  'mixupSwitchProb',
  'randomErasing',
  'erasingMode',
  'clipGrad',
  'weightDecay',
  'labelSmoothing',
]);

/**
 * The phases of `--phases`, such as `0.3: patch_size=8, freeze_patch_embed=true; 0.5: patch_size=8`: until 0.3 of the run, until
 * 0.5 of it, and after that the settings as they are. Throws a ConfigError that names what cannot be read, shares that
 * do not rise, and settings that a phase cannot change.
 */
export function phasesOf(settings: Settings): readonly Phase[] {
  const whole = { ...settings, phases: '' };
  const texts = settings.phases.split(';').filter((text) => text.trim() !== '');
  const phases = texts.map((text) => phaseOf(text.trim(), whole));
  phases.forEach(({ until }, i) => {
    const before = phases[i - 1]?.until ?? 0;
    if (until <= before)
      throw new ConfigError(
        `--phases: a phase until ${until} cannot follow one until ${before}; order them.`,
      );
  });
  return phases.at(-1)?.until === 1 ? phases : [...phases, { until: 1, settings: whole }];
}

function phaseOf(text: string, whole: Settings): Phase {
  const where = `--phases ${text}`;
  const [, share = '', list = ''] = /^([\d.]+)\s*:(.*)$/.exec(text) ?? [];
  const until = Number(share);
  if (!(until > 0 && until <= 1))
    throw new ConfigError(
      `${where} must be a share of the run and settings, such as 0.5: patch_size=8. The share is above 0 and at most 1.`,
    );
  const pairs = list.split(',').filter((pair) => pair.trim() !== '');
  const changes = pairs.map((pair) => {
    const [spelled = '', value = ''] = pair.split('=').map((part) => part.trim());
    const name = settingOf(spelled, where);
    if (!PHASED.has(name) && !modelNamed(whole.model).phased?.includes(name))
      throw new ConfigError(`${where}: a phase cannot change ${snake(name)}. Set it for the whole run.`);
    return [name, parseValue(value, name, where)];
  });
  return { until, settings: resolveSettings(whole, Object.fromEntries(changes)) };
}
