// attention_forward: o[i] = Σ_j dropout(p[i, j]) v[j],   p[i] = softmax_j(scale · q[i]·k[j]),   lse[i] = log Σ_j exp(scale · q[i]·k[j])
//   qkv (B, N, 3, H, HEAD), o (B, N, H, HEAD): Element   lse (B, H, N): f32   key (2): seed, step: u32
//   MASKED: the sums leave j = i out; N is at least 2 then
// One invocation per query, head and image; one pass over the keys with a running maximum (online softmax), so scores
//   never leave registers. All invocations of a workgroup read the same key at the same time.
// Any N, H, B; HEAD floats of registers twice.   As torch.nn.functional.scaled_dot_product_attention.
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
@group(0) @binding(2) var<storage, read_write> o: array<Element>;
@group(0) @binding(3) var<storage, read_write> lse: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = group.x * WG + local;
  if (i >= p.N) { return; }
  let width = p.H * HEAD;
  let image = group.z * p.N * 3u * width + group.y * HEAD; // q of token 0; k is one width further, v two
  let row = (group.z * p.H + group.y) * p.N + i;
  var q: array<f32, ROOM>;
  var sum: array<f32, ROOM>;
  for (var d = 0u; d < p.head; d++) { q[d] = p.scale * f32(qkv[image + i * 3u * width + d]); }
  var highest = -3.402823466e38;
  var mass = 0.0;
  for (var j = 0u; j < p.N; j++) {
    if (!seen(i, j)) { continue; }
    let k = image + j * 3u * width + width;
    var score = 0.0;
    for (var d = 0u; d < p.head; d++) { score += q[d] * f32(qkv[k + d]); }
    let now = max(highest, score);
    let shrink = exp(highest - now);
    let weight = exp(score - now);
    highest = now;
    mass = mass * shrink + weight;
    let share = weight * kept_weight(row, j);
    for (var d = 0u; d < p.head; d++) { sum[d] = sum[d] * shrink + share * f32(qkv[k + width + d]); }
  }
  let out = (group.z * p.N + i) * width + group.y * HEAD;
  for (var d = 0u; d < p.head; d++) { o[out + d] = Element(sum[d] / mass); }
  lse[row] = highest + log(mass);
}
