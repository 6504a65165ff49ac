#!/usr/bin/env node
/** `node dist/compile.js JOB.json`: fills the driver's shader cache. Started by the engine itself (src/gpu/compile_ahead.ts). */
import { readFileSync } from 'node:fs';
import { type CompileJob, compileAll } from '../gpu/compile_ahead.js';
import { openAdapter } from '../gpu/device.js';
import { main, UsageError } from './main.js';

await main(async () => {
  const [path] = process.argv.slice(2);
  if (!path) throw new UsageError('Name the file that lists the kernels to compile.');
  const { adapter, kernels } = JSON.parse(readFileSync(path, 'utf8')) as CompileJob;
  const { device, info } = await openAdapter({ adapter });
  compileAll(device, info.immediates, kernels);
  await device.queue.onSubmittedWorkDone();
  return 0;
});
