// `node scripts/gpu.mjs OUT [--quick] [--minutes N]`: checks and measures this machine's GPU, on Linux, macOS and Windows. After
// every part it writes OUT/gpu.json and OUT/gpu.md anew, so that it can be stopped at any moment. OUT/gpu.log has all output.
// It builds dist/ if there is none; else it needs no network. A part that fails is reported, and the rest runs.
import { spawn, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import { join, relative } from 'node:path';
import { isMain, replaceFile, root, runMain, Trouble } from './common.mjs';
import { adapterOf, markdown } from './gpu_page.mjs';
import { ASKS_TORCH, everyCheck, JSON_FILE, ownParts, PYTHONS, torchParts } from './gpu_parts.mjs';

const MINUTES = 9.5;
const KEPT = 40_000; // the last characters of a part's output
const LEAST = 5; // seconds for which a part is worth starting
const WINDOWS = process.platform === 'win32';

/** The process that runs now, to be ended with this one. */
let running = null;

/** Ends a process and those that it started. */
function endTree({ pid }) {
  if (WINDOWS) {
    spawnSync('taskkill', ['/T', '/F', '/PID', `${pid}`], { windowsHide: true });
    return;
  }
  try {
    process.kill(-pid, 'SIGKILL'); // its process group
  } catch {
    // it has just ended
  }
}

/**
 * Runs a command. Resolves with its output and, if it failed, with how it ended; `missing` if there is no such program.
 */
function run([file, ...args], seconds, outputFile) {
  return new Promise((resolve) => {
    const began = performance.now();
    const sink = openSync(outputFile, 'w');
    // On Windows a detached process would get a window; elsewhere it gets a process group, by which it is ended.
    const child = spawn(file, args, {
      ...{ cwd: root, detached: !WINDOWS, windowsHide: true },
      stdio: ['ignore', sink, sink],
    });
    running = child;
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      endTree(child);
    }, 1000 * seconds);
    const end = (problem, missing = false) => {
      if (running !== child) return; // an error is followed by the event of the end
      running = null;
      clearTimeout(timer);
      closeSync(sink);
      const output = readFileSync(outputFile, 'utf8');
      resolve({ output, problem, missing, seconds: (performance.now() - began) / 1000 });
    };
    child.on('error', (error) => end(error.message, error.code === 'ENOENT'));
    child.on('close', (code, signal) =>
      end(
        late ? `stopped after ${Math.round(seconds)} s` : code === 0 ? null : `ended with ${code ?? signal}`,
      ),
    );
  });
}

/** The figures of a part: the file that it wrote, or the line of its output that is a JSON object; null if there is none. */
function figuresOf(file, output) {
  const text = existsSync(file) ? readFileSync(file, 'utf8') : /^\{.*\}$/m.exec(output)?.[0];
  try {
    return JSON.parse(text ?? 'null');
  } catch {
    return null; // cut short
  }
}

/** The first Python that has PyTorch with a GPU, and the device's name for it; null if there is none. */
async function findTorch(folder, seconds) {
  for (const python of PYTHONS) {
    const { output, problem } = await run([python, '-c', ASKS_TORCH], seconds, join(folder, 'torch.txt'));
    const device = output.trim().split(/\s+/).at(-1);
    if (!problem && (device === 'cuda' || device === 'mps')) return { python, device };
  }
  return null;
}

/** A command as a person would type it in the repository's folder, to read its output. */
function typed([file, ...args]) {
  const at = args.indexOf(JSON_FILE);
  const spoken = at < 0 ? args : args.toSpliced(at - 1, 2);
  const shown = spoken.map((arg) => (arg.startsWith(root) ? relative(root, arg).replaceAll('\\', '/') : arg));
  return [file === process.execPath ? 'node' : file, ...shown]
    .map((arg) => (/^[\w./=,:{}+-]+$/.test(arg) ? arg : `"${arg}"`))
    .join(' ');
}

/** The machine around the GPU, without names of people or hosts. */
function describeMachine() {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const { stdout } = spawnSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8' });
  const processors = cpus();
  return [
    `${process.platform} ${release()} ${process.arch}`,
    `${processors.length} x ${processors[0]?.model.trim() ?? 'an unknown processor'}`,
    `${Math.round(totalmem() / 2 ** 30)} GiB`,
    `Node ${process.versions.node}`,
    `Patchlight ${[version, stdout?.trim()].filter(Boolean).join(' at ')}`,
  ];
}

