/** The linker of kernels: appended parts, refusals, unrolled loops, and the lines that errors name. */
import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { link, linkFile } from '../scripts/wgsl.mjs';
import { writeOutLoops } from '../src/gpu/unroll.js';
import { originOf } from '../src/gpu/wgsl.js';

const LIB = `// lib: some functions

// Twice x.
fn twice(x: f32) -> f32 { return 2.0 * x; }

fn four_times(x: f32) -> f32 {
  return twice(twice(x));
}

const UNUSED = 1u;
`;

/** Links kernels/k.wgsl with the text `kernel` and other files by name. */
const linked = (kernel: string, files: Record<string, string> = { 'lib/lib': LIB }): string =>
  link('kernels/k.wgsl', (file) =>
    file === 'kernels/k.wgsl' ? kernel : files[file.slice('kernels/'.length, -'.wgsl'.length)],
  );

describe('an import', () => {
  it('becomes a blank line; what it names is appended, with what that needs and the comments above', () => {
    expect(linked('// k: y\nimport package::lib::lib::{four_times};\nconst A = 1u;\n')).toBe(`// k: y

const A = 1u;
// end of kernels/k.wgsl

// from kernels/lib/lib.wgsl:6
fn four_times(x: f32) -> f32 {
  return twice(twice(x));
}

// from kernels/lib/lib.wgsl:3
// Twice x.
fn twice(x: f32) -> f32 { return 2.0 * x; }
`);
  });

  it('appends a function once, however many files need it', () => {
    const files = {
      'lib/lib': LIB,
      'a/b': 'import package::lib::lib::twice;\n\nfn six(x: f32) -> f32 { return 3.0 * twice(x); }\n',
    };
    const text = linked('import package::a::b::six;\nimport package::lib::lib::{twice, four_times};\n', files);
    expect(text.split('fn twice(')).toHaveLength(2);
  });

  it('of a prelude may use names of the kernel that the prelude says it needs', () => {
    const files = { 'a/b': '// b: c\n// needs LANES, p\n\nfn f() -> u32 { return LANES; }\n' };
    expect(linked('const LANES = 8u;\nimport package::a::b::f;\n', files)).toContain('return LANES;');
  });

  it.each<[string, string, Record<string, string>, string]>([
    ['of an unknown file', 'import package::lib::none::f;\n', {}, 'kernels/k.wgsl imports kernels/lib/none.wgsl, which does not exist.'],
    ['of an unknown name', 'import package::lib::lib::{twice, f};\n', { 'lib/lib': LIB }, 'kernels/k.wgsl imports f, which kernels/lib/lib.wgsl does not declare.'],
    ['in a circle', 'import package::a::b::f;\n', { 'a/b': 'import package::a::c::g;\nfn f() { g(); }\n', 'a/c': 'import package::a::b::f;\nfn g() { f(); }\n' }, 'kernels/a/b.wgsl imports itself: kernels/k.wgsl, kernels/a/b.wgsl, kernels/a/c.wgsl, kernels/a/b.wgsl.'],
    ['of a name of its own', 'import package::lib::lib::twice;\nconst twice = 2u;\n', { 'lib/lib': LIB }, 'kernels/k.wgsl: twice is declared by kernels/k.wgsl and by kernels/lib/lib.wgsl.'],
    ['of one name from two files', 'import package::lib::lib::{four_times};\nimport package::a::b::{f};\n', { 'lib/lib': LIB, 'a/b': 'fn f() -> u32 { return twice(); }\nfn twice() -> u32 { return 2u; }\n' }, 'kernels/k.wgsl: twice is declared by kernels/lib/lib.wgsl and by kernels/a/b.wgsl.'],
    ['of a file that declares a name twice', 'import package::a::b::f;\n', { 'a/b': 'fn f() {}\nfn f() {}\n' }, 'kernels/a/b.wgsl:2: f is declared twice.'],
    ['without what the prelude needs', 'import package::a::b::f;\n', { 'a/b': '// needs LANES\nfn f() -> u32 { return LANES; }\n' }, 'kernels/a/b.wgsl needs LANES, which kernels/k.wgsl does not declare.'],
    ['by another syntax', '\nimport super::lib::f;\n', {}, 'kernels/k.wgsl:2: an import must read: import package::folder::file::{name, name};'],
  ])('%s is refused', (_, kernel, files, says) => {
    expect(() => linked(kernel, files)).toThrow(new Error(says));
  });
}); // biome-ignore format: one refusal a line

