#!/usr/bin/env node
/** `patchlight train …`: the commands under one name, for the installed package. `node dist/train.js …` is the same in a checkout. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { AS_PACKAGE, main, UsageError } from './main.js';

const COMMANDS = ['train', 'evaluate', 'predict', 'sweep', 'augment', 'bench', 'check'];

const usage = `patchlight COMMAND [flags]

Commands: ${COMMANDS.join(', ')}. patchlight COMMAND --help explains each.`;

const [command] = process.argv.slice(2);
const file = new URL(`./${command}.js`, import.meta.url);
if (command !== undefined && COMMANDS.includes(command) && existsSync(file)) {
  process.env[AS_PACKAGE] = '1';
  process.argv.splice(1, 2, fileURLToPath(file)); // as if it had been started by itself
  await import(file.href);
} else
  await main(async () => {
    if (command === '--version') console.log(__VERSION__);
    else if (command === undefined || command === '--help' || command === '-h') console.log(usage);
    else throw new UsageError(`there is no command called ${command}.\n\n${usage}`);
    return 0;
  });
