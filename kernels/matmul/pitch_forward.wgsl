// pitch_forward: y[r, j] (+)= j < C ? x[r, j] : 0,   x (rows, C)   y (rows, P)   of f32 or f16
// Copies rows to another pitch: longer rows are padded with zeros, shorter ones truncated. One workgroup per row, which
//   avoids integer division: software adapters divide lane by lane.
// Any sizes.
// Tuned: Element…: the element types of the tensors.
requires immediate_address_space;

alias ElementX = f32; // tune
alias ElementY = f32; // tune

override WG: u32 = 32u;
override ACCUMULATE: bool = false;

struct Params { rows: u32, C: u32, P: u32 }

@group(0) @binding(0) var<storage, read> x: array<ElementX>;
@group(0) @binding(1) var<storage, read_write> y: array<ElementY>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.rows) { return; }
  for (var j = local; j < p.P; j += WG) {
    var value = 0.0;
    if (j < p.C) { value = f32(x[row * p.C + j]); }
    if (ACCUMULATE) { value += f32(y[row * p.P + j]); }
    y[row * p.P + j] = ElementY(value);
  }
}
