// ema_step: e ← d e + (1 − d) w,   e, w (n)   d = step[7]   all f32
// One invocation per quad of four elements of the flat arena (or of the part of it that is bound).
// n a multiple of four: the arena pads every tensor.   As timm's ModelEmaV3.
// Tuned: nothing.
requires immediate_address_space;

override WG: u32 = 256u;
struct Params { quads: u32 }

@group(0) @binding(0) var<storage, read> w: array<vec4f>;
@group(0) @binding(1) var<storage, read> step: array<f32>;
@group(0) @binding(2) var<storage, read_write> e: array<vec4f>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WG + local;
  if (i >= p.quads) { return; }
  let d = step[7];
  e[i] = d * e[i] + (1.0 - d) * w[i];
}
