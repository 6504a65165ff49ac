// `npm run test:hosts`: installs the hosts that the engine is tested in beside Node, where it may, and runs their tests.
// `node scripts/hosts.mjs install` only installs. A host that is missing is named, and its tests are skipped.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { aptInstall, asRoot, osRelease } from './adapter.mjs';
import { isMain, root, runMain, Trouble } from './common.mjs';
import { install } from './setup.mjs';

/** Deno's binary is large, and only these tests need it: it is no dependency of the project. */
const DENO = 'deno@2.9.6';
const denoFolder = join(root, 'node_modules/.cache/hosts');

/** The program of each host; null where it is not installed. */
export const hosts = {
  chromium: () => onPath('chromium'),
  firefox: () => onPath('firefox-esr') ?? onPath('firefox'),
  deno: () => onPath('deno') ?? found(join(denoFolder, 'node_modules/.bin/deno')),
};

const found = (path) => (existsSync(path) ? path : null);

const onPath = (name) =>
  (process.env.PATH ?? '')
    .split(':')
    .map((folder) => join(folder, name))
    .find(existsSync) ?? null;

const missing = () => Object.keys(hosts).filter((name) => hosts[name]() === null);

/** Installs the browsers of Debian, and npm's Deno. Leaves out what it may not install. */
export function installHosts() {
  const { ID = '', ID_LIKE = '' } = osRelease();
  const browsers = [...(hosts.chromium() ? [] : ['chromium']), ...(hosts.firefox() ? [] : ['firefox-esr'])];
  const prefix = ID === 'debian' || ID_LIKE.includes('debian') ? asRoot() : null;
  if (browsers.length > 0 && prefix && ID === 'debian') {
    console.error(`Installing ${browsers.join(' and ')} for the tests ...`);
    attempt(() => aptInstall(prefix, browsers));
  }
  if (!hosts.deno()) {
    console.error('Installing Deno for the tests ...');
    mkdirSync(denoFolder, { recursive: true });
    spawnSync(
      'npm',
      ['install', '--prefix', denoFolder, '--no-save', '--no-audit', '--no-fund', '--loglevel=error', DENO],
      { stdio: 'inherit' },
    );
  }
  for (const name of missing()) console.error(`There is no ${name} here: its tests are skipped.`);
}

function attempt(body) {
  try {
    body();
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    console.error(error.message);
  }
}

if (isMain(import.meta.url)) {
  await runMain(() => {
    install();
    installHosts();
    if (process.argv[2] === 'install') return;
    const done = spawnSync(process.execPath, [join(root, 'scripts/test.mjs'), 'test/hosts'], {
      stdio: 'inherit',
    });
    process.exitCode = done.status ?? 1;
  });
}
