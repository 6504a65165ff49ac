// attention_forward_subgroup: o[i] = Σ_j dropout(p[i, j]) v[j],   p[i] = softmax_j(scale · q[i]·k[j]),
//   lse[i] = log Σ_j exp(scale · q[i]·k[j])   as torch.nn.functional.scaled_dot_product_attention
//   qkv (B, N, 3, H, 4·HEAD4), o (B, N, H, 4·HEAD4): Element   lse (B, H, N): f32   key (2): seed, step: u32
//   MASKED: the sums leave j = i out; N is at least 2 then
// SHARE neighbouring lanes for ROWS queries of a head and image: each holds every SHARE-th quad of q and o in registers, and they
//   add up their parts of each score. One pass over the keys, AT_ONCE at a time, with a running maximum (online softmax). All
//   queries of a workgroup read the same keys at the same time.
// Any N, H, B; every subgroup has at least four lanes, and they are neighbours in the workgroup.
// Tuned: Element, HEAD4 (a quarter of the head dimension), AT_ONCE (1, 2 or 4), ROWS: loops over both are written out.
import package::attention::dropout::{kept_quad};
import package::attention::mask::{seen};
import package::attention::shares::{OWN, SHARE, own, total};
enable subgroups;
requires immediate_address_space;

alias Element = f32; // tune
const HEAD4 = 16u; // tune
const AT_ONCE = 4u; // tune
const ROWS = 2u; // tune
override WG: u32 = 64u;
override DROPOUT: bool = false;
override MASKED: bool = false;

struct Params { N: u32, H: u32, stream: u32, rate: f32, scale: f32 }

@group(0) @binding(0) var<storage, read> qkv: array<vec4<Element>>;
@group(0) @binding(1) var<storage, read> key: array<u32>;
@group(0) @binding(2) var<storage, read_write> o: array<vec4<Element>>;
@group(0) @binding(3) var<storage, read_write> lse: array<f32>;
var<immediate> p: Params;

const LEAST = -3.402823466e38;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32,
        @builtin(subgroup_invocation_id) lane: u32, @builtin(subgroup_size) lanes: u32) {
  let share = lane % SHARE;
  let slot = local / lanes * (lanes / SHARE) + lane / SHARE;
  let first = group.x * ROWS * (WG / SHARE) + slot; // the next of this invocation's queries are WG / SHARE apart
  let width = p.H * HEAD4;
  let image = group.z * p.N * 3u * width + group.y * HEAD4; // q of token 0; k is one width further, v two
  let rows = (group.z * p.H + group.y) * p.N;
  var q: array<vec4f, ROWS * OWN>; // quad n of query r at OWN·r + n
  var sum: array<vec4f, ROWS * OWN>;
  var highest: array<f32, ROWS>;
  var mass: array<f32, ROWS>;
  // unroll
  for (var r = 0u; r < ROWS; r++) {
    let token = min(first + r * (WG / SHARE), p.N - 1u); // a surplus query repeats the last one and is not stored
    // unroll
    for (var n = 0u; n < OWN; n++) { q[OWN * r + n] = p.scale * own(image + token * 3u * width, n, share); }
    highest[r] = LEAST;
  }
  for (var j0 = 0u; j0 < p.N; j0 += AT_ONCE) {
    var score = array<f32, ROWS * AT_ONCE>();
    // unroll
    for (var l = 0u; l < AT_ONCE; l++) {
      let k = image + min(j0 + l, p.N - 1u) * 3u * width + width;
      var part = array<f32, ROWS>();
      // unroll
      for (var n = 0u; n < OWN; n++) {
        let other = own(k, n, share);
        // unroll
        for (var r = 0u; r < ROWS; r++) { part[r] += dot(q[OWN * r + n], other); }
      }
      // unroll
      for (var r = 0u; r < ROWS; r++) {
        let inside = j0 + l < p.N && seen(first + r * (WG / SHARE), j0 + l);
        score[AT_ONCE * r + l] = select(LEAST, total(part[r]), inside);
      }
    }
    // unroll
    for (var r = 0u; r < ROWS; r++) {
      var now = highest[r];
      // unroll
      for (var l = 0u; l < AT_ONCE; l++) { now = max(now, score[AT_ONCE * r + l]); }
      let shrink = exp(highest[r] - now);
      highest[r] = now;
      mass[r] *= shrink;
      // unroll
      for (var n = 0u; n < OWN; n++) { sum[OWN * r + n] *= shrink; }
      let keep = kept_quad(rows + min(first + r * (WG / SHARE), p.N - 1u), j0 / 4u);
      // unroll
      for (var l = 0u; l < AT_ONCE; l++) {
        let weight = exp(score[AT_ONCE * r + l] - now);
        mass[r] += weight;
        score[AT_ONCE * r + l] = weight * keep[(j0 + l) % 4u];
      }
    }
    // unroll
    for (var l = 0u; l < AT_ONCE; l++) {
      let v = image + min(j0 + l, p.N - 1u) * 3u * width + 2u * width;
      // unroll
      for (var n = 0u; n < OWN; n++) {
        let other = own(v, n, share);
        // unroll
        for (var r = 0u; r < ROWS; r++) { sum[OWN * r + n] += score[AT_ONCE * r + l] * other; }
      }
    }
  }
  // unroll
  for (var r = 0u; r < ROWS; r++) {
    let i = first + r * (WG / SHARE);
    if (i < p.N) {
      let out = (group.z * p.N + i) * width + group.y * HEAD4;
      // unroll
      for (var n = 0u; n < OWN; n++) {
        if (n * SHARE + share < HEAD4) { o[out + n * SHARE + share] = vec4<Element>(sum[OWN * r + n] / mass[r]); }
      }
      if (share == 0u) { lse[rows + i] = highest[r] + log(mass[r]); }
    }
  }
}
