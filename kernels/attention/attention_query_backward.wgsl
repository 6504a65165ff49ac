// attention_query_backward: dq[i] = scale · Σ_j ds[i, j] k[j],   ds = p ∘ (keep ∘ (do·vᵀ) − delta),   delta[i] = do[i]·o[i]
//   p[i, j] = exp(scale · q[i]·k[j] − lse[i]), computed again
//   qkv, dqkv (B, N, 3, H, HEAD), o, dout (B, N, H, HEAD): Element   lse, delta (B, H, N): f32   key (2): seed, step: u32
//   MASKED: the sums leave j = i out; N is at least 2 then
// One invocation per query, head and image, one pass over the keys; writes the q part of dqkv, and delta for the pass over keys.
// Any N, H, B; HEAD floats of registers three times.
// Loops end at the parameter `head`, which equals HEAD, and arrays have more than 32 elements. Otherwise a CPU driver's
//   compiler unrolls the loops, turns array accesses into branches, and takes a minute.
// Tuned: Element, HEAD (the head dimension).
import package::attention::dropout::{kept_weight};
import package::attention::mask::{seen};
requires immediate_address_space;

alias Element = f32; // tune
const HEAD = 64u; // tune
const ROOM = max(HEAD, 40u);
override WG: u32 = 64u;
override DROPOUT: bool = false;
override MASKED: bool = false;

struct Params { N: u32, H: u32, head: u32, stream: u32, rate: f32, scale: f32 }

@group(0) @binding(0) var<storage, read> qkv: array<Element>;
@group(0) @binding(1) var<storage, read> key: array<u32>;
@group(0) @binding(2) var<storage, read> o: array<Element>;
@group(0) @binding(3) var<storage, read> dout: array<Element>;
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read_write> delta: array<f32>;
@group(0) @binding(6) var<storage, read_write> dqkv: array<Element>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = group.x * WG + local;
  if (i >= p.N) { return; }
  let width = p.H * HEAD;
  let image = group.z * p.N * 3u * width + group.y * HEAD; // q of token 0; k is one width further, v two
  let row = (group.z * p.H + group.y) * p.N + i;
  let out = (group.z * p.N + i) * width + group.y * HEAD;
  var q: array<f32, ROOM>;
  var dy: array<f32, ROOM>;
  var sum: array<f32, ROOM>;
  var d_sum = 0.0;
  for (var d = 0u; d < p.head; d++) {
    q[d] = p.scale * f32(qkv[image + i * 3u * width + d]);
    dy[d] = f32(dout[out + d]);
    d_sum += dy[d] * f32(o[out + d]);
  }
  delta[row] = d_sum;
  for (var j = 0u; j < p.N; j++) {
    if (!seen(i, j)) { continue; }
    let k = image + j * 3u * width + width;
    var score = 0.0;
    var dp = 0.0;
    for (var d = 0u; d < p.head; d++) {
      score += q[d] * f32(qkv[k + d]);
      dp += dy[d] * f32(qkv[k + width + d]);
    }
    let ds = exp(score - lse[row]) * (kept_weight(row, j) * dp - d_sum);
    for (var d = 0u; d < p.head; d++) { sum[d] += ds * f32(qkv[k + d]); }
  }
  for (var d = 0u; d < p.head; d++) { dqkv[image + i * 3u * width + d] = Element(p.scale * sum[d]); }
}
