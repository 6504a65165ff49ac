/**
 * Matrix units in plain WGSL: an operand is where it lies in workgroup memory (first quad, quads from line to line,
 * whether lines are columns), and of a result each lane holds some rows.
 */
import { readFileSync } from 'node:fs';

const BUILT_INS = `
const ROWS = (SM + LANES - 1u) / LANES;
// A bound that the compiler does not know: it would unroll all of a product.
fn hidden(n: u32) -> u32 { return n + (p.chunk >> 31u); }
fn place_of(m: vec3u, row: u32, column: u32) -> vec2u {
  let x = select(column, row, m.z == 1u);
  return vec2u(m.x + select(row, column, m.z == 1u) * m.y + x / 4u, x % 4u);
}
fn multiply_accumulate(lane: u32, left: Left, right: Right, acc: Result) -> Result {
  var m = acc;
  for (var i = 0u; i < hidden(ROWS * SN); i++) {
    for (var k = 0u; k < hidden(SK); k++) {
      let l = place_of(left, (lane * ROWS + i / SN) % SM, k);
      let r = place_of(right, k, i % SN);
      m[i] += f32(tile_a[l.x][l.y]) * f32(tile_b[r.x][r.y]);
    }
  }
  return m;
}
fn store_rows(lane: u32, at: u32, result: Result, pitch: u32) {
  var m = result;
  if (lane * ROWS >= SM) { return; }
  for (var i = 0u; i < hidden(ROWS * SN); i++) {
    let x = i % SN;
    results[at + (lane * ROWS + i / SN) * pitch + x / 4u][x % 4u] = m[i];
  }
}
`;

/** The text of the kernel with its built-ins replaced; an Error where it does not use them as this file expects. */
export function emulatedMatrices(): string {
  const source = readFileSync('kernels/matmul_forward_subgroup_matrix.wgsl', 'utf8');
  const replaced: [RegExp, string][] = [
    [/^enable chromium_experimental_subgroup_matrix;$/gm, ''],
    [/subgroup_matrix_left<Part, SK, SM>/g, 'vec3u'],
    [/subgroup_matrix_right<Part, SN, SK>/g, 'vec3u'],
    [/subgroup_matrix_result<f32, SN, SM>/g, 'array<f32, SN * ROWS>'],
    [/subgroupMatrixLoad<Left, row_major>\(&tile_a, (.*?, PITCH_A)\)/g, 'vec3u($1, 0u)'],
    [/subgroupMatrixLoad<Left, col_major>\(&tile_a, (.*?, PITCH_A)\)/g, 'vec3u($1, 1u)'],
    [/subgroupMatrixLoad<Right, row_major>\(&tile_b, (.*?, PITCH_B)\)/g, 'vec3u($1, 0u)'],
    [/subgroupMatrixLoad<Right, col_major>\(&tile_b, (.*?, PITCH_B)\)/g, 'vec3u($1, 1u)'],
    [/subgroupMatrixMultiplyAccumulate\(/g, 'multiply_accumulate(lane, '],
    [/subgroupMatrixStore<row_major>\(&results, /g, 'store_rows(lane, '],
  ];
  const plain = replaced.reduce((text, [pattern, by]) => {
    if (text.match(pattern)?.length !== 1) throw new Error(`The kernel must have ${pattern} once.`);
    return text.replace(pattern, by);
  }, source);
  return plain + BUILT_INS;
}
