/** Random sequences of command lines in one folder: usual commands in any order, right and wrong ones. */
import fc from 'fast-check';
import { type Command, IMAGE } from './play.js';
import { extras, type Wrong } from './settings.js';
import { base, fine, rarely, refusal, resume, runs, train, usage } from './training.js';

const reading = (
  program: 'evaluate' | 'predict',
  bad: readonly Wrong[],
  more: readonly (readonly string[])[],
) =>
  fc
    .record({
      run: runs,
      of: fc.constantFrom('', '', '/checkpoints/best.safetensors', '/checkpoints/final.safetensors'),
      weights: rarely(4, runs, null),
      more: fc.constantFrom(...more),
      wrong: rarely(5, fc.constantFrom(...bad), fine),
    })
    .map(
      ({ run, of, weights, more, wrong: { args: wrong, expects } }): Command => ({
        program,
        args: [
          `${run}${of}`,
          ...(weights ? ['--weights', `${weights}/checkpoints/final.safetensors`] : []),
          ...['--json', ...more],
        ],
        ...{ wrong, expects, writes: program === 'evaluate' ? `${run}/report.html` : '' },
      }),
    );

const evaluate = reading(
  'evaluate',
  [
    usage('--batch-size=0'),
    usage('--batch-size=abc'),
    usage('--tta=nope'),
    usage('--nope'),
    refusal('--dataset=nope'),
  ],
  [[], ['--no-report'], ['--batch-size=100']],
);
const predict = reading(
  'predict',
  [usage('--top=0'), usage('--top=abc'), usage('--fit=nope'), refusal('nope.png')],
  [[IMAGE], [IMAGE, '--top=3', '--tta=flip']],
);

const axes = [
  'learning_rate=0.001,0.01',
  'learning_rate=0.01,0.02',
  'weight_decay=0,0.1',
  'seed=1,2',
  'epochs=1,2',
];
const sweep: fc.Arbitrary<Command> = fc
  .record({ base, axis: fc.constantFrom(...axes), extras, output: fc.constantFrom('sweep', 'sweep', 'a') })
  .map(({ base, axis, extras, output }) => ({
    program: 'sweep',
    args: [
      ...['--grid', axis, '--output', output, '--quiet'],
      ...(axis.startsWith('epochs') ? base.filter((flag) => !flag.startsWith('--epochs')) : base),
    ],
    flags: extras,
    ...{ expects: 'any', writes: output },
  }));

/** A run, and the commands after it. */
export const sequences: fc.Arbitrary<Command[]> = fc
  .tuple(
    train,
    fc.array(
      fc.oneof(
        { weight: 4, arbitrary: train },
        { weight: 6, arbitrary: resume },
        { weight: 2, arbitrary: evaluate },
        { weight: 1, arbitrary: predict },
        { weight: 1, arbitrary: sweep },
      ),
      { minLength: 1, maxLength: 4 },
    ),
  )
  // A terminal sends no SIGTERM, and Ctrl-C has tests of its own.
  .map(([first, rest]) =>
    [first, ...rest].map((command, i) =>
      i % 3 === 1 && !command.stop ? { ...command, terminal: true } : command,
    ),
  );
