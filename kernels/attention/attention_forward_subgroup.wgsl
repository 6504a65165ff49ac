// attention_forward_subgroup: o[i] = Σ_j dropout(p[i, j]) v[j],   p[i] = softmax_j(scale · q[i]·k[j]),
//   lse[i] = log Σ_j exp(scale · q[i]·k[j])   as torch.nn.functional.scaled_dot_product_attention
//   qkv (B, N, 3, H, 4·HEAD4), o (B, N, H, 4·HEAD4): Element   lse (B, H, N): f32   key (2): seed, step: u32
// SHARE neighbouring lanes per query, head and image: each holds every SHARE-th quad of q and o in registers, and they add up
//   their parts of each score. One pass over the keys, AT_ONCE at a time, with a running maximum (online softmax). All queries of a
//   workgroup read the same keys at the same time.
// Any N, H, B; every subgroup has at least four lanes, and they are neighbours in the workgroup.
// Tuned: Element, HEAD4 (a quarter of the head dimension), AT_ONCE (1, 2 or 4; a CPU driver's compiler unrolls all of it).
import package::attention::dropout::{kept_quad};
import package::attention::shares::{OWN, SHARE, own, total};
enable subgroups;
requires immediate_address_space;

alias Element = f32; // tune
const HEAD4 = 16u; // tune
const AT_ONCE = 4u; // tune
override WG: u32 = 64u;
override DROPOUT: bool = false;

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
  let i = group.x * (WG / SHARE) + local / lanes * (lanes / SHARE) + lane / SHARE;
  let token = min(i, p.N - 1u); // a surplus row repeats the last one and is not stored
  let width = p.H * HEAD4;
  let image = group.z * p.N * 3u * width + group.y * HEAD4; // q of token 0; k is one width further, v two
  let row = (group.z * p.H + group.y) * p.N + token;
  var q: array<vec4f, OWN>;
  var sum: array<vec4f, OWN>;
  for (var n = 0u; n < OWN; n++) { q[n] = p.scale * own(image + token * 3u * width, n, share); }
  var highest = LEAST;
  var mass = 0.0;
  for (var j0 = 0u; j0 < p.N; j0 += AT_ONCE) {
    var score = array<f32, AT_ONCE>();
    var now = highest;
    for (var l = 0u; l < AT_ONCE; l++) {
      let k = image + min(j0 + l, p.N - 1u) * 3u * width + width;
      var part = 0.0;
      for (var n = 0u; n < OWN; n++) { part += dot(q[n], own(k, n, share)); }
      score[l] = select(LEAST, total(part), j0 + l < p.N);
      now = max(now, score[l]);
    }
    let shrink = exp(highest - now);
    highest = now;
    mass *= shrink;
    for (var n = 0u; n < OWN; n++) { sum[n] *= shrink; }
    let keep = kept_quad(row, j0 / 4u);
    for (var l = 0u; l < AT_ONCE; l++) {
      let v = image + min(j0 + l, p.N - 1u) * 3u * width + 2u * width;
      let weight = exp(score[l] - now);
      mass += weight;
      for (var n = 0u; n < OWN; n++) { sum[n] += weight * keep[(j0 + l) % 4u] * own(v, n, share); }
    }
  }
  if (i >= p.N) { return; }
  let out = (group.z * p.N + i) * width + group.y * HEAD4;
  for (var n = 0u; n < OWN; n++) {
    if (n * SHARE + share < HEAD4) { o[out + n * SHARE + share] = vec4<Element>(sum[n] / mass); }
  }
  if (share == 0u) { lse[row] = highest + log(mass); }
}
