/**
 * The law of the house: a file imports only from its own folder or from a lower level. The walls: only some folders may use
 * Node, the browser, the terminal and the kernels. Each rule returns a sentence for each violation.
 */
// @module-tag quick
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, extname, join, relative, resolve } from 'node:path';
import { expect, it } from 'vitest';

const ROOT = resolve(import.meta.dirname, '..');

/** The levels of the folders of src, kernels and tuning. Two folders of one level must not import each other. */
const LEVELS: Record<string, number> = {
  kernels: 0,
  tuning: 0,
  core: 1,
  io: 2,
  gpu: 2,
  tensor: 3,
  autograd: 4,
  ops: 5,
  nn: 6,
  optim: 6,
  data: 6,
  models: 7,
  recipe: 8,
  training: 9,
  bench: 10,
  check: 10,
  inspect: 10,
  runs: 10,
  sweeps: 11,
  report: 12,
  cli: 13,
  page: 13,
  'index.ts': 14,
  'node.ts': 15,
};

/** Where Node itself may be used; all else also runs in a page. */
const NODE = /^src\/(cli|runs|sweeps|io|report)\/|^src\/gpu\/host_node\.ts$|^src\/data\/sources\.ts$/;

/** The one file that reaches WebGPU and the environment; a page has its own. */
const HOST = /^src\/gpu\/host_node\.ts$/;

