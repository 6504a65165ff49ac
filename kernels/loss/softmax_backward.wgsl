// softmax_backward: dx (+)= y · (dy − Σ dy · y) over the last axis,   y, dy, dx (R, C)   all f32
// One invocation per row.
// Any R, any C.
// Tuned: nothing.
requires immediate_address_space;

override WG: u32 = 64u;
override ACCUMULATE: bool = false;

struct Params { R: u32, C: u32 }

@group(0) @binding(0) var<storage, read> y: array<f32>;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let row = (group.y * groups.x + group.x) * WG + local;
  if (row >= p.R) { return; }
  let base = row * p.C;
  var dot = 0.0;
  for (var c = 0u; c < p.C; c++) { dot += dy[base + c] * y[base + c]; }
  for (var c = 0u; c < p.C; c++) {
    var value = y[base + c] * (dy[base + c] - dot);
    if (ACCUMULATE) { value += dx[base + c]; }
    dx[base + c] = value;
  }
}
