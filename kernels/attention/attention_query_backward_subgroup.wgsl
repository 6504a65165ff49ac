// attention_query_backward_subgroup: dq[i] = scale · Σ_j ds[i, j] k[j],   ds = p ∘ (keep ∘ (do·vᵀ) − delta)
//   delta[i] = do[i]·o[i],   p[i, j] = exp(scale · q[i]·k[j] − lse[i]), computed again
//   qkv, dqkv (B, N, 3, H, 4·HEAD4), o, dout (B, N, H, 4·HEAD4): Element   lse, delta (B, H, N): f32   key (2): seed, step: u32
//   MASKED: the sums leave j = i out; N is at least 2 then
// SHARE neighbouring lanes for ROWS queries of a head and image: each holds every SHARE-th quad of q, do and dq in registers, and
//   they add up their parts of products. One pass over the keys, AT_ONCE at a time; writes the q part of dqkv, and delta for the
//   pass over keys.
// Any N, H, B; every subgroup has at least four lanes, and they are neighbours in the workgroup.
// Tuned: Element, HEAD4 (a quarter of the head dimension), AT_ONCE (1, 2 or 4), ROWS: loops over both are written out.
import package::attention::dropout::{kept_quad};
import package::attention::mask::{seen};
import package::attention::shares::{OWN, SHARE, own, own_gradient, total};
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
@group(0) @binding(2) var<storage, read> o: array<vec4<Element>>;
@group(0) @binding(3) var<storage, read> dout: array<vec4<Element>>;
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read_write> delta: array<f32>;
@group(0) @binding(6) var<storage, read_write> dqkv: array<vec4<Element>>;
var<immediate> p: Params;

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
  var dy: array<vec4f, ROWS * OWN>;
  var sum: array<vec4f, ROWS * OWN>;
  var d_sum: array<f32, ROWS>;
  var log_mass: array<f32, ROWS>;
  // unroll
  for (var r = 0u; r < ROWS; r++) {
    let token = min(first + r * (WG / SHARE), p.N - 1u); // a surplus query repeats the last one and is not stored
    let out = (group.z * p.N + token) * width + group.y * HEAD4;
    // unroll
    for (var n = 0u; n < OWN; n++) {
      q[OWN * r + n] = p.scale * own(image + token * 3u * width, n, share);
      dy[OWN * r + n] = own_gradient(out, n, share);
      d_sum[r] += dot(dy[OWN * r + n], vec4f(o[out + min(n * SHARE + share, HEAD4 - 1u)]));
    }
    d_sum[r] = total(d_sum[r]);
    log_mass[r] = lse[rows + token];
  }
  for (var j0 = 0u; j0 < p.N; j0 += AT_ONCE) {
    var ds = array<f32, ROWS * AT_ONCE>();
    var keep: array<vec4f, ROWS>;
    // unroll
    for (var r = 0u; r < ROWS; r++) { keep[r] = kept_quad(rows + min(first + r * (WG / SHARE), p.N - 1u), j0 / 4u); }
    // unroll
    for (var l = 0u; l < AT_ONCE; l++) {
      let k = image + min(j0 + l, p.N - 1u) * 3u * width + width;
      var score = array<f32, ROWS>();
      var dp = array<f32, ROWS>();
      // unroll
      for (var n = 0u; n < OWN; n++) {
        let key_quad = own(k, n, share);
        let value_quad = own(k + width, n, share);
        // unroll
        for (var r = 0u; r < ROWS; r++) {
          score[r] += dot(q[OWN * r + n], key_quad);
          dp[r] += dot(dy[OWN * r + n], value_quad);
        }
      }
      // unroll
      for (var r = 0u; r < ROWS; r++) {
        let inside = j0 + l < p.N && seen(first + r * (WG / SHARE), j0 + l);
        let weight = select(0.0, exp(total(score[r]) - log_mass[r]), inside);
        ds[AT_ONCE * r + l] = weight * (keep[r][(j0 + l) % 4u] * total(dp[r]) - d_sum[r]);
      }
    }
    // unroll
    for (var l = 0u; l < AT_ONCE; l++) {
      let k = image + min(j0 + l, p.N - 1u) * 3u * width + width;
      // unroll
      for (var n = 0u; n < OWN; n++) {
        let key_quad = own(k, n, share);
        // unroll
        for (var r = 0u; r < ROWS; r++) { sum[OWN * r + n] += ds[AT_ONCE * r + l] * key_quad; }
      }
    }
  }
  // unroll
  for (var r = 0u; r < ROWS; r++) {
    let i = first + r * (WG / SHARE);
    if (i < p.N) {
      // unroll
      for (var n = 0u; n < OWN; n++) {
        let d = n * SHARE + share;
        if (d < HEAD4) { dqkv[image + i * 3u * width + d] = vec4<Element>(p.scale * sum[OWN * r + n]); }
      }
      if (share == 0u) { delta[rows + i] = d_sum[r]; }
    }
  }
}
