// How quiet the machine is: CPU time of other processes while one is measured, and the pace of a fixed piece of work.
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { Worker } from 'node:worker_threads';

/** A measurement counts if other processes took at most this share of the cores ... */
export const MOST_FOREIGN = 0.1;
/** ... and the fixed work beside it took at most so many times its shortest time. */
export const MOST_PACE = 1.15;

const TICKS = 100; // a second, in /proc

/** Ticks in which the cores worked, from the text of /proc/stat; time taken by other guests of the host is work. */
export function busyTicks(stat) {
  const [user, nice, system, , , irq, softirq, steal] = stat.split('\n')[0].split(/\s+/).slice(1).map(Number);
  return user + nice + system + irq + softirq + steal;
}

/** Ticks of this process and of those it has waited for, from the text of /proc/self/stat. */
export function ownTicks(stat) {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0);
}

const read = () => ({
  busy: busyTicks(readFileSync('/proc/stat', 'utf8')),
  own: ownTicks(readFileSync('/proc/self/stat', 'utf8')),
  at: performance.now(),
});

/** The share of all cores that other processes took between two readings. */
export function foreignShare(before, after, cores = cpus().length) {
  const foreign = after.busy - before.busy - (after.own - before.own);
  return Math.max(0, foreign) / ((TICKS * cores * (after.at - before.at)) / 1000);
}

const WORK = `
  const { parentPort } = require('node:worker_threads');
  const start = performance.now();
  let x = 1;
  for (let i = 0; i < 3e7; i++) x = x * 1.0000001 + 1e-9;
  parentPort.postMessage({ ms: performance.now() - start, x });`;

/** Milliseconds of the fixed work on all cores at once: of the slowest core. */
async function pace() {
  const one = () =>
    new Promise((resolve, reject) => {
      const worker = new Worker(WORK, { eval: true });
      worker.on('message', ({ ms }) => resolve(ms));
      worker.on('error', reject);
    });
  return Math.max(...(await Promise.all(Array.from({ length: availableParallelism() }, one))));
}

/**
 * Runs `body` and adds `load` and `averages` to its result: foreign share and pace, and the load average of a minute before
 * and after. `load` is null, and `averages` is missing, where this system does not say.
 */
export async function withLoad(body) {
  if (process.platform !== 'linux') return { ...(await body()), load: null };
  const paces = [await pace()];
  const averages = [loadavg()[0]];
  const before = read();
  const result = await body();
  const foreign = foreignShare(before, read());
  averages.push(loadavg()[0]);
  paces.push(await pace());
  return { ...result, averages, load: { foreign, pace: Math.max(...paces) } };
}

/** If each result counts, given all that were measured in one run: by name, by round. */
export function counted(found) {
  const loads = [...found.values()].flat().flatMap(({ load }) => load ?? []);
  const best = Math.min(...loads.map(({ pace }) => pace));
  const quiet = ({ load }) => !load || (load.foreign <= MOST_FOREIGN && load.pace <= MOST_PACE * best);
  return new Map([...found].map(([name, all]) => [name, all.map(quiet)]));
}

/** The processor, and the load now. */
export const machine = () =>
  `${cpus().length} cores of ${cpus()[0]?.model.trim() ?? 'an unknown processor'}, load ${loadavg()[0].toFixed(2)} at the start`;
