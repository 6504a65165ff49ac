// `node scripts/speedrun.mjs [--check]`: docs/speedrun.md and docs/speedrun.svg from the results under bench/speedrun.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { isMain, replaceFile, root, runMain, Trouble } from './common.mjs';
import { plot } from './speedrun_curve.mjs';
import { page } from './speedrun_page.mjs';
import { readResults, recordsOf } from './speedrun_results.mjs';

const HELP = `node scripts/speedrun.mjs [--check] [--from DIR] [--to DIR]

Writes speedrun.md and speedrun.svg from the files of sweep.js --results.

  --check     write nothing, and fail if the files are not what the results give
  --from DIR  folder of the results: a folder a label, and labels.json [bench/speedrun]
  --to DIR    folder of the page [docs]`;

const LARGEST_PLOT = 100_000; // bytes

/** The files of the page; null for one that must not exist. Throws a Trouble for a result that cannot be shown. */
export function filesOf(from) {
  const labels = readResults(from);
  const svg = plot(recordsOf(labels));
  if (svg !== null && svg.length > LARGEST_PLOT)
    throw new Trouble(`speedrun.svg would have ${svg.length} bytes, more than ${LARGEST_PLOT}.`);
  return { 'speedrun.md': page(labels, svg !== null), 'speedrun.svg': svg };
}

function optionsOf(args) {
  try {
    return parseArgs({
      args,
      options: {
        check: { type: 'boolean', default: false },
        from: { type: 'string', default: join(root, 'bench/speedrun') },
        to: { type: 'string', default: join(root, 'docs') },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    throw new Trouble(`${error.message.split('. ')[0]}. --help lists what there is.`);
  }
}

if (isMain(import.meta.url))
  await runMain(() => {
    const { check, from, to, help } = optionsOf(process.argv.slice(2));
    if (help) {
      console.log(HELP);
      return;
    }
    for (const [name, text] of Object.entries(filesOf(from))) {
      const path = join(to, name);
      const before = existsSync(path) ? readFileSync(path, 'utf8') : null;
      if (before === text) continue;
      if (check) throw new Trouble(`${path} is not what the results give. Run node scripts/speedrun.mjs.`);
      if (text === null) rmSync(path);
      else replaceFile(path, text);
    }
  });
