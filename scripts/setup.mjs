// Makes a fresh clone ready to run: the right Node, the packages, a WebGPU adapter.
// Prints nothing and takes well under a second if everything is installed. Can be run any number of times.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { driverFingerprint, ensureAdapter } from './adapter.mjs';
import { isMain, root, runMain, Trouble } from './common.mjs';

const OLDEST_NODE = [20, 19];
const modules = join(root, 'node_modules');
const stampFile = join(modules, '.patchlight-setup.json'); // npm ci removes it together with node_modules

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  const [wantMajor, wantMinor] = OLDEST_NODE;
  if (major > wantMajor || (major === wantMajor && minor >= wantMinor)) return;
  throw new Trouble(
    `Patchlight needs Node ${OLDEST_NODE.join('.')} or newer; this is ${process.versions.node}.`,
  );
}

function readStamp() {
  try {
    return JSON.parse(readFileSync(stampFile, 'utf8'));
  } catch {
    return {};
  }
}

function writeStamp(fields) {
  mkdirSync(modules, { recursive: true });
  writeFileSync(stampFile, `${JSON.stringify({ ...readStamp(), ...fields }, null, 2)}\n`);
}

/** A hash of the lock file, with the Node version and the platform: an installation is valid for these. */
function installFingerprint() {
  const hash = createHash('sha256').update(readFileSync(join(root, 'package-lock.json')));
  return `${hash.digest('hex')} ${process.version} ${process.platform}-${process.arch}`;
}

/** Calls npm: the npm that runs this script, else the one on the path. */
function npm(args) {
  const running = process.env.npm_execpath;
  const options = { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28 };
  if (running?.endsWith('npm-cli.js')) return spawnSync(process.execPath, [running, ...args], options);
  return spawnSync('npm', args, { ...options, shell: process.platform === 'win32' });
}

/** Refuses a symbolic link: `npm ci` would empty its target, which may belong to another checkout. */
export function refuseLink(folder) {
  if (lstatSync(folder, { throwIfNoEntry: false })?.isSymbolicLink())
    throw new Trouble(`${folder} is a link, and its packages are not those of package-lock.json: remove it.`);
}

/** Runs `npm ci` unless node_modules was made from this very lock file. */
export function install() {
  checkNode();
  const wanted = installFingerprint();
  if (readStamp().install === wanted) return;
  refuseLink(modules);
  console.error('Installing packages ...');
  const done = npm(['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error']);
  if (done.error) throw new Trouble(`npm could not be started: ${done.error.message}.`);
  if (done.status !== 0) throw new Trouble(`${done.stdout}${done.stderr}npm ci failed; its output is above.`);
  writeStamp({ install: wanted });
}

/** Runs all steps. Throws Trouble with a remedy if a step needs the user. */
export function setup() {
  install();
  if (readStamp().drivers === driverFingerprint()) return;
  const adapter = ensureAdapter();
  writeStamp({ adapter, drivers: driverFingerprint() });
}

if (isMain(import.meta.url)) await runMain(setup);
