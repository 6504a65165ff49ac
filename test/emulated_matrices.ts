/**
 * Emulates matrix units in plain WGSL. An operand is a place in workgroup memory (array, first quad, quads from line to
 * line, and if lines are columns); each lane holds some rows of a result.
 */
import { linkFile } from '../scripts/wgsl.mjs';
import type { SubgroupMatrixConfig } from '../src/gpu/device.js';

/** Units with results in f32. */
export const units = (componentType: string, M: number, N: number, K: number): SubgroupMatrixConfig => ({
  componentType,
  resultComponentType: 'f32',
  M,
  N,
  K,
});

const LOAD = /subgroupMatrixLoad<\w+, (row|col)_major>\(&(\w+), (.*)\);/g;
const REPLACED: readonly [RegExp, string][] = [
  [/^enable chromium_experimental_subgroup_matrix;$/gm, ''],
  [/subgroup_matrix_left<Part, SK, SM>/g, 'vec4u'],
  [/subgroup_matrix_right<Part, SN, SK>/g, 'vec4u'],
  [/subgroup_matrix_result<f32, SN, SM>/g, 'array<f32, SN * MATRIX_ROWS>'],
  [/subgroupMatrixMultiplyAccumulate\(/g, 'multiply_accumulate('],
  [/subgroupMatrixStore<row_major>\(&results, /g, 'store_rows('],
  // The compiler must not know the bound, or it would unroll whole products and all loads.
  [/(for \(var \w+ = 0u; \w+ < )(\w+)(?=; \w+ \+= SK\)|(?<=MOVED\w*);)/g, '$1hidden($2)'],
  [/^fn main\([^{]*\{/gm, '$& matrix_lane = lane;'],
];

/** `bound` is a parameter far below 2^31; `arrays` are the arrays that hold operands. */
const builtIns = (bound: string, arrays: readonly string[]): string => `
const MATRIX_ROWS = (SM + LANES - 1u) / LANES;
var<private> matrix_lane: u32;
fn hidden(n: u32) -> u32 { return n + (p.${bound} >> 31u); }
fn element(m: vec4u, row: u32, column: u32) -> f32 {
  let x = select(column, row, m.z == 1u);
  let at = m.x + select(row, column, m.z == 1u) * m.y + x / 4u;
${arrays.map((name, i) => `  if (m.w == ${i}u) { return f32(${name}[at][x % 4u]); }`).join('\n')}
  return 0.0;
}
fn multiply_accumulate(left: Left, right: Right, acc: Result) -> Result {
  var m = acc;
  for (var i = 0u; i < hidden(MATRIX_ROWS * SN); i++) {
    for (var k = 0u; k < hidden(SK); k++) {
      m[i] += element(left, (matrix_lane * MATRIX_ROWS + i / SN) % SM, k) * element(right, k, i % SN);
    }
  }
  return m;
}
fn store_rows(at: u32, result: Result, pitch: u32) {
  var m = result;
  if (matrix_lane * MATRIX_ROWS >= SM) { return; }
  for (var i = 0u; i < hidden(MATRIX_ROWS * SN); i++) {
    let x = i % SN;
    results[at + (matrix_lane * MATRIX_ROWS + i / SN) * pitch + x / 4u][x % 4u] = m[i];
  }
}
`;

/** A kernel's text with its matrix built-ins replaced. Throws if it uses them in a way that this file does not expect. */
export function emulatedMatrices(kernel: string): string {
  const source = linkFile(`kernels/${kernel}.wgsl`).replace(/\/\/(?! (?:tune|if)).*$/gm, '');
  const arrays = [...new Set([...source.matchAll(LOAD)].map((match) => match[2] as string))];
  const bound = /struct Params \{ (\w+): u32/.exec(source)?.[1];
  const loaded = source.replace(LOAD, (_, major: string, array: string, place: string) => {
    return `vec4u(${place}, ${Number(major === 'col')}u, ${arrays.indexOf(array)}u);`;
  });
  const plain = REPLACED.reduce((text, [pattern, by]) => {
    if (!pattern.test(text)) throw new Error(`${kernel} must have ${pattern}.`);
    return text.replace(pattern, by);
  }, loaded);
  const left = /subgroup_?matrix/i.exec(plain);
  if (left || !bound)
    throw new Error(`${kernel} has a ${left ?? 'lack of parameters'} that is not emulated.`);
  return plain + builtIns(bound, arrays);
}
