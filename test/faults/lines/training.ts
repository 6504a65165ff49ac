/** Command lines of train.js: new and resumed runs, with right and wrong flags. */
import fc from 'fast-check';
import { kebab, settingNames } from '../../../src/recipe/settings.js';
import { type Command, NOTE } from './play.js';
import { configured, extras, kept, shapes, values, type Wrong, wrongs } from './settings.js';

/** The run folders of a sequence. */
export const runs = fc.constantFrom('a', 'a', 'a', 'b');

export const usage = (...args: string[]): Wrong => ({ args, expects: 'usage' });
export const refusal = (...args: string[]): Wrong => ({ args, expects: 'refusal' });

/** Wrong arguments that are not settings. */
const oddities: readonly Wrong[] = [
  usage('--nope', '3'),
  usage('--no-epochs'),
  usage('stray'),
  usage('--restarts', '-1'),
  usage('--restarts', 'abc'),
  usage('--memory-budget', '0'),
  usage('--memory-budget', 'abc'),
  usage('--output'),
  usage('--output='),
  refusal('--preset', 'nope'),
  refusal('--adapter', 'nope'),
  refusal('--init', 'nope.safetensors'),
  refusal('--config', 'nope.json'),
];
const wrong = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom(...settingNames).chain((name) => fc.constantFrom(...wrongs(name))),
  },
  { weight: 1, arbitrary: fc.constantFrom(...oddities) },
);

/** `value` once in `times` draws, otherwise `nil`. */
export const rarely = <T, N>(times: number, value: fc.Arbitrary<T>, nil: N): fc.Arbitrary<T | N> =>
  fc.oneof({ weight: 1, arbitrary: value }, { weight: times - 1, arbitrary: fc.constant(nil) });

export const fine = { args: [] as readonly string[], expects: 'any' as const };

const stop = rarely(
  3,
  fc.record({
    signal: fc.constantFrom('SIGINT' as const, 'SIGTERM' as const),
    after: fc.integer({ min: 1, max: 9 }),
  }),
  undefined,
);

/** Long enough to be stopped, short enough to run thousands of them. */
export const base = fc
  .tuple(fc.constantFrom(...shapes), fc.constantFrom('20', '40', '60'), fc.integer({ min: 1, max: 3 }))
  .map(([shape, images, epochs]) => [
    '--dataset=shapes10',
    `--limit-train=${images}`,
    ...shape,
    `--epochs=${epochs}`,
  ]);

const loud = ['--json', '--log-interval=1'];

export const train: fc.Arbitrary<Command> = fc
  .record({
    run: runs,
    base,
    extras,
    config: rarely(5, configured, null),
    init: rarely(8, runs, null),
    wrong: rarely(5, wrong, fine),
    stop,
    quiet: fc.constantFrom(['--quiet'], ['--json'], []),
    thorough: fc.boolean(),
  })
  .map(({ run, base, extras, config, init, wrong: { args: wrong, expects }, stop, quiet, thorough }) => ({
    program: 'train',
    args: [
      ...base,
      ...(stop ? loud : quiet),
      ...(config ? ['--config', 'settings.json'] : []),
      ...(init ? ['--init', `${init}/checkpoints/best.safetensors`] : []),
      ...['--output', run],
    ],
    flags: extras,
    ...(config ? { files: { 'settings.json': { json: config } } } : {}),
    ...{ wrong, expects, stop, writes: run, thorough },
  }));

const changes = fc.oneof(
  { weight: 4, arbitrary: fc.constant({ settings: {}, forbidden: false }) },
  {
    weight: 2,
    arbitrary: fc.integer({ min: 1, max: 5 }).map((epochs) => ({ settings: { epochs }, forbidden: false })),
  },
  {
    weight: 2,
    arbitrary: fc
      .constantFrom(...kept)
      .chain((name) => values(name).map((value) => ({ settings: { [name]: value }, forbidden: true }))),
  },
);

export const resume: fc.Arbitrary<Command> = fc
  .record({
    run: runs,
    by: fc.constantFrom('folder', 'folder', 'state', 'older state', 'copy'),
    output: fc.oneof(
      { weight: 4, arbitrary: fc.constant(null) },
      { weight: 3, arbitrary: fc.constantFrom('a', 'b', 'fresh', NOTE) },
    ),
    changes,
    wrong: rarely(5, wrong, fine),
    stop,
    thorough: fc.boolean(),
  })
  .map(
    ({
      run,
      by,
      output,
      changes: { settings, forbidden },
      wrong: { args: wrong, expects },
      stop,
      thorough,
    }) => {
      const state = `${run}/checkpoints/last.state.safetensors`;
      const from = {
        folder: run,
        state,
        'older state': state.replace('last', 'last.1'),
        copy: 'backup/last.state.safetensors',
      }[by] as string;
      const own = /^--(preset|config|init)$/.test(wrong[0] ?? '');
      const expected = own ? 'usage' : output === NOTE && expects === 'any' ? 'refusal' : expects;
      const flags = Object.entries(settings).map(([name, value]) => `--${kebab(name)}=${value}`);
      return {
        program: 'train' as const,
        args: [
          ...['--resume', from],
          ...(output ? ['--output', output] : []),
          ...(stop ? ['--json'] : ['--quiet']),
          ...flags,
        ],
        wrong,
        ...(by === 'copy' ? { files: { [from]: { copy: state } } } : {}),
        expects: expected as Command['expects'],
        writes: output ?? (by === 'copy' ? 'runs' : run),
        resume: { run, changes: settings, forbidden, copied: by === 'copy' },
        ...{ stop, thorough },
      };
    },
  );