const USAGE = `node scripts/gpu.mjs OUT [--quick] [--minutes N]

Checks and measures this machine's GPU, and writes OUT/gpu.md and OUT/gpu.json.

  --quick    tiny models, in one to three minutes: to try the kit
  --minutes  when to end, whatever is left to do [${MINUTES}]`;

function options(argv) {
  const [out, ...flags] = argv;
  if (!out || out.startsWith('--')) throw new Trouble(USAGE);
  let [quick, minutes] = [false, MINUTES];
  for (let i = 0; i < flags.length; i++) {
    if (flags[i] === '--quick') quick = true;
    else if (flags[i] === '--minutes') minutes = Number(flags[++i]);
    else throw new Trouble(`There is no flag ${flags[i]}. ${USAGE}`);
  }
  if (!(minutes > 0)) throw new Trouble('--minutes must be a number above 0.');
  return { out, minutes, quick };
}

/** The folder OUT: a part at a time is measured and added to it. */
class Report {
  results = [];
  machine = describeMachine();

  constructor({ out, minutes, quick }, folder) {
    this.out = out;
    this.quick = quick;
    this.folder = folder;
    this.end = performance.now() + 60_000 * minutes;
    mkdirSync(out, { recursive: true });
    this.log = join(out, 'gpu.log');
    writeFileSync(this.log, '');
  }

  /** Seconds until the time is over. */
  get left() {
    return (this.end - performance.now()) / 1000;
  }

  async measure({ kind, name, seconds, command, optional }) {
    const file = join(this.folder, `${this.results.length}.json`);
    const words = command.map((word) => (word === JSON_FILE ? file : word));
    const { left } = this;
    const ended =
      left < LEAST
        ? { output: '', problem: 'no time left', seconds: 0 }
        : await run(words, Math.min(seconds, left), `${file}.txt`);
    if (optional && ended.missing) return;
    const output = ended.output.replace(/^Warning: maxDynamic.*\n/gm, '');
    const last = output.trim().split('\n').at(-1);
    this.results.push({
      ...{ kind, name, command: typed(command), seconds: ended.seconds, problem: ended.problem },
      summary: (/^\d+ checked.*/m.exec(output)?.[0] ?? (/^[{|]/.test(last) ? '' : last)).slice(0, 120),
      output: output.slice(-KEPT),
      figures: figuresOf(file, output),
    });
    console.log(`${name}: ${ended.problem ?? 'done'}, ${ended.seconds.toFixed(0)} s`);
    appendFileSync(this.log, `=== ${name}: ${typed(command)}\n${output}\n`);
    this.write();
  }

  /** A file that another program holds, as Windows allows, is left as it was until the next part. */
  write() {
    const { quick, machine, results } = this;
    const known = { adapter: adapterOf(results), machine, made: new Date().toISOString(), quick, results };
    const texts = { 'gpu.json': `${JSON.stringify(known, null, 1)}\n`, 'gpu.md': markdown(known) };
    for (const [name, text] of Object.entries(texts))
      try {
        replaceFile(join(this.out, name), text);
      } catch (error) {
        console.error(`${name} was not written: ${error.message}`);
        process.exitCode = 1;
      }
  }
}

async function measureAll(report) {
  const { quick } = report;
  for (const part of ownParts(quick)) await report.measure(part);
  const torch = report.left > LEAST ? await findTorch(report.folder, Math.min(60, report.left)) : null;
  if (!torch) console.log('PyTorch with a GPU was not found.');
  const { eager, compiled } = torch ? torchParts(torch, quick) : { eager: [], compiled: [] };
  for (const part of [...eager, ...(quick ? [] : [everyCheck]), ...compiled]) await report.measure(part);
}

if (isMain(import.meta.url))
  await runMain(async () => {
    if (process.argv.includes('--help')) return console.log(USAGE);
    const chosen = options(process.argv.slice(2));
    if (!existsSync(join(root, 'dist', 'check.js'))) await (await import('./build.mjs')).build();
    const folder = mkdtempSync(join(tmpdir(), 'patchlight-gpu-'));
    process.on('exit', () => {
      if (running) endTree(running);
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 }); // Windows frees a killed process's files late
    });
    for (const [signal, code] of Object.entries({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 }))
      process.on(signal, () => process.exit(code));
    const report = new Report(chosen, folder);
    await measureAll(report);
    if (report.results.some(({ problem }) => problem)) process.exitCode = 1;
  });
