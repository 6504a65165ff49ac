// attention_forward_subgroup_matrix: o[i] = Σ_j dropout(p[i, j]) v[j],   p[i] = softmax_j(scale · q[i]·k[j]),
//   lse[i] = log Σ_j exp(scale · q[i]·k[j])   (FlashAttention-2; Dao, 2023)
//   qkv (B, N, 3, H, HEAD), o (B, N, H, HEAD): Element   lse (B, H, N): f32   key (2): seed, step: u32
//   MASKED: the sums leave j = i out; N is at least 2 then
// One workgroup per block of QUERIES, head and image; it passes once over blocks of KEYS with a running maximum. Queries, then
//   keys, then values (loaded meanwhile), and the block's weights p go through workgroup memory as elements of type Part. Subgroup s
//   owns SM rows of both products, from row SM · (s mod DOWN) on. The elements of a matrix cannot be accessed, so products go through workgroup
//   memory to the invocations. SHARE neighbours own a row: its maximum, its mass, every SHARE-th quad of its output.
// Limits: HEAD divides by 4; QUERIES by SM; KEYS by 16; SN and SK divide 16; SM, SN, SK, Part are a configuration of the adapter
//   with f32 results; every subgroup has LANES lanes, WG divides by LANES, WG / LANES by DOWN, LANES by SHARE. Any N, H, B.
//   Weights are at most 1 / (1 − rate): if q, k and v are finite as Part, so is every operand.
// Tuned: Part, SM, SN, SK (the adapter's), LANES (its subgroup size), Element, HEAD, QUERIES, KEYS, WG (4 to 8 times QUERIES).
import package::attention::dropout::{kept_quad};
import package::attention::mask::{seen_quad};
import package::attention::matrices::{ACROSS, DOWN, HEAD4, MOVED_KEYS, MOVED_QUERIES, PITCH, Result, SCORES_PITCH, SHARE, WIDE};
import package::attention::matrices::{add_rows, fetch, multiply_rows, put, store_sums};
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
@group(0) @binding(2) var<storage, read_write> o: array<vec4<Element>>;
@group(0) @binding(3) var<storage, read_write> lse: array<f32>;
var<immediate> p: Params;

const LEAST = -3.402823466e38;
const OWN = (WIDE / 4u + SHARE - 1u) / SHARE; // quads of its row that an invocation owns
const RESULTS_PITCH = max(KEYS, WIDE) / 4u + 2u;
// Offsets in `parts`: queries first, then keys or values, then weights.
const OTHERS = QUERIES * PITCH;
const WEIGHTS = OTHERS + KEYS * PITCH;

// Offsets and strides of subgroupMatrixLoad and subgroupMatrixStore count elements of these arrays, which are quads.
var<workgroup> parts: array<vec4<Part>, WEIGHTS + QUERIES * SCORES_PITCH>;
var<workgroup> results: array<vec4f, QUERIES * RESULTS_PITCH>;

// If the query sees keys j to j + 3 and they exist.
fn counted(i: u32, j: u32) -> vec4<bool> {
  return (j + vec4u(0u, 1u, 2u, 3u) < vec4u(p.N)) & seen_quad(i, j);
}

@compute @subgroup_size(LANES) @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_id) subgroup: u32,
        @builtin(subgroup_invocation_id) lane: u32) {
  let index = subgroup * LANES + lane;
  let own = vec2u(subgroup % DOWN * SM, subgroup / DOWN * SN);
  let row = index / SHARE; // within the block
  let share = index % SHARE;
  let width = p.H * HEAD4;
  let image = group.z * p.N * 3u * width + group.y * HEAD4; // q of token 0; k is one width further, v two
  let i = group.x * QUERIES + row;
  let draws = (group.z * p.H + group.y) * p.N + i;
  var sum: array<vec4f, OWN>;
  var highest = LEAST;
  var mass = 0.0;
  var moved: array<vec4<Part>, MOVED_KEYS>;
  // unroll
  for (var n = 0u; n < MOVED_QUERIES; n++) {
    put(index + n * WG, QUERIES, 0u, fetch(index + n * WG, image, group.x * QUERIES));
  }
  for (var j0 = 0u; j0 < p.N; j0 += KEYS) {
    // unroll
    for (var n = 0u; n < MOVED_KEYS; n++) { moved[n] = fetch(index + n * WG, image + width, j0); }
    // unroll
    for (var n = 0u; n < MOVED_KEYS; n++) { put(index + n * WG, KEYS, OTHERS, moved[n]); }
    // unroll
    for (var n = 0u; n < MOVED_KEYS; n++) { moved[n] = fetch(index + n * WG, image + 2u * width, j0); }
    workgroupBarrier();
    multiply_rows(own, 0u, OTHERS, 0u, RESULTS_PITCH);
    workgroupBarrier();
    var now = highest;
    for (var c = share; c < KEYS / 4u; c += SHARE) {
      let score = p.scale * results[row * RESULTS_PITCH + c];
      let most = select(vec4f(LEAST), score, counted(i, j0 + 4u * c));
      now = max(now, max(max(most.x, most.y), max(most.z, most.w)));
    }
    for (var other = 1u; other < SHARE; other *= 2u) { now = max(now, subgroupShuffleXor(now, other)); }
    let shrink = exp(highest - now);
    highest = now;
    mass *= shrink;
    for (var c = share; c < KEYS / 4u; c += SHARE) {
      let score = p.scale * results[row * RESULTS_PITCH + c];
      let weight = select(vec4f(0.0), exp(score - now), counted(i, j0 + 4u * c));
      mass += dot(weight, vec4f(1.0));
      parts[WEIGHTS + row * SCORES_PITCH + c] = vec4<Part>(weight * kept_quad(draws, j0 / 4u + c));
    }
    // unroll
    for (var n = 0u; n < MOVED_KEYS; n++) { put(index + n * WG, KEYS, OTHERS, moved[n]); }
    workgroupBarrier();
    var products = array<Result, ACROSS>();
    add_rows(own, WEIGHTS, OTHERS, &products);
    store_sums(own, &products, RESULTS_PITCH);
    workgroupBarrier();
    // unroll
    for (var n = 0u; n < OWN; n++) {
      let d = n * SHARE + share;
      if (d < WIDE / 4u) { sum[n] = shrink * sum[n] + results[row * RESULTS_PITCH + d]; }
    }
  }
  for (var other = 1u; other < SHARE; other *= 2u) { mass += subgroupShuffleXor(mass, other); }
  if (i >= p.N) { return; }
  let out = (group.z * p.N + i) * width + group.y * HEAD4;
  // unroll
  for (var n = 0u; n < OWN; n++) {
    let d = n * SHARE + share;
    if (d < HEAD4) { o[out + d] = vec4<Element>(sum[n] / mass); }
  }
  if (share == 0u) { lse[draws] = highest + log(mass); }
}