/** Imports that are allowed only in certain files, in addition to the levels. */
const WALLED_IMPORTS: { what: string; imported: RegExp; allowed: RegExp }[] = [
  { what: 'kernels', imported: /^kernels\//, allowed: /^src\/ops\// },
  { what: 'gpu', imported: /^src\/gpu\//, allowed: /^src\/(?!nn\/)/ },
  { what: "Node's modules", imported: /^node:/, allowed: NODE },
  { what: 'the WebGPU binding', imported: /^webgpu$/, allowed: /^src\/gpu\/host_node\.ts$/ },
  { what: 'tuning', imported: /^tuning\//, allowed: /^src\/gpu\/tuning\.ts/ },
  {
    what: 'packages',
    imported: /^(?!(src|kernels|tuning)\/|node:|webgpu$)/,
    allowed: /^src\/(cli|io|page|report)\//,
  },
];

/** Words that are allowed only in certain files; comments do not count. */
const WALLED_WORDS: { what: string; pattern: RegExp; allowed: RegExp }[] = [
  { what: 'the terminal', pattern: /\bconsole\.|\bprocess\.(stdout|stderr|stdin)\b/, allowed: /^src\/cli\// },
  { what: 'the exit', pattern: /\bprocess\.(exit|exitCode|abort)\b/, allowed: /^src\/cli\// },
  {
    what: "Node's globals",
    pattern: /\bprocess\.|\bBuffer\b|\brequire\(|\b__dirname\b/,
    allowed: NODE,
  },
  { what: 'a cast of an input', pattern: /\bas (Tensor|Shape)\b/, allowed: /^src\/(?!ops\/)/ },
  { what: 'navigator.gpu', pattern: /\bnavigator\s*\.\s*gpu\b|\.requestAdapter\(/, allowed: /^src\/gpu\// },
];

const LINE_CAPS: Record<string, number> = { '.ts': 400, '.tsx': 400, '.mjs': 400, '.wgsl': 180 };
/** Classes of adapters that a kernel may have a variant for: any, subgroups, matrix units, software. */
const VARIANTS = ['layers', 'panel', 'plain', 'subgroup', 'subgroup_matrix', 'texture'];

function files(folder: string, extensions: string[]): string[] {
  if (!existsSync(join(ROOT, folder))) return [];
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => extensions.includes(extname(name)))
    .map((name) => `${folder}/${name.replaceAll('\\', '/')}`)
    .sort();
}

const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');

/** A file without its comments. Strings are kept, so that a `//` in a string is not taken for a comment. */
function code(file: string): string {
  const tokens = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`/g;
  return read(file).replace(tokens, (token) => (/^\/[/*]/.test(token) ? ' ' : token));
}

/** Everything a file imports or re-exports: repository paths (`src/core/shape.js`) and bare names (`node:fs`). */
function imports(file: string): string[] {
  const statement =
    /(?:^|[;}\s])(?:import|export)\b[^;'"`()=]*?\bfrom\s*['"]([^'"]+)['"]|\bimport\s*\(?\s*['"]([^'"]+)['"]/g;
  return [...code(file).matchAll(statement)].map(([, from, bare]) => {
    const name = from ?? bare ?? '';
    if (name === '#host') return 'src/gpu/host_node.js';
    return name.startsWith('.')
      ? relative(ROOT, resolve(ROOT, dirname(file), name)).replaceAll('\\', '/')
      : name;
  });
}

/** `src/ops/gelu.ts` lives in `ops`, `src/index.ts` in `index.ts`, `kernels/elementwise/gelu_forward.wgsl` in `kernels`. */
function folderOf(path: string): string {
  return path.split('/')[path.startsWith('src/') ? 1 : 0]!.replace(/\.js$/, '.ts');
}

const sources = files('src', ['.ts', '.tsx']).filter((file) => !file.endsWith('.d.ts'));
const shaders = files('kernels', ['.wgsl']);
/** Shaders with an entry point. The others have functions that kernels import. */
const kernels = shaders.filter((file) => read(file).includes('@compute'));

function lawOfLevels(): string[] {
  return sources.flatMap((file) => {
    const own = folderOf(file);
    const level = LEVELS[own];
    if (level === undefined) return [`${file}: src/${own} has no level.`];
    return imports(file)
      .filter((path) => /^(src|kernels|tuning)\//.test(path))
      .filter((path) => folderOf(path) !== own && !((LEVELS[folderOf(path)] ?? Infinity) < level))
      .map(
        (path) => `${file} (level ${level}) imports ${path} (level ${LEVELS[folderOf(path)] ?? 'unknown'}).`,
      );
  });
}

/** Training runs in pages too: nothing that it imports, however far away, may need Node. The host is exchanged there. */
function trainingWithoutNode(): string[] {
  const reached = new Map(
    sources.filter((file) => /^src\/(recipe|training)\//.test(file)).map((file) => [file, file]),
  );
  const found: string[] = [];
  for (const [file, from] of reached)
    for (const path of imports(file)) {
      if (path.startsWith('node:')) found.push(`${from} reaches ${path} through ${file}.`);
      const next = path.replace(/\.js$/, '.ts');
      if (sources.includes(next) && !HOST.test(next) && !reached.has(next)) reached.set(next, from);
    }
  return found;
}

function importsStayInside(): string[] {
  return sources.flatMap((file) =>
    imports(file)
      .filter((path) => path.startsWith('..') || /^(test|scripts|bench|dist|data)\//.test(path))
      .map((path) => `${file} imports ${path}, which is no part of the library.`),
  );
}

function importWalls(): string[] {
  return sources.flatMap((file) =>
    WALLED_IMPORTS.filter(({ allowed }) => !allowed.test(file)).flatMap(({ what, imported }) =>
      imports(file)
        .filter((path) => imported.test(path))
        .map((path) => `${file} imports ${path}: no place for ${what}.`),
    ),
  );
}

function wordWalls(): string[] {
  return sources.flatMap((file) =>
    WALLED_WORDS.filter(({ allowed, pattern }) => !allowed.test(file) && pattern.test(code(file))).map(
      ({ what, pattern }) => `${file} says ${pattern.exec(code(file))![0]}: no place for ${what}.`,
    ),
  );
}

function sizes(): string[] {
  const all = ['src', 'test', 'scripts', 'kernels'].flatMap((folder) =>
    files(folder, Object.keys(LINE_CAPS)),
  );
  return all
    .map((file) => ({ file, lines: read(file).trimEnd().split('\n').length, cap: LINE_CAPS[extname(file)]! }))
    .filter(({ lines, cap }) => lines > cap)
    .map(({ file, lines, cap }) => `${file} has ${lines} lines, more than ${cap}.`);
}

function kernelHeaders(): string[] {
  return shaders
    .filter((file) => !new RegExp(`^// ${basename(file, '.wgsl')}: \\S`).test(read(file)))
    .map((file) => `${file} must start with "// ${basename(file, '.wgsl')}: <formula>".`);
}

function kernelOwners(): string[] {
  const owners = new Map<string, string[]>(kernels.map((file) => [file, []]));
  for (const file of sources) {
    for (const path of new Set(imports(file).filter((name) => name.endsWith('.wgsl')))) {
      owners.set(path, [...(owners.get(path) ?? []), file]);
    }
  }
  return [...owners].flatMap(([kernel, by]) => {
    if (!kernels.includes(kernel)) return [`${by.join(', ')} imports ${kernel}, which does not exist.`];
    return by.length === 1
      ? []
      : [`${kernel} must have one owner, has ${by.length}: ${by.join(', ') || 'none'}.`];
  });
}

function kernelNames(): string[] {
  const name = /^kernels\/[a-z_]+\/[a-z0-9_]+?_(?:forward|backward|step|reduce)(?:_([a-z_]+))?\.wgsl$/;
  return kernels.flatMap((file) => {
    const [whole, variant = 'plain'] = name.exec(file) ?? [];
    if (!whole) return [`${file} must be named kernels/<family>/<op>_<direction>[_<variant>].wgsl.`];
    return VARIANTS.includes(variant) ? [] : [`${file}: a variant is one of ${VARIANTS.join(', ')}.`];
  });
}

/** Declarations that only kernels may have. A file of kernels/lib has only pure functions. */
const KERNELS_OWN: Record<string, RegExp> = { 'a binding': /@group\(/, 'a tuned constant': /\/\/ tune$/m };
const IMPURE: Record<string, RegExp> = {
  'an override': /^override /m,
  'a variable': /^var\b/m,
  'needs of a kernel': /^\/\/ needs /m,
};

function sharedFiles(): string[] {
  const imported = shaders.flatMap((file) =>
    [...read(file).matchAll(/^import package::((?:\w+::)+)/gm)].map(
      ([, path]) => `kernels/${(path as string).slice(0, -2).replaceAll('::', '/')}.wgsl`,
    ),
  );
  return shaders
    .filter((file) => !kernels.includes(file))
    .flatMap((file) => {
      const refused = { ...KERNELS_OWN, ...(file.startsWith('kernels/lib/') ? IMPURE : {}) };
      const has = Object.keys(refused).filter((what) => (refused[what] as RegExp).test(read(file)));
      return [
        ...has.map((what) => `${file} must not have ${what}.`),
        ...(imported.includes(file) ? [] : [`${file} is imported by no kernel.`]),
      ];
    });
}

/** A function's text without its name and without the width of its vectors. */
const FUNCTION = /^fn (\w+)(\(.*\}$|\([\s\S]*?^\}$)/gm;
const essence = (text: string): string =>
  text
    .replace(/\bvec[234]([fu])\b|\b(f|u)32\b/g, (_, vector, scalar) => vector ?? scalar)
    .replace(/\s+/g, ' ');

function functionsStandOnce(): string[] {
  const places = new Map<string, string[]>();
  for (const file of shaders)
    for (const [, name, text] of code(file).matchAll(FUNCTION)) {
      if (name === 'main') continue;
      const key = essence(text as string);
      places.set(key, [...(places.get(key) ?? []), `${name} in ${file}`]);
    }
  return [...places.values()]
    .filter((found) => found.length > 1)
    .map((found) => `${found.join(' and ')} are one function: import it.`);
}

/** `x != x` does not find NaN in WGSL; float atomics make sums depend on the order of arrival. */
const KERNEL_TRAPS: Record<string, RegExp> = {
  'compares a value with itself': /(?<![\w.\])])([a-zA-Z_][\w.]*(?:\[\w+\])?)\s*[!=]=\s*\1(?![\w.[(])/,
  'has atomics on floats': /\batomic\s*<\s*f(16|32)|\batomicCompareExchangeWeak\b/,
};

function kernelTraps(): string[] {
  return shaders.flatMap((file) =>
    Object.entries(KERNEL_TRAPS).flatMap(([what, pattern]) => {
      const found = pattern.exec(code(file));
      return found ? [`${file} ${what}: ${found[0]}`] : [];
    }),
  );
}

/** Tests that look at a clock or at the memory of a process. */
const MEASURES = /\bperformance\.now\(|\bmemoryUsage\b|\bresident_each_line\b|\bawait sleep\(1/;

/** vitest.config.ts runs the files with this line one at a time, the others two at a time. */
function measuringAlone(): string[] {
  return files('test', ['.ts', '.mjs'])
    .filter((file) => /\.test\.\w+$/.test(file) && MEASURES.test(code(file)))
    .filter((file) => !/^\/\/ Alone: \S/m.test(read(file)))
    .map((file) => `${file} measures: it needs a line "// Alone: why".`);
}

it.each([
  ['imports go to the own folder or to a lower level', lawOfLevels],
  ['imports stay inside src and kernels', importsStayInside],
  ['training reaches nothing of Node', trainingWithoutNode],
  ['imports respect the walls', importWalls],
  ['words respect the walls', wordWalls],
  ['files are short', sizes],
  ['a kernel starts with its formula', kernelHeaders],
  ['a kernel has one owner', kernelOwners],
  ['a kernel is named for its op and direction', kernelNames],
  ['shared files hold what their place allows', sharedFiles],
  ['no function stands in two kernel files', functionsStandOnce],
  ['kernels avoid the known traps', kernelTraps],
  ['tests that measure run alone', measuringAlone],
])('%s', (_, rule) => {
  expect(rule()).toEqual([]);
});
