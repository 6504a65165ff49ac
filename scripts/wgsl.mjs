// Links a kernel with the functions it imports, in WESL's syntax (wesl-lang.dev):
//   import package::lib::random::{pcg4d, kept};     from kernels/lib/random.wgsl
// The import line becomes blank; the declarations and everything they need are appended, so the kernel's own line numbers
// do not change. A comment before each appended part names its file and line. src/gpu/wgsl.ts reads it, so that compile
// errors name the line to edit. `node scripts/wgsl.mjs FILE` prints the linked text. When a kernel is loaded, its constants are
// tuned and its marked loops are written out (src/gpu/unroll.ts).
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isMain, root, runMain, Trouble } from './common.mjs';

const IMPORT = /^import package::(\w+(?:::\w+)*)::(?:\{([\w, ]+)\}|(\w+));$/;
const DECLARATION = /^(?:@\w+(?:\([^)]*\))? *)*(?:fn|const|override|alias|struct|var(?:<[^>]*>)?) +(\w+)/;
/** Constants, parameters and bindings of the kernel that the functions of a file use. */
const NEEDS = /^\/\/ needs ([\w, ]+)$/;

const words = (text) => new Set(text.replace(/\/\/.*/g, '').match(/[A-Za-z_]\w*/g));
const count = (text, pattern) => text.match(pattern)?.length ?? 0;
/** Opening minus closing braces and parentheses of a line. */
const depthOf = (line) => {
  const code = line.replace(/\/\/.*/, '');
  return count(code, /[{(]/g) - count(code, /[})]/g);
};

/** A file's imports, the names that its functions need from the kernel, and its declarations with their comments. */
function parse(file, text) {
  const lines = text.split('\n');
  const module = { file, lines, imports: new Map(), needs: new Set(), declarations: new Map() };
  let comments = 0;
  for (let at = 0; at < lines.length; at++) {
    const [whole, path, list, single] = IMPORT.exec(lines[at]) ?? [];
    if (whole) {
      const from = `kernels/${path.replaceAll('::', '/')}.wgsl`;
      for (const name of (list ?? single).split(',')) module.imports.set(name.trim(), from);
      lines[at] = '';
    } else if (/^import\b/.test(lines[at]))
      throw new Trouble(
        `${file}:${at + 1}: an import must read: import package::folder::file::{name, name};`,
      );
    for (const name of NEEDS.exec(lines[at])?.[1].split(', ') ?? []) module.needs.add(name);
    const name = DECLARATION.exec(lines[at])?.[1];
    if (name) {
      if (module.declarations.has(name)) throw new Trouble(`${file}:${at + 1}: ${name} is declared twice.`);
      const first = at - comments;
      let depth = depthOf(lines[at]);
      while (depth > 0) depth += depthOf(lines[++at]);
      const body = lines.slice(first, at + 1).join('\n');
      module.declarations.set(name, { name, module, first: first + 1, text: body, uses: words(body) });
    }
    comments = /^\/\//.test(lines[at]) ? comments + 1 : 0;
  }
  return module;
}

/** The linked text of kernel `path`. `read` returns the text of a file, or undefined if it does not exist. */
export function link(path, read) {
  const modules = new Map();
  const load = (file, by) => {
    const way = [...by, file];
    if (by.includes(file)) throw new Trouble(`${file} imports itself: ${way.join(', ')}.`);
    const text = read(file);
    if (text === undefined)
      throw new Trouble(`${by.at(-1) ?? 'The build'} imports ${file}, which does not exist.`);
    const module = modules.get(file) ?? parse(file, text);
    modules.set(file, module);
    for (const from of new Set(module.imports.values())) load(from, way);
    return module;
  };
  const kernel = load(path, []);
  const linked = new Map();
  const add = (module, name) => {
    const from = module.imports.get(name);
    const declaration = modules.get(from ?? module.file).declarations.get(name);
    if (!declaration) {
      if (!from) return;
      throw new Trouble(`${module.file} imports ${name}, which ${from} does not declare.`);
    }
    if (declaration.module === kernel || linked.get(name) === declaration) return;
    const other = linked.get(name) ?? kernel.declarations.get(name);
    if (other)
      throw new Trouble(
        `${path}: ${name} is declared by ${other.module.file} and by ${declaration.module.file}.`,
      );
    linked.set(name, declaration);
    for (const used of declaration.uses) add(declaration.module, used);
  };
  for (const name of kernel.imports.keys()) add(kernel, name);
  for (const { module, uses } of linked.values())
    for (const name of module.needs)
      if (uses.has(name) && !kernel.declarations.has(name) && !linked.has(name))
        throw new Trouble(`${module.file} needs ${name}, which ${path} does not declare.`);
  const parts = [...linked.values()].map(
    ({ module, first, text }) => `\n// from ${module.file}:${first}\n${text}\n`,
  );
  return `${kernel.lines.join('\n')}// end of ${path}\n${parts.join('')}`;
}

/** Links a kernel, given by its path in the repository. `changed` may replace the text of any file that is read. */
export function linkFile(path, changed = (_file, text) => text) {
  return link(path, (file) => {
    const at = join(root, file);
    return existsSync(at) ? changed(file, readFileSync(at, 'utf8')) : undefined;
  });
}

if (isMain(import.meta.url)) {
  await runMain(async () => {
    const file = process.argv[2];
    if (!file || !existsSync(join(root, file)))
      throw new Trouble(`${file ?? 'No file'}: name a kernel, such as kernels/gelu/gelu_forward.wgsl.`);
    process.stdout.write(linkFile(file));
  });
}
