// scripts/setup.mjs: choosing a source of drivers from apt's source files, and installing packages.
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { backportsSource } from '../scripts/apt.mjs';
import { familyOf, parseRelease, remedyFor } from '../scripts/remedies.mjs';
import { refuseLink } from '../scripts/setup.mjs';

const keyring = '/usr/share/keyrings/archive.gpg';
const stanza = (fields) =>
  Object.entries(fields)
    .map(([name, value]) => `${name}: ${value}\n`)
    .join('');
const release = {
  Types: 'deb',
  URIs: 'http://mirror.example/debian',
  Suites: 'bookworm bookworm-updates',
  Components: 'main contrib',
  'Signed-By': keyring,
};
const backports = `types: deb\nuris: http://mirror.example/debian\nsuites: bookworm-backports\ncomponents: main\nsigned-by: ${keyring}\n`;
const unsigned = backports.replace(/signed-by.*\n/, '');

it.each([
  ['deb822', [stanza(release)], backports],
  [
    'deb822 with comments and a security stanza',
    [`# a\n${stanza({ ...release, Suites: 'bookworm-security' })}\n#b\n${stanza(release)}`],
    backports,
  ],
  ['deb-src beside deb', [stanza({ ...release, Types: 'deb deb-src' })], backports],
  ['a line', ['deb http://mirror.example/debian bookworm main # comment\n'], unsigned],
  [
    'a line with options',
    [`deb [signed-by=${keyring}] http://mirror.example/debian bookworm main non-free\n`],
    backports,
  ],
  [
    'a line with an architecture',
    ['deb [arch=amd64,arm64] http://mirror.example/debian bookworm main\n'],
    unsigned.replace('components', 'architectures: amd64 arm64\ncomponents'),
  ],
  [
    'somebody else who publishes under the name of the release',
    ['deb https://other.example/product bookworm main\n', stanza(release)],
    backports,
  ],
  [
    'an inline key',
    [stanza({ ...release, 'Signed-By': '\n -----BEGIN-----\n .\n abc' })],
    backports.replace(keyring, '\n -----BEGIN-----\n .\n abc'),
  ],
  [
    'backports that are there already',
    [stanza(release), 'deb http://mirror.example/debian bookworm-backports main\n'],
    '',
  ],
  ['a disabled entry', [stanza({ ...release, Enabled: 'no' })], null],
  [
    'a commented line, a source line and a disc',
    [
      '# deb http://a.example/debian bookworm main\ndeb-src http://a.example/debian bookworm main\ndeb cdrom:[x]/ bookworm main\n',
    ],
    null,
  ],
  ['another release', [stanza({ ...release, Suites: 'trixie' })], null],
  ['nothing', [], null],
])('%s', (_, texts, expected) => {
  const fields = (text) =>
    text
      ? text
          .trimEnd()
          .split(/\n(?! )/)
          .sort()
      : text;
  expect(fields(backportsSource(texts, 'bookworm'))).toEqual(fields(expected));
});

it('drivers are looked for by a user without a home folder', async () => {
  vi.doMock('node:os', async (actual) => ({
    ...(await actual()),
    homedir: () => {
      throw new Error('uv_os_homedir returned ENOENT');
    },
  }));
  const { driverFingerprint } = await import('../scripts/adapter.mjs');
  expect(driverFingerprint()).toContain('|');
});

it('packages are not installed through a link, which would empty the folder that it leads to', () => {
  const folder = mkdtempSync(join(tmpdir(), 'patchlight-'));
  const link = join(folder, 'node_modules');
  refuseLink(link);
  symlinkSync(tmpdir(), link);
  expect(() => refuseLink(link)).toThrow(/node_modules is a link, .*: remove it\.$/);
  rmSync(folder, { recursive: true });
  refuseLink(import.meta.dirname);
});

// The lines that count, of the os-release files of these systems.
// biome-ignore format: a system a line
it.each([
  ['Fedora', 'linux', 'NAME="Fedora Linux"\nID=fedora\n', /^Run: sudo dnf install -y mesa-vulkan-drivers vulkan-loader$/],
  ['Rocky Linux', 'linux', 'ID="rocky"\nID_LIKE="rhel centos fedora"\n', /^Run: sudo dnf install -y mesa-vulkan-drivers /],
  ['Arch Linux', 'linux', 'ID=arch\nBUILD_ID=rolling\n', /^Run: sudo pacman -S --needed vulkan-swrast vulkan-icd-loader$/],
  ['EndeavourOS', 'linux', "ID='endeavouros'\nID_LIKE='arch'\n", /^Run: sudo pacman -S --needed vulkan-swrast /],
  ['openSUSE', 'linux', 'ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n', /^Run: sudo zypper install -y libvulkan_lvp libvulkan1$/],
  ['Void', 'linux', 'ID="void"\n', /^Run: sudo xbps-install -S mesa-vulkan-lavapipe vulkan-loader$/],
  ['Alpine', 'linux', 'ID=alpine\nVERSION_ID=3.22.1\n', /^The webgpu package needs glibc.*Dockerfile.*mesa-vulkan-swrast/],
  ['a system that nobody knows', 'linux', 'ID=plan9\n', /^Install this system's package of Mesa's Vulkan driver lavapipe/],
  ['a system without os-release', 'linux', '', /^Install this system's package of Mesa's Vulkan driver lavapipe/],
  ['macOS', 'darwin', '', /^macOS needs no driver/],
  ['Windows', 'win32', '', /^Windows needs no driver but that of its graphics card: update it\.$/],
])('%s hears of one thing to do', (_, platform, release, says) => {
  expect(remedyFor(platform, familyOf(parseRelease(release)))).toMatch(says);
});

describe('the Dockerfile', () => {
  const read = (name) => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8');
  // A line that ends in a backslash goes on in the next one.
  const steps = read('Dockerfile')
    .replace(/\\\n\s*/g, '')
    .split('\n');
  const [install, build] = steps.filter((step) => step.startsWith('RUN '));

  it('installs what the setup needs', () => {
    for (const name of ['nodejs', 'npm', 'ca-certificates', 'mesa-vulkan-drivers'])
      expect(install.split(' ')).toContain(name);
  });

  it('runs scripts that exist', () => {
    const scripts = [...build.matchAll(/node (\S+)/g)].map(([, name]) => name);
    expect(scripts).toEqual(['scripts/setup.mjs', 'scripts/build.mjs']);
    for (const name of scripts) expect(read(name)).toContain('runMain');
    expect(steps).toContain('CMD ["npm", "start"]');
    expect(JSON.parse(read('package.json')).scripts.start).toBeDefined();
  });

  it('copies nothing that git ignores, and all that the build reads', () => {
    const left = read('.dockerignore').trim().split('\n');
    expect(left).toEqual(expect.arrayContaining(['.git', 'node_modules', 'dist', 'runs', 'data/*']));
    for (const name of ['src', 'kernels', 'tuning', 'scripts', 'package-lock.json'])
      expect(left).not.toContain(name);
  });
});
