// column_sum_reduce: y[k, c] (+)= scale · Σ_r x[offset + r · stride + c] over the rows r of chunk k
//   x: rows of `stride` floats, the first C of each summed   y (chunks, C rounded up to quads)   all f32, but x may be f16
// One invocation per quad of columns and chunk, rows in order; run again on its own result until one chunk is left.
// Any C, stride, offset: rows that do not start on a quad are read in single elements; the columns beyond C are zero.
// Tuned: ElementX: the element type of x.
requires immediate_address_space;

alias ElementX = f32; // tune

override WG: u32 = 64u;
override ACCUMULATE: bool = false;

struct Params { rows: u32, C: u32, stride: u32, offset: u32, chunk: u32, scale: f32 }

@group(0) @binding(0) var<storage, read> x: array<vec4<ElementX>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
var<immediate> p: Params;

fn element(i: u32) -> f32 { return f32(x[i / 4u][i % 4u]); }

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let quad = group.x * WG + local;
  let quads = (p.C + 3u) / 4u;
  if (quad >= quads) { return; }
  let column = 4u * quad;
  let valid = vec4u(column, column + 1u, column + 2u, column + 3u) < vec4u(p.C);
  let aligned = p.stride % 4u == 0u && p.offset % 4u == 0u;
  let last = min(p.rows, (group.y + 1u) * p.chunk);
  var sum = vec4f(0.0);
  var r = group.y * p.chunk;
  // Eight loads are in flight at a time.
  for (; aligned && r + 8u <= last; r += 8u) {
    var some = array<vec4f, 8>();
    // unroll
    for (var i = 0u; i < 8u; i++) { some[i] = vec4f(x[(p.offset + (r + i) * p.stride + column) / 4u]); }
    // unroll
    for (var i = 0u; i < 8u; i++) { sum += some[i]; }
  }
  for (; r < last; r++) {
    let at = p.offset + r * p.stride + column;
    if (aligned) {
      sum += vec4f(x[at / 4u]);
    } else {
      let left = p.C - column; // never read past the end of the row: the next element may be outside of the buffer
      sum.x += element(at);
      if (left > 1u) { sum.y += element(at + 1u); }
      if (left > 2u) { sum.z += element(at + 2u); }
      if (left > 3u) { sum.w += element(at + 3u); }
    }
  }
  let out = group.y * quads + quad;
  var value = select(vec4f(0.0), p.scale * sum, valid);
  if (ACCUMULATE) { value += y[out]; }
  y[out] = value;
}
