/**
 * Writes out loops that a kernel marks by `// unroll`, when it is loaded: their bounds may then be tuned constants. A
 * subgroupBroadcast needs a constant lane, and compilers keep an array in registers only if every index is a constant.
 */
import { KernelError } from '../core/errors.js';
import { constantsOf, evaluate } from './constants.js';

const MARKED = /^( *)for \(var (\w+) = (\d+)u; \2 < ([^;]+); \2(?:\+\+| \+= ([^)]+))\) \{/;

const count = (text: string, pattern: RegExp): number => text.match(pattern)?.length ?? 0;

/** Opening minus closing braces and parentheses of a line. */
function depthOf(line: string): number {
  const code = line.replace(/\/\/.*/, '');
  return count(code, /[{(]/g) - count(code, /[})]/g);
}

/**
 * `source` with its marked loops written out turn by turn. The first turn keeps the loop's lines and the others follow its
 * last brace, so no line number changes. Throws a KernelError for a loop whose bounds are no constants.
 */
export function writeOutLoops(label: string, source: string): string {
  const lookup = constantsOf(source);
  const lines = source.split('\n');
  // From the end, so that inner loops are written out before the loops around them.
  for (let at = lines.length - 1; at >= 0; at--) {
    if (lines[at]?.trim() !== '// unroll') continue;
    const [head, indent = '', name = '', from, to = '', by = '1'] = MARKED.exec(lines[at + 1] ?? '') ?? [];
    const [end, step] = [evaluate(to, lookup), evaluate(by, lookup)];
    if (head === undefined || end === undefined || !step)
      throw new KernelError(
        `[${label}] line ${at + 2}: a loop to unroll must read: for (var i = 0u; i < 4u; i++) {, and its bound must be a constant.`,
      );
    const last = lastLine(lines, at + 1);
    const body = [(lines[at + 1] as string).slice(head.length), ...lines.slice(at + 2, last + 1)].join('\n');
    const turns = turnsOf(body.slice(0, body.lastIndexOf('}')), name, valuesOf(Number(from), end, step));
    lines.splice(at, last + 1 - at, '', ...`${indent}${turns}`.split('\n'));
  }
  return lines.join('\n');
}

const valuesOf = (from: number, end: number, step: number): number[] =>
  Array.from({ length: Math.max(0, Math.ceil((end - from) / step)) }, (_, i) => from + i * step);

/** The turns as blocks, each on one line but the first. A loop without turns leaves its lines empty. */
function turnsOf(body: string, name: string, [first, ...others]: readonly number[]): string {
  if (first === undefined) return body.replace(/[^\n]/g, '');
  const counter = new RegExp(`\\b${name}\\b`, 'g');
  const flat = body.replace(/\/\/.*/g, '').replace(/\s*\n\s*/g, ' ');
  const turns = [
    body.replace(counter, `${first}u`),
    ...others.map((value) => flat.replace(counter, `${value}u`)),
  ];
  return turns.map((turn) => `{${turn}}`).join(' ');
}

function lastLine(lines: readonly string[], first: number): number {
  let depth = 0;
  for (let at = first; ; at++) {
    depth += depthOf(lines[at] ?? '');
    if (depth === 0) return at;
  }
}
