// tiles: products of the rows that a lane owns with the rows of a tile, which all lanes hold together
//   A lane owns ROWS rows, LANES apart. A tile has TILE rows of HEAD4 quads: lane l fetches quads l / TILE, l / TILE + PER, ...
//   of row l % TILE, PER = LANES / TILE. All lanes get an element by a constant-lane broadcast, which serves ROWS multiply-adds.
//   A branch on `left` or p.N, which the compiler cannot know, keeps it from moving code between blocks of four rows and spilling.
// needs LANES, HEAD4, ROWS, TILE, p
import package::lib::texel::{texel};

const PER = LANES / TILE;

alias Rows = array<vec4f, HEAD4 * ROWS>; // quad d of row r at HEAD4·r + d
alias Tile = array<vec4f, HEAD4>;
alias Weights = array<f32, ROWS * TILE>; // of row r and row j of the tile at TILE·r + j

// The lane's share of a tile, of which row lane % TILE starts at texel `at`.
fn fetched(rows: texture_storage_2d<rgba32float, read>, at: u32, lane: u32) -> Tile {
  var tile: Tile;
  // unroll
  for (var d = 0u; d < HEAD4; d++) {
    if (d % PER == 0u) { tile[d / PER] = texel(rows, at + min(d + lane / TILE, HEAD4 - 1u)); }
  }
  return tile;
}

// s[r, j] = row r of this lane · row j of the tile, for the rows of the tile that exist and some more; 0 for the others.
fn products(s: ptr<function, Weights>, rows: ptr<function, Rows>, tile: ptr<function, Tile>, left: u32) {
  // unroll
  for (var b = 0u; b < TILE / 4u; b++) {
    if (left > 4u * b) {
      var t = array<f32, 4u * ROWS>();
      // unroll
      for (var d = 0u; d < HEAD4; d++) {
        // unroll
        for (var e = 0u; e < 4u; e++) {
          // unroll
          for (var j = 0u; j < 4u; j++) {
            let other = subgroupBroadcast((*tile)[d / PER][e], 4u * b + j + TILE * (d % PER));
            // unroll
            for (var r = 0u; r < ROWS; r++) { t[4u * r + j] += (*rows)[HEAD4 * r + d][e] * other; }
          }
        }
      }
      // unroll
      for (var j = 0u; j < 4u; j++) {
        // unroll
        for (var r = 0u; r < ROWS; r++) { (*s)[TILE * r + 4u * b + j] = t[4u * r + j]; }
      }
    }
  }
}

// sums[r] = factor[r]·sums[r] + Σ_j weights[r, j] · row j of the tile.
fn combine(sums: ptr<function, Rows>, factor: ptr<function, array<f32, ROWS>>, weights: ptr<function, Weights>,
           tile: ptr<function, Tile>, left: u32) {
  // unroll
  for (var d = 0u; d < HEAD4; d++) {
    // unroll
    for (var b = 0u; b < TILE / 4u; b++) {
      if (left > 4u * b && p.N > 0u) {
        if (b == 0u) {
          // unroll
          for (var r = 0u; r < ROWS; r++) { (*sums)[HEAD4 * r + d] *= (*factor)[r]; }
        }
        // unroll
        for (var j = 0u; j < 4u; j++) {
          // unroll
          for (var e = 0u; e < 4u; e++) {
            let other = subgroupBroadcast((*tile)[d / PER][e], 4u * b + j + TILE * (d % PER));
            // unroll
            for (var r = 0u; r < ROWS; r++) { (*sums)[HEAD4 * r + d][e] += (*weights)[TILE * r + 4u * b + j] * other; }
          }
        }
      }
    }
  }
}
