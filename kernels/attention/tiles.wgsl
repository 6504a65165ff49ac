// tiles: products of a lane's row with the rows that LANES lanes hold, by constant-lane broadcasts
//   subgroupBroadcast takes a constant lane, so loops over lanes are written out.
// needs LANES, HEAD4
import package::lib::texel::{texel};

// s[l] += mine · (other of lane l): the scores of this lane's row with LANES rows, four dimensions at a time. Only the rows
// that exist are computed, since the last tile of 65 or 197 rows has few of them.
fn dots(s: ptr<function, array<f32, 16>>, left: u32, mine: vec4f, other: vec4f) {
  // unroll
  for (var l = 0u; l < 4u; l++) { (*s)[l] += dot(mine, subgroupBroadcast(other, l)); }
  if (left > 4u) {
    // unroll
    for (var l = 4u; l < 8u; l++) { (*s)[l] += dot(mine, subgroupBroadcast(other, l)); }
  }
  if (LANES > 8u) {
    // unroll
    for (var l = 8u; l < 16u; l++) { (*s)[l] += dot(mine, subgroupBroadcast(other, l)); }
  }
}

// c·acc + Σ_l weight[l] · (row of lane l).
fn combine(c: f32, acc: vec4f, weight: ptr<function, array<f32, 16>>, left: u32, row: vec4f) -> vec4f {
  var sum = c * acc;
  // unroll
  for (var l = 0u; l < 4u; l++) { sum += (*weight)[l] * subgroupBroadcast(row, l); }
  if (left > 4u) {
    // unroll
    for (var l = 4u; l < 8u; l++) { sum += (*weight)[l] * subgroupBroadcast(row, l); }
  }
  if (LANES > 8u) {
    // unroll
    for (var l = 8u; l < 16u; l++) { sum += (*weight)[l] * subgroupBroadcast(row, l); }
  }
  return sum;
}

// acc[d] = c·acc[d] + Σ_l weight[l] · texel at + d of lane l, for d < HEAD4.
fn combine_rows(acc: ptr<function, array<vec4f, 16>>, c: f32, weight: ptr<function, array<f32, 16>>, left: u32,
                rows: texture_storage_2d<rgba32float, read>, at: u32) {
  // unroll
  for (var d = 0u; d < 2u; d++) { (*acc)[d] = combine(c, (*acc)[d], weight, left, texel(rows, at + d)); }
  if (HEAD4 > 2u) {
    // unroll
    for (var d = 2u; d < 4u; d++) { (*acc)[d] = combine(c, (*acc)[d], weight, left, texel(rows, at + d)); }
  }
  if (HEAD4 > 4u) {
    // unroll
    for (var d = 4u; d < 8u; d++) { (*acc)[d] = combine(c, (*acc)[d], weight, left, texel(rows, at + d)); }
  }
  if (HEAD4 > 8u) {
    // unroll
    for (var d = 8u; d < 12u; d++) { (*acc)[d] = combine(c, (*acc)[d], weight, left, texel(rows, at + d)); }
  }
  if (HEAD4 > 12u) {
    // unroll
    for (var d = 12u; d < 16u; d++) { (*acc)[d] = combine(c, (*acc)[d], weight, left, texel(rows, at + d)); }
  }
}
