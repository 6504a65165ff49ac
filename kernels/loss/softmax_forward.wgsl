// softmax_forward: y = exp(x − max x) / Σ exp(x − max x) over the last axis,   x, y (R, C)   all f32
// One invocation per row.
// Any R, any C.
// Tuned: nothing.
requires immediate_address_space;

override WG: u32 = 64u;

struct Params { R: u32, C: u32 }

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let row = (group.y * groups.x + group.x) * WG + local;
  if (row >= p.R) { return; }
  let base = row * p.C;
  var highest = -3.402823466e38;
  for (var c = 0u; c < p.C; c++) { highest = max(highest, x[base + c]); }
  var sum = 0.0;
  for (var c = 0u; c < p.C; c++) {
    let e = exp(x[base + c] - highest);
    y[base + c] = e;
    sum += e;
  }
  for (var c = 0u; c < p.C; c++) { y[base + c] /= sum; }
}
