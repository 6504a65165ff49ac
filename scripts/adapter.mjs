// Makes sure that WebGPU finds an adapter. On a machine without a GPU it installs Mesa's software Vulkan driver.
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { backportsSource } from './apt.mjs';
import { root, Trouble } from './common.mjs';
import { familyOf, parseRelease, remedyFor } from './remedies.mjs';

const DRIVER = 'mesa-vulkan-drivers';
const SOURCES = '/etc/apt/sources.list';
const ICD_FOLDERS = [
  '/usr/share',
  '/usr/local/share',
  '/etc',
  ...homeFolders().map((home) => join(home, '.local/share')),
];

/** The home folder; none for a user without HOME and without an entry in the system's list, as in a container. */
function homeFolders() {
  try {
    return [homedir()];
  } catch {
    return [];
  }
}

function filesIn(folder, pattern) {
  try {
    return readdirSync(folder)
      .filter((name) => pattern.test(name))
      .map((name) => join(folder, name));
  } catch {
    return [];
  }
}

/** Changes when a Vulkan driver is added, removed or replaced. If it is unchanged, an adapter found before still exists. */
export function driverFingerprint() {
  const drivers = ICD_FOLDERS.flatMap((folder) => filesIn(join(folder, 'vulkan/icd.d'), /\.json$/));
  const { VK_DRIVER_FILES = '', VK_ICD_FILENAMES = '' } = process.env;
  return [
    VK_DRIVER_FILES,
    VK_ICD_FILENAMES,
    ...drivers.map((file) => `${file} ${statSync(file).mtimeMs}`),
  ].join('|');
}

/** The adapter's name; null where there is none. */
function findAdapter() {
  const probe = spawnSync(process.execPath, [join(root, 'scripts/probe.mjs')], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  const unloadable = /^Error: (.*\.so.*)$/m.exec(probe.stderr ?? '');
  if (unloadable) {
    const why = `The webgpu package does not load on this system: ${unloadable[1]}`;
    const family = familyOf(osRelease());
    throw new Trouble(family.includes('alpine') ? `${why}\n${remedyFor(process.platform, family)}` : why);
  }
  return probe.status === 0 ? probe.stdout.trim() : null;
}

/** ID, VERSION_CODENAME and the like of this system; empty where there is no os-release. */
export function osRelease() {
  try {
    return parseRelease(readFileSync('/etc/os-release', 'utf8'));
  } catch {
    return {};
  }
}

/** The prefix for a command that needs root, such as sudo; null if we cannot become root. */
export function asRoot() {
  if (process.getuid?.() === 0) return [];
  return spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0 ? ['sudo', '-n'] : null;
}

/** Runs `apt-get update`, then installs packages. A failed update is reported only if the installation fails, too. */
export function aptInstall(prefix, packages, options = [], target = []) {
  const apt = (...args) => {
    const line = [
      ...prefix,
      'env',
      'DEBIAN_FRONTEND=noninteractive',
      'apt-get',
      '-q',
      '-y',
      ...options,
      ...args,
    ];
    const done = spawnSync(line[0], line.slice(1), { encoding: 'utf8', maxBuffer: 1 << 28 });
    return {
      ok: done.status === 0,
      output: `${done.stdout ?? ''}${done.stderr ?? ''}${done.error?.message ?? ''}`,
    };
  };
  const update = apt('update');
  const install = apt(
    'install',
    '--no-install-recommends',
    '-o',
    'DPkg::Lock::Timeout=120',
    ...target,
    ...packages,
  );
  if (!install.ok) throw new Trouble(`${update.output}${install.output}apt-get failed; its output is above.`);
}

/** The same with backports, by a copy of the folder of sources for these two calls; nothing in /etc changes. */
function installFromBackports(prefix, codename) {
  const parts = filesIn(`${SOURCES}.d`, /\.(list|sources)$/);
  const texts = [...filesIn('/etc/apt', /^sources\.list$/), ...parts].map((file) =>
    readFileSync(file, 'utf8'),
  );
  const source = backportsSource(texts, codename);
  if (source === null)
    throw new Trouble(`No mirror of ${codename} in ${SOURCES}(.d): add ${codename}-backports there.`);
  const folder = mkdtempSync(join(tmpdir(), 'patchlight-apt-'));
  try {
    for (const file of parts) copyFileSync(file, join(folder, basename(file)));
    if (source !== '') writeFileSync(join(folder, 'patchlight-backports.sources'), source);
    aptInstall(prefix, [DRIVER], ['-o', `Dir::Etc::sourceparts=${folder}`], ['-t', `${codename}-backports`]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Finds an adapter, or installs one if possible. Otherwise throws Trouble with the command to run. */
export function ensureAdapter() {
  const found = findAdapter();
  if (found !== null) return found;

  const release = osRelease();
  const { ID = '', VERSION_CODENAME: codename = '' } = release;
  const family = familyOf(release);
  const none = 'No WebGPU adapter was found.';
  const override = ['VK_DRIVER_FILES', 'VK_ICD_FILENAMES'].find((name) => process.env[name]);
  if (override) throw new Trouble(`${none} ${override} names the drivers to use: unset it, or correct it.`);
  if (!family.includes('debian') && !family.includes('ubuntu'))
    throw new Trouble(`${none} ${remedyFor(process.platform, family)}`);
  // Debian 12's own Mesa is too old for Dawn; the Mesa in its backports is recent enough.
  const backports = ID === 'debian' && codename === 'bookworm';
  const prefix = asRoot();
  if (prefix === null) {
    const line = backports
      ? `sudo "${process.execPath}" "${join(root, 'scripts/setup.mjs')}"`
      : `sudo apt-get update && sudo apt-get install -y ${DRIVER}`;
    throw new Trouble(`${none} Install Mesa's software Vulkan driver: ${line}`);
  }
  console.error(`${none} Installing Mesa's software Vulkan driver (${DRIVER}) ...`);
  if (backports) installFromBackports(prefix, codename);
  else aptInstall(prefix, [DRIVER]);
  const installed = findAdapter();
  if (installed !== null) return installed;
  throw new Trouble(
    `${DRIVER} is installed, but WebGPU still finds no adapter: this system's Mesa may be too old.`,
  );
}
