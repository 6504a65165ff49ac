// attention_query_backward_subgroup_matrix: dq[i] = scale · Σ_j ds[i, j] k[j],   ds = p ∘ (keep ∘ (do·vᵀ) − delta),   delta[i] = do[i]·o[i]
//   p[i, j] = exp(scale · q[i]·k[j] − lse[i]), computed again   (FlashAttention-2; Dao, 2023)
//   qkv, dqkv (B, N, 3, H, HEAD), o, dout (B, N, H, HEAD): Element   lse, delta (B, H, N): f32   key (2): seed, step: u32
//   MASKED: the sums leave j = i out; N is at least 2 then
// One workgroup per block of QUERIES, head and image; it passes over blocks of KEYS. Queries, the gradients of their outputs,
//   keys, values and the block's ds go through workgroup memory as elements of type Part. Subgroup s owns SM rows
//   of all products, from row SM · (s mod DOWN) on. The elements of a matrix cannot be accessed, so products go through workgroup memory to the invocations.
//   SHARE neighbours own a row. Writes the q part of dqkv, and delta for the pass over keys.
// Limits: HEAD divides by 4; QUERIES by SM; KEYS by 16; SN and SK divide 16; SM, SN, SK, Part are a configuration of the adapter
//   with f32 results; every subgroup has LANES lanes, WG divides by LANES, WG / LANES by DOWN, LANES by SHARE. Any N, H, B.
//   A gradient too large for Part becomes infinite, and dq is then not finite.
// Tuned: Part, SM, SN, SK (the adapter's), LANES (its subgroup size), Element, HEAD, QUERIES, KEYS, WG (4 to 8 times QUERIES).
import package::attention::dropout::{kept_quad};
import package::attention::mask::{seen_quad};
import package::attention::matrices::{ACROSS, DOWN, HEAD4, MOVED_KEYS, MOVED_QUERIES, PITCH, Result, SCORES_PITCH, SHARE, WIDE};
import package::attention::matrices::{add_rows, fetch, fetch_gradient, multiply_rows, put, store_sums};
enable subgroups;
enable subgroup_size_control;
enable chromium_experimental_subgroup_matrix;
requires immediate_address_space;
requires subgroup_id;

alias Part = f32; // tune
alias Element = f32; // tune
const SM = 16u; // tune
const SN = 16u; // tune
const SK = 16u; // tune
const LANES = 32u; // tune
const WG = 128u; // tune
const HEAD = 64u; // tune
const QUERIES = 32u; // tune
const KEYS = 32u; // tune

override DROPOUT: bool = false;
override MASKED: bool = false;

struct Params { N: u32, H: u32, stream: u32, rate: f32, scale: f32 }

@group(0) @binding(0) var<storage, read> qkv: array<vec4<Element>>;
@group(0) @binding(1) var<storage, read> key: array<u32>;
@group(0) @binding(2) var<storage, read> o: array<vec4<Element>>;
@group(0) @binding(3) var<storage, read> dout: array<vec4<Element>>;
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read_write> delta: array<f32>;
@group(0) @binding(6) var<storage, read_write> dqkv: array<vec4<Element>>;
var<immediate> p: Params;

// Offsets in `parts`: queries first, then the others; in `results`: the second of two products.
const DOUT = QUERIES * PITCH;
const K = DOUT + QUERIES * PITCH;
const V = K + KEYS * PITCH;
const DS = V + KEYS * PITCH;
const SECOND = QUERIES * SCORES_PITCH;

// Offsets and strides of subgroupMatrixLoad and subgroupMatrixStore count elements of these arrays, which are quads.
var<workgroup> parts: array<vec4<Part>, DS + QUERIES * SCORES_PITCH>;
var<workgroup> results: array<vec4f, max(2u * SECOND, QUERIES * PITCH)>;

@compute @subgroup_size(LANES) @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_id) subgroup: u32,
        @builtin(subgroup_invocation_id) lane: u32) {
  let index = subgroup * LANES + lane;
  let own = vec2u(subgroup % DOWN * SM, subgroup / DOWN * SN);
  let row = index / SHARE; // within the block
  let share = index % SHARE;
  let width = p.H * HEAD4;
  let image = group.z * p.N * 3u * width + group.y * HEAD4; // q of token 0; k is one width further, v two
  let outputs = group.z * p.N * width + group.y * HEAD4;
  let first = group.x * QUERIES;
  let i = first + row;
  let draws = (group.z * p.H + group.y) * p.N + i;
  // unroll
  for (var n = 0u; n < MOVED_QUERIES; n++) {
    put(index + n * WG, QUERIES, 0u, fetch(index + n * WG, image, first));
    put(index + n * WG, QUERIES, DOUT, fetch_gradient(index + n * WG, outputs, first));
  }
  var moved: array<array<vec4<Part>, 2>, MOVED_KEYS>;
  var d_sum = 0.0;
  var log_mass = 0.0;
  if (i < p.N) {
    for (var d = share; d < HEAD4; d += SHARE) {
      d_sum += dot(vec4f(dout[outputs + i * width + d]), vec4f(o[outputs + i * width + d]));
    }
    log_mass = lse[draws];
  }
  for (var other = 1u; other < SHARE; other *= 2u) { d_sum += subgroupShuffleXor(d_sum, other); }
  var dq: array<Result, ACROSS>;
  for (var j0 = 0u; j0 < p.N; j0 += KEYS) {
    // unroll
    for (var n = 0u; n < MOVED_KEYS; n++) {
      moved[n] = array(fetch(index + n * WG, image + width, j0), fetch(index + n * WG, image + 2u * width, j0));
    }
    // unroll
    for (var n = 0u; n < MOVED_KEYS; n++) {
      put(index + n * WG, KEYS, K, moved[n][0]);
      put(index + n * WG, KEYS, V, moved[n][1]);
    }
    workgroupBarrier();
    multiply_rows(own, 0u, K, 0u, SCORES_PITCH);
    multiply_rows(own, DOUT, V, SECOND, SCORES_PITCH);
    workgroupBarrier();
    for (var c = share; c < KEYS / 4u; c += SHARE) {
      let weight = exp(p.scale * results[row * SCORES_PITCH + c] - log_mass);
      let ds = weight * (kept_quad(draws, j0 / 4u + c) * results[SECOND + row * SCORES_PITCH + c] - d_sum);
      let inside = (j0 + 4u * c + vec4u(0u, 1u, 2u, 3u) < vec4u(p.N)) & seen_quad(i, j0 + 4u * c);
      parts[DS + row * SCORES_PITCH + c] = vec4<Part>(select(vec4f(0.0), ds, inside));
    }
    workgroupBarrier();
    add_rows(own, DS, K, &dq);
    workgroupBarrier();
  }
  store_sums(own, &dq, PITCH);
  workgroupBarrier();
  if (i >= p.N) { return; }
  if (share == 0u) { delta[draws] = d_sum; }
  for (var d = share; d < HEAD4; d += SHARE) {
    dqkv[image + i * 3u * width + d] = vec4<Element>(p.scale * results[row * PITCH + d]);
  }
}
