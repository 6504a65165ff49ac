// attention_key_backward: dk[j] = scale · Σ_i ds[i, j] q[i],   dv[j] = Σ_i keep[i, j] p[i, j] do[i],   ds as in attention_query_backward
//   p[i, j] = exp(scale · q[i]·k[j] − lse[i]), computed again
//   qkv, dqkv (B, N, 3, H, HEAD), dout (B, N, H, HEAD): Element   lse, delta (B, H, N): f32   key (2): seed, step: u32
//   MASKED: the sums leave j = i out; N is at least 2 then
// One invocation per key, head and image, one pass over the queries; writes the k and v parts of dqkv.
// Any N, H, B; HEAD floats of registers four times.
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
@group(0) @binding(2) var<storage, read> dout: array<Element>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read> delta: array<f32>;
@group(0) @binding(5) var<storage, read_write> dqkv: array<Element>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let j = group.x * WG + local;
  if (j >= p.N) { return; }
  let width = p.H * HEAD;
  let image = group.z * p.N * 3u * width + group.y * HEAD; // q of token 0; k is one width further, v two
  let rows = (group.z * p.H + group.y) * p.N;
  let mine = image + j * 3u * width + width;
  var k: array<f32, ROOM>;
  var v: array<f32, ROOM>;
  var dk: array<f32, ROOM>;
  var dv: array<f32, ROOM>;
  for (var d = 0u; d < p.head; d++) {
    k[d] = p.scale * f32(qkv[mine + d]);
    v[d] = f32(qkv[mine + width + d]);
  }
  for (var i = 0u; i < p.N; i++) {
    if (!seen(i, j)) { continue; }
    let q = image + i * 3u * width;
    let dy = (group.z * p.N + i) * width + group.y * HEAD;
    var score = 0.0;
    var dp = 0.0;
    for (var d = 0u; d < p.head; d++) {
      score += k[d] * f32(qkv[q + d]);
      dp += v[d] * f32(dout[dy + d]);
    }
    let weight = exp(score - lse[rows + i]);
    let keep = kept_weight(rows + i, j);
    let ds = weight * (keep * dp - delta[rows + i]);
    for (var d = 0u; d < p.head; d++) {
      dk[d] += ds * f32(qkv[q + d]);
      dv[d] += keep * weight * f32(dout[dy + d]);
    }
  }
  for (var d = 0u; d < p.head; d++) {
    dqkv[mine + d] = Element(p.scale * dk[d]);
    dqkv[mine + width + d] = Element(dv[d]);
  }
}
