// pitch_forward: y[r, j] (+)= j < C ? x[r, j] : 0,   x (rows, C)   y (rows, P)   of f32 or f16
// Copies rows to another pitch: longer rows are padded with zeros, shorter ones truncated. A workgroup makes 16 rows of y, an
//   invocation a quad of them at a time: 16 rows are whole quads, and one division finds the place of four elements.
// Any sizes. The last quad of y is written whole, with zeros behind the last row.
// Tuned: Element…: the element types of the tensors.
import package::lib::quotient::{quotient};
requires immediate_address_space;

alias ElementX = f32; // tune
alias ElementY = f32; // tune

const BLOCK = 16u; // rows

override WG: u32 = 64u;
override ACCUMULATE: bool = false;

struct Params { rows: u32, C: u32, P: u32 }

@group(0) @binding(0) var<storage, read> x: array<ElementX>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<ElementY>>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let row0 = (group.y * groups.x + group.x) * BLOCK;
  if (row0 >= p.rows) { return; }
  let elements = min(BLOCK, p.rows - row0) * p.P;
  for (var q = local; 4u * q < elements; q += WG) {
    var row: u32;
    if (p.P < 65536u) { row = quotient(4u * q, p.P); } else { row = 4u * q / p.P; }
    var column = 4u * q - row * p.P;
    var value = vec4f(0.0);
    // unroll
    for (var i = 0u; i < 4u; i++) {
      if (column < p.C && row0 + row < p.rows) { value[i] = f32(x[(row0 + row) * p.C + column]); }
      column++;
      if (column == p.P) { column = 0u; row++; }
    }
    let at = row0 / 4u * p.P + q;
    if (ACCUMULATE) { value += vec4f(y[at]); }
    y[at] = vec4<ElementY>(value);
  }
}
