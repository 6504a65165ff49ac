// attention_key_backward_subgroup: dk[j] = scale · Σ_i ds[i, j] q[i],   dv[j] = Σ_i keep[i, j] p[i, j] do[i]
//   ds as in attention_query_backward,   p[i, j] = exp(scale · q[i]·k[j] − lse[i]), computed again
//   qkv, dqkv (B, N, 3, H, 4·HEAD4), dout (B, N, H, 4·HEAD4): Element   lse, delta (B, H, N): f32   key (2): seed, step: u32
//   MASKED: the sums leave j = i out; N is at least 2 then
// SHARE neighbouring lanes for ROWS keys of a head and image: each holds every SHARE-th quad of k, v, dk and dv in registers, and
//   they add up their parts of products. One pass over the queries, AT_ONCE at a time; writes the k and v parts of dqkv.
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
@group(0) @binding(2) var<storage, read> dout: array<vec4<Element>>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read> delta: array<f32>;
@group(0) @binding(5) var<storage, read_write> dqkv: array<vec4<Element>>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32,
        @builtin(subgroup_invocation_id) lane: u32, @builtin(subgroup_size) lanes: u32) {
  let share = lane % SHARE;
  let slot = local / lanes * (lanes / SHARE) + lane / SHARE;
  let first = group.x * ROWS * (WG / SHARE) + slot; // the next of this invocation's keys are WG / SHARE apart
  let width = p.H * HEAD4;
  let image = group.z * p.N * 3u * width + group.y * HEAD4; // q of token 0; k is one width further, v two
  let gradients = group.z * p.N * width + group.y * HEAD4; // do of token 0
  let rows = (group.z * p.H + group.y) * p.N;
  var k: array<vec4f, ROWS * OWN>; // quad n of key r at OWN·r + n
  var v: array<vec4f, ROWS * OWN>;
  var dk: array<vec4f, ROWS * OWN>;
  var dv: array<vec4f, ROWS * OWN>;
  // unroll
  for (var r = 0u; r < ROWS; r++) {
    let mine = image + min(first + r * (WG / SHARE), p.N - 1u) * 3u * width + width; // a surplus key repeats the last one
    // unroll
    for (var n = 0u; n < OWN; n++) {
      k[OWN * r + n] = p.scale * own(mine, n, share);
      v[OWN * r + n] = own(mine + width, n, share);
    }
  }
  for (var i0 = 0u; i0 < p.N; i0 += AT_ONCE) {
    var ds = array<f32, ROWS * AT_ONCE>();
    var weight = array<f32, ROWS * AT_ONCE>();
    // unroll
    for (var l = 0u; l < AT_ONCE; l++) {
      let i = min(i0 + l, p.N - 1u);
      var score = array<f32, ROWS>();
      var dp = array<f32, ROWS>();
      // unroll
      for (var n = 0u; n < OWN; n++) {
        let query_quad = own(image + i * 3u * width, n, share);
        let gradient_quad = own_gradient(gradients + i * width, n, share);
        // unroll
        for (var r = 0u; r < ROWS; r++) {
          score[r] += dot(k[OWN * r + n], query_quad);
          dp[r] += dot(v[OWN * r + n], gradient_quad);
        }
      }
      let log_mass = lse[rows + i];
      let d_sum = delta[rows + i];
      // unroll
      for (var r = 0u; r < ROWS; r++) {
        let token = min(first + r * (WG / SHARE), p.N - 1u);
        let keep = kept_quad(rows + i, token / 4u)[token % 4u];
        let inside = i0 + l < p.N && seen(i0 + l, token);
        let p_ij = select(0.0, exp(total(score[r]) - log_mass), inside);
        ds[AT_ONCE * r + l] = p_ij * (keep * total(dp[r]) - d_sum);
        weight[AT_ONCE * r + l] = keep * p_ij;
      }
    }
    // unroll
    for (var l = 0u; l < AT_ONCE; l++) {
      let i = min(i0 + l, p.N - 1u);
      // unroll
      for (var n = 0u; n < OWN; n++) {
        let query_quad = own(image + i * 3u * width, n, share);
        let gradient_quad = own_gradient(gradients + i * width, n, share);
        // unroll
        for (var r = 0u; r < ROWS; r++) {
          dk[OWN * r + n] += ds[AT_ONCE * r + l] * query_quad;
          dv[OWN * r + n] += weight[AT_ONCE * r + l] * gradient_quad;
        }
      }
    }
  }
  // unroll
  for (var r = 0u; r < ROWS; r++) {
    let j = first + r * (WG / SHARE);
    if (j < p.N) {
      let mine = image + j * 3u * width + width;
      // unroll
      for (var n = 0u; n < OWN; n++) {
        let d = n * SHARE + share;
        if (d < HEAD4) {
          dqkv[mine + d] = vec4<Element>(p.scale * dk[OWN * r + n]);
          dqkv[mine + width + d] = vec4<Element>(dv[OWN * r + n]);
        }
      }
    }
  }
}
