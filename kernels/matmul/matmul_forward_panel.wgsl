// matmul_forward_panel: C (+)= A · B (+ bias),   A (M, K)   B (K, N)   C (M, N)   bias (N)   all f32; K = DEPTH
//   TRANS_B: B is stored (N, K), as linear weights [out, in] are.
// EPILOGUE: see epilogue.wgsl. HALF: elements of A and B are rounded to f16; products are still summed in f32.
// One subgroup per strip of STRIP rows x 64 columns of C; lane l owns columns 4l..4l+3.
// For software adapters with vectors of 16 lanes and sums of few k. The subgroup fetches its 64 columns of B once, for all k, and
//   keeps this panel, which LLVM puts on the stack. Then it computes four rows of C at a time: their accumulators stay in
//   registers, and one fetch of A (layers.wgsl) has 4 rows x 16 k, which all lanes get by constant-lane broadcasts.
//   Each PART of the k stands behind a branch that the compiler cannot decide: without it LLVM mixes the parts and spills.
// Limits: N and DEPTH are multiples of 64; workgroup = one subgroup of 16 lanes.
// Tuned: DEPTH (the product's K), PART (a multiple of 16 that divides DEPTH), STRIP (a multiple of 4).
import package::matmul::epilogue::{finished, GELU, GELU_GRADIENT, RESIDUAL};
import package::matmul::layers::{across, factor, other, quad};
enable subgroups;
requires immediate_address_space;

const DEPTH = 192u; // tune
const PART = 96u; // tune
const STRIP = 520u; // tune
const FETCHES = PART / 16u;

alias ElementC = f32; // as epilogue.wgsl names it
override TRANS_B: bool = false;
override HALF: bool = false;

struct Params { M: u32, N: u32, K: u32, bias: u32, accumulate: u32, epilogue: u32 }

@group(0) @binding(0) var a: texture_storage_2d_array<rgba32float, read>;
@group(0) @binding(1) var b: texture_storage_2d_array<rgba32float, read>;
@group(0) @binding(2) var beside: texture_storage_2d_array<rgba32float, read>; // aux, where the epilogue reads it
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> c: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> aux: array<vec4f>;
var<immediate> p: Params;

// As epilogue.wgsl names them.
var<private> EPILOGUE: u32;
var<private> ACCUMULATE: bool;

alias Block = array<vec4f, 4>; // a quad of columns of four rows

fn store_block(block: Block, m: u32, column4: u32) {
  // unroll
  for (var r = 0u; r < 4u; r++) {
    let at = (m + r) * (p.N / 4u) + column4;
    c[at] = finished(block[r], other(column4, m + r), at);
  }
}

@compute @workgroup_size(16)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let column4 = tile.x * 16u + lane;
  let end = min(p.M, (tile.y + 1u) * STRIP);
  var add = vec4f(0.0);
  if (p.bias == 1u) { add = bias[column4]; }
  var panel: array<vec4f, DEPTH>;
  if (TRANS_B) {
    // unroll
    for (var k = 0u; k < DEPTH; k += 4u) {
      let t0 = factor(quad(b, k / 4u, 4u * column4));
      let t1 = factor(quad(b, k / 4u, 4u * column4 + 1u));
      let t2 = factor(quad(b, k / 4u, 4u * column4 + 2u));
      let t3 = factor(quad(b, k / 4u, 4u * column4 + 3u));
      // unroll
      for (var e = 0u; e < 4u; e++) { panel[k + e] = across(t0, t1, t2, t3, e); }
    }
  } else {
    // unroll
    for (var k = 0u; k < DEPTH; k++) { panel[k] = factor(quad(b, column4, k)); }
  }
  for (var m = tile.y * STRIP; m < end; m += 4u) {
    var block = Block();
    // unroll
    for (var k0 = 0u; k0 < DEPTH; k0 += PART) {
      if (p.K > k0) {
        var rows: array<vec4f, FETCHES>;
        // unroll
        for (var f = 0u; f < FETCHES; f++) {
          rows[f] = factor(quad(a, k0 / 4u + 4u * f + lane % 4u, m + lane / 4u));
        }
        // unroll
        for (var k = 0u; k < PART; k++) {
          // unroll
          for (var r = 0u; r < 4u; r++) {
            block[r] += subgroupBroadcast(rows[k / 16u][k % 4u], 4u * r + k % 16u / 4u) * panel[k0 + k];
          }
        }
      }
    }
    // unroll
    for (var r = 0u; r < 4u; r++) { block[r] += add; }
    if (p.accumulate == 0u && m + 4u <= end) {
      ACCUMULATE = false;
      // EPILOGUE is a constant in each branch, so the choice is made once for four rows.
      if (p.epilogue == 0u) { EPILOGUE = 0u; store_block(block, m, column4); }
      if (p.epilogue == RESIDUAL) { EPILOGUE = RESIDUAL; store_block(block, m, column4); }
      if (p.epilogue == GELU) { EPILOGUE = GELU; store_block(block, m, column4); }
      if (p.epilogue == GELU_GRADIENT) { EPILOGUE = GELU_GRADIENT; store_block(block, m, column4); }
      continue;
    }
    EPILOGUE = p.epilogue;
    ACCUMULATE = p.accumulate == 1u;
    for (var r = 0u; r < min(4u, end - m); r++) {
      let at = (m + r) * (p.N / 4u) + column4;
      c[at] = finished(block[r], other(column4, m + r), at);
    }
  }
}
