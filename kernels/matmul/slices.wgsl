// slices: blocks of 4 x 4 of a slice of A or B, from their buffers, and matrices of it, from workgroup memory
// needs Part, ElementA, ElementB, TRANS_A, TRANS_B, TILE_M, TILE_N, DEEP, PITCH_A, PITCH_B, Left, Right, a, b, tile_a, tile_b, p

// The first row (or column) and the first k of block i of a slice, in a tile of `wide` rows. A line of the buffer is a k
// (by_k) or a row; neighbouring invocations take contiguous blocks of it.
fn place_in_slice(i: u32, wide: u32, by_k: bool) -> vec2u {
  return 4u * select(vec2u(i / DEEP, i % DEEP), vec2u(i % (wide / 4u), i / (wide / 4u)), by_k);
}

// The lines of a block of an operand of `wide` rows: first quad, quads from one line to the next, and number of lines.
fn lines(base: u32, at: vec2u, wide: u32, end: u32, by_k: bool) -> vec3u {
  let line = select(at.x, at.y, by_k);
  let pitch = (select(p.K, wide, by_k) + 3u) / 4u;
  let count = select(0u, min(4u, select(wide, end, by_k) - line), at.x < wide && at.y < end);
  return vec3u(base + line * pitch + select(at.y, at.x, by_k) / 4u, pitch, count);
}
fn block_a(base: u32, i: u32, origin: vec2u, end: u32) -> mat4x4<ElementA> {
  let there = lines(base, origin + place_in_slice(i, TILE_M, TRANS_A), p.M, end, TRANS_A);
  var v = mat4x4<ElementA>();
  // unroll
  for (var j = 0u; j < 4u; j++) { if (j < there.z) { v[j] = a[there.x + j * there.y]; } }
  return v;
}
fn block_b(base: u32, i: u32, origin: vec2u, end: u32) -> mat4x4<ElementB> {
  let there = lines(base, origin + place_in_slice(i, TILE_N, !TRANS_B), p.N, end, !TRANS_B);
  var v = mat4x4<ElementB>();
  // unroll
  for (var j = 0u; j < 4u; j++) { if (j < there.z) { v[j] = b[there.x + j * there.y]; } }
  return v;
}

// Load the matrix of A at a row of the tile and a k of the slice, or of B at a k and a column; all are divisible by 4.
fn left(row: u32, k: u32) -> Left {
  if (TRANS_A) { return subgroupMatrixLoad<Left, col_major>(&tile_a, k * PITCH_A + row / 4u, PITCH_A); }
  return subgroupMatrixLoad<Left, row_major>(&tile_a, row * PITCH_A + k / 4u, PITCH_A);
}
fn right(k: u32, column: u32) -> Right {
  if (TRANS_B) { return subgroupMatrixLoad<Right, col_major>(&tile_b, column * PITCH_B + k / 4u, PITCH_B); }
  return subgroupMatrixLoad<Right, row_major>(&tile_b, k * PITCH_B + column / 4u, PITCH_B);
}