describe('a marked loop', () => {
  it.each([
    ['on one line', '  // unroll\n  for (var i = 0u; i < 3u; i++) { a[i] = i + ij; }\n', '\n  { a[0u] = 0u + ij; } { a[1u] = 1u + ij; } { a[2u] = 2u + ij; }\n'],
    ['on several', '// unroll\nfor (var i = 2u; i < 4u; i++) {\n  f(i); // once\n  g(i);\n}\nh();\n', '\n{\n  f(2u); // once\n  g(2u);\n} { f(3u); g(3u); }\nh();\n'],
    ['in another', '// unroll\nfor (var i = 0u; i < 2u; i++) {\n  // unroll\n  for (var j = 0u; j < 2u; j++) { f(i, j); }\n}\n', '\n{\n\n  { f(0u, 0u); } { f(0u, 1u); }\n} { { f(1u, 0u); } { f(1u, 1u); } }\n'],
    ['of one turn', '// unroll\nfor (var i = 0u; i < 1u; i++) { f(i); }\n', '\n{ f(0u); }\n'],
    ['up to a constant', 'const N = 2u; // tune\n// unroll\nfor (var i = 0u; i < N; i++) { f(i); }\n', 'const N = 2u; // tune\n\n{ f(0u); } { f(1u); }\n'],
    ['up to a quotient', 'const N = 8u;\n// unroll\nfor (var i = 0u; i < N / 4u; i++) { f(i); }\n', 'const N = 8u;\n\n{ f(0u); } { f(1u); }\n'],
    ['up to a constant of constants', 'const A = 7u; // tune\nconst N = (A + 1u) / min(4u, A);\n// unroll\nfor (var i = 0u; i < N; i++) { f(i); }\n', 'const A = 7u; // tune\nconst N = (A + 1u) / min(4u, A);\n\n{ f(0u); } { f(1u); }\n'],
    ['in steps', 'const S = 2u;\n// unroll\nfor (var i = 0u; i < 5u; i += S) { f(i); }\n', 'const S = 2u;\n\n{ f(0u); } { f(2u); } { f(4u); }\n'],
    ['of no turn', 'const N = 0u;\n// unroll\nfor (var i = 0u; i < N; i++) {\n  f(i);\n}\nh();\n', 'const N = 0u;\n\n\n\n\nh();\n'],
    ['that is not', 'for (var i = 0u; i < 2u; i++) { f(i); }\n', 'for (var i = 0u; i < 2u; i++) { f(i); }\n'],
  ])('%s is written out, and keeps its lines', (_, loop, flat) => {
    expect(writeOutLoops('k', loop)).toBe(flat);
  });

  it.each([
    ['whose bound is no constant', 'i < N; i++'],
    ['that counts otherwise', 'i < 4u; i *= 2u'],
    ['whose bound needs a value known at run time', 'i < p.N; i++'],
    ['that would not end', 'i < 4u; i += 0u'],
    ['whose bound stands for two numbers', 'i < N; i++', 'fn g() {\n  const N = 2u;\n}\nfn h() {\n  const N = 3u;\n}\n'],
  ])('%s is refused by its line', (_, rest, others = '') => {
    const loop = `fn f() {\n  // unroll\n  for (var i = 0u; ${rest}) { }\n}\n${others}`;
    expect(() => writeOutLoops('k', loop)).toThrow(/^\[k\] line 3: a loop to unroll must read: for /);
  });
}); // biome-ignore format: one loop a line

describe('lines', () => {
  const text = linked('// k: y\nimport package::lib::lib::four_times;\nfn main() {}\n');
  const at = (part: string) => text.slice(0, text.indexOf(part)).split('\n').length;

  it.each([
    ['fn main', 'kernels/k.wgsl:3'],
    ['return twice(twice', 'kernels/lib/lib.wgsl:7'],
    ['return 2.0', 'kernels/lib/lib.wgsl:4'],
  ])('%s is named by %s', (part, where) => {
    expect(originOf('k', text, at(part))).toBe(where);
  });

  it('of a text that was not linked are named by the kernel', () => {
    expect(originOf('k', 'fn main() {}', 1)).toBe('kernels/k.wgsl:1');
  });

  it('of kernels are those of their files', () => {
    const files = readdirSync('kernels', { recursive: true, encoding: 'utf8' }).filter((it) =>
      it.endsWith('.wgsl'),
    );
    for (const file of files) {
      const whole = linkFile(`kernels/${file}`);
      const line = whole.split('\n').findIndex((it) => it.startsWith('fn main(')) + 1;
      if (line > 0) expect(originOf('', whole, line)).toBe(`kernels/${file}:${line}`);
    }
  });
});
