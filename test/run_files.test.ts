/** Reading a run directory for a report, damaged or not. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { PatchlightError } from '../src/core/errors.js';
import { readRunFiles } from '../src/report/run_files.js';
import { scratch } from './faults/common.js';

const folder = scratch('run-files');
let runs = 0;
const newRun = (): string => {
  const run = join(folder, String(runs++));
  mkdirSync(run);
  return run;
};

it('a run before its first step has no steps and no epochs', () => {
  expect(readRunFiles(newRun())).toEqual({ steps: [], history: [] });
});

it('lines of steps.jsonl that are no steps are passed over', () => {
  const run = newRun();
  const step = { step: 1, epoch: 1, loss: 2, lr: 1e-3, grad_norm: null, images_per_second: 3 };
  const lines = [JSON.stringify(step), 'null', '3', '"text"', '[1]', '{"step": "1"}', '', '{"step": 2, "lo'];
  writeFileSync(join(run, 'steps.jsonl'), lines.join('\n'));
  expect(readRunFiles(run).steps).toEqual([step]);
});

it.each([
  ['history.json', '{', /history\.json: the file is not JSON/],
  ['history.json', '{}', /history\.json: the file must hold a JSON array with an entry for each epoch\./],
  ['history.json', '[null]', /an entry for each epoch/],
  ['history.json', '[{"epoch": 1}]', /an entry for each epoch/],
  ['history.json', null, /history\.json is a folder, not a file/],
  ['steps.jsonl', null, /steps\.jsonl is a folder, not a file/],
])('%s that is %s is refused in a sentence', (name, content, says) => {
  const run = newRun();
  if (content === null) mkdirSync(join(run, name));
  else writeFileSync(join(run, name), content);
  expect(() => readRunFiles(run)).toThrow(PatchlightError);
  expect(() => readRunFiles(run)).toThrow(says);
});
