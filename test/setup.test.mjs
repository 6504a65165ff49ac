// scripts/setup.mjs: choosing a source of drivers from apt's source files, and installing packages.
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { backportsSource } from '../scripts/apt.mjs';
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
