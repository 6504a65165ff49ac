// The command line of `npm run bench:peers`.
import { parseArgs } from 'node:util';

/** A command line that was typed wrong: a sentence, and exit code 2. */
export class UsageError extends Error {}

export const help = (names) => `npm run bench:peers -- [flags]

Times the training step of Patchlight beside those of other trainers, in rounds of one process each. The other trainers in
JavaScript are installed into bench/peers/node_modules when they are missing; PyTorch and numpy are used where Python has them.
Matrix products (matmul) are compared with those of numpy and onnxruntime-node, and with the host's peak where cc can compile.

  --only LIST      what to compare, separated by commas [${names.join()}];
                   step-tiny@16 is step-tiny with a batch of 16 images
  --rounds N       processes of each trainer; the tables give medians over them [3; with --quick 1]
  --timeout S      seconds after which a process is killed [300]
  --quick          fewer steps
  --save           write the tables to bench/results/peers-<adapter>.md
  --help           print this and end`;

// Timers count milliseconds in 31 bits; a longer one would end at once.
const MOST = 2_000_000;

function positive(flag, text) {
  const value = Number(text);
  if (text.trim() === '' || !Number.isInteger(value) || value < 1 || value > MOST)
    throw new UsageError(`${flag} must be a whole number from 1 to ${MOST}, not "${text}".`);
  return value;
}

/** `step-tiny@16` as {name, batch}; batch is undefined where the model's own is meant. */
function comparison(asked, names) {
  const [name, batch, ...rest] = asked.split('@');
  if (!names.includes(name)) throw new UsageError(`--only knows ${names.join(', ')}, not "${name}".`);
  if (rest.length > 0 || (batch !== undefined && !name.startsWith('step-')))
    throw new UsageError(`--only ${asked}: a batch size goes with a step, as in step-tiny@16.`);
  return { name, batch: batch === undefined ? undefined : positive(`--only ${name}@`, batch) };
}

function parse(args) {
  try {
    return parseArgs({
      args,
      options: {
        help: { type: 'boolean', default: false },
        quick: { type: 'boolean', default: false },
        save: { type: 'boolean', default: false },
        only: { type: 'string' },
        rounds: { type: 'string' },
        timeout: { type: 'string', default: '300' },
      },
    }).values;
  } catch (error) {
    if (!error.code?.startsWith('ERR_PARSE_ARGS')) throw error;
    throw new UsageError(`${error.message.split(/[.\n]/)[0]}. --help lists what there is.`);
  }
}

/** What was asked for; `names` are the comparisons that there are. Throws a UsageError. */
export function readOptions(args, names) {
  const { help, quick, save, only, rounds, timeout } = parse(args);
  return {
    ...{ help, quick, save },
    comparisons: (only ?? names.join()).split(',').map((asked) => comparison(asked, names)),
    rounds: rounds === undefined ? (quick ? 1 : 3) : positive('--rounds', rounds),
    seconds: positive('--timeout', timeout),
  };
}
