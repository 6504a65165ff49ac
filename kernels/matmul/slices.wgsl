// slices: units of 16 bytes of a slice of A or B, from their buffers to workgroup memory, and matrices of it from there
//   A unit is UNIT_A (UNIT_B) elements of a line of the buffer, 8 of f16 or 4 of f32. A line is a k (by_k) or a row (column).
// needs Part, UNIT_A, UNIT_B, TRANS_A, TRANS_B, TILE_M, TILE_N, DEPTH, PITCH_A, PITCH_B, Left, Right, a, b, tile_a, tile_b, p

// The first row (or column) and the first k of unit i of a slice, in a tile of `wide` rows. Neighbouring invocations take
// neighbouring units of a line.
fn place_in_slice(i: u32, unit: u32, wide: u32, by_k: bool) -> vec2u {
  let per_line = select(DEPTH, wide, by_k) / unit;
  return select(vec2u(i / per_line, i % per_line * unit), vec2u(i % per_line * unit, i / per_line), by_k);
}

// Units of a line of A and of B.
fn line_a() -> u32 { return (select(p.K, p.M, TRANS_A) + UNIT_A - 1u) / UNIT_A; }
fn line_b() -> u32 { return (select(p.N, p.K, TRANS_B) + UNIT_B - 1u) / UNIT_B; }

// Unit i of the slice at `origin`. Beyond the operand it is another unit of it, so that no branch keeps loads apart.
fn unit_a(base: u32, i: u32, origin: vec2u) -> vec4u {
  let at = origin + place_in_slice(i, UNIT_A, TILE_M, TRANS_A);
  let lines = select(p.M, p.K, TRANS_A);
  let units = line_a();
  let line = min(select(at.x, at.y, TRANS_A), lines - 1u);
  return a[base + line * units + min(select(at.y, at.x, TRANS_A) / UNIT_A, units - 1u)];
}
fn unit_b(base: u32, i: u32, origin: vec2u) -> vec4u {
  let at = origin + place_in_slice(i, UNIT_B, TILE_N, !TRANS_B);
  let lines = select(p.K, p.N, TRANS_B);
  let units = line_b();
  let line = min(select(at.y, at.x, TRANS_B), lines - 1u);
  return b[base + line * units + min(select(at.x, at.y, TRANS_B) / UNIT_B, units - 1u)];
}

// Puts unit i into workgroup memory.
fn put_a(i: u32, v: vec4u) {
  let at = place_in_slice(i, UNIT_A, TILE_M, TRANS_A);
  let to = select(at.x * PITCH_A + at.y / 4u, at.y * PITCH_A + at.x / 4u, TRANS_A);
  if (at.x >= TILE_M || at.y >= DEPTH) { return; }
  if (UNIT_A == 4u) { tile_a[to] = vec4<Part>(bitcast<vec4f>(v)); }
  else { tile_a[to] = first_half(v); tile_a[to + 1u] = second_half(v); }
}
fn put_b(i: u32, v: vec4u) {
  let at = place_in_slice(i, UNIT_B, TILE_N, !TRANS_B);
  let to = select(at.y * PITCH_B + at.x / 4u, at.x * PITCH_B + at.y / 4u, TRANS_B);
  if (at.x >= TILE_N || at.y >= DEPTH) { return; }
  if (UNIT_B == 4u) { tile_b[to] = vec4<Part>(bitcast<vec4f>(v)); }
  else { tile_b[to] = first_half(v); tile_b[to + 1u] = second_half(v); }
}

// The quads of a unit of f16.
fn first_half(v: vec4u) -> vec4<Part> { return vec4<Part>(bitcast<vec4<f16>>(v.xy)); }
fn second_half(v: vec4u) -> vec4<Part> { return vec4<Part>(bitcast<vec4<f16>>(v.zw)); }

// Load the matrix of A at a row of the tile and a k of the slice, or of B at a k and a column; all are divisible by 4.
fn left(row: u32, k: u32) -> Left {
  if (TRANS_A) { return subgroupMatrixLoad<Left, col_major>(&tile_a, k * PITCH_A + row / 4u, PITCH_A); }
  return subgroupMatrixLoad<Left, row_major>(&tile_a, row * PITCH_A + k / 4u, PITCH_A);
}
fn right(k: u32, column: u32) -> Right {
  if (TRANS_B) { return subgroupMatrixLoad<Right, col_major>(&tile_b, column * PITCH_B + k / 4u, PITCH_B); }
  return subgroupMatrixLoad<Right, row_major>(&tile_b, k * PITCH_B + column / 4u, PITCH_B);
}
