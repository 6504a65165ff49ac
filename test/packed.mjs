// The package as others get it: packed, and put into a folder elsewhere. A test file that calls `withPackage` packs it once.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';

export const root = join(import.meta.dirname, '..');

/** Flags of the strictest checks of TypeScript, for Node's modules. */
const STRICT = [
  ...['--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--noEmit'],
  ...['--module', 'nodenext', '--moduleResolution', 'nodenext', '--target', 'es2023'],
];

/** A folder where the package is installed, and what can be done there. */
export class Installed {
  folder = mkdtempSync(join(tmpdir(), 'patchlight-package-'));
  tarball;

  constructor() {
    const packed = execFileSync('npm', ['pack', '--json', '--pack-destination', this.folder], {
      cwd: root,
      encoding: 'utf8',
    });
    const [{ filename }] = JSON.parse(packed.slice(packed.indexOf('[\n')));
    this.tarball = join(this.folder, filename);
    mkdirSync(this.path(), { recursive: true });
    execFileSync('tar', ['-xzf', this.tarball, '-C', this.path(), '--strip-components=1']);
    writeFileSync(join(this.folder, 'package.json'), JSON.stringify({ type: 'module' }));
    // npm would install these beside it.
    this.link('webgpu', '@webgpu', 'sharp', '@img', 'detect-libc', 'semver');
  }

  /** Links packages of the checkout. */
  link(...names) {
    for (const name of names)
      symlinkSync(join(root, 'node_modules', name), join(this.folder, 'node_modules', name));
  }

  /** Copies a file or a folder of the checkout to the same place here. */
  copy(name) {
    cpSync(join(root, name), join(this.folder, name), { recursive: true });
  }

  /** A path in the installed package. */
  path(...names) {
    return join(this.folder, 'node_modules', 'patchlight', ...names);
  }

  /** Runs Node here. */
  node(...args) {
    return spawnSync(process.execPath, args, { cwd: this.folder, encoding: 'utf8', timeout: 200_000 });
  }

  /** Runs esbuild's own program, which need not be a script. */
  esbuild(...args) {
    return spawnSync(join(root, 'node_modules/esbuild/bin/esbuild'), args, {
      cwd: this.folder,
      encoding: 'utf8',
    });
  }

  /** Type-checks strictly. */
  typeCheck(...args) {
    return this.node(join(root, 'node_modules/typescript/bin/tsc'), ...STRICT, ...args);
  }
}

/** Packs and installs before the tests of the file, and removes the folder after them. */
export function withPackage() {
  let installed;
  beforeAll(() => {
    installed = new Installed();
  });
  afterAll(() => installed && rmSync(installed.folder, { recursive: true, force: true }));
  return () => installed;
}
