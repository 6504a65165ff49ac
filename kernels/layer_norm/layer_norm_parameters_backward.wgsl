// layer_norm_parameters_backward: dweight[k, c] = Σ_r dy · x̂,   dbias[k, c] = Σ_r dy   over the rows r of chunk k
//   x, dy (R, C)   stats (R, 2): mean, rstd   dweight, dbias (chunks, C rounded up to quads)   all f32, but dy may be f16
// First stage of two: one invocation per quad of columns and chunk, rows in order; column_sum_reduce adds the chunks.
// Any R, any C: rows that do not start on a quad are read in single elements; the columns beyond C are zero.
// Tuned: ElementDy: the element type of dy.
requires immediate_address_space;

alias ElementDy = f32; // tune

override WG: u32 = 64u;

struct Params { R: u32, C: u32, chunk: u32 }

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> dy: array<vec4<ElementDy>>;
@group(0) @binding(2) var<storage, read> stats: array<vec2f>;
@group(0) @binding(3) var<storage, read_write> dweight: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> dbias: array<vec4f>;
var<immediate> p: Params;

fn x_at(i: u32) -> f32 { return x[i / 4u][i % 4u]; }
fn dy_at(i: u32) -> f32 { return f32(dy[i / 4u][i % 4u]); }

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let quad = group.x * WG + local;
  let quads = (p.C + 3u) / 4u;
  if (quad >= quads) { return; }
  let columns = 4u * quad + vec4u(0u, 1u, 2u, 3u);
  let valid = columns < vec4u(p.C);
  let inside = min(columns, vec4u(p.C - 1u));
  let last = min(p.R, (group.y + 1u) * p.chunk);
  var weight_sum = vec4f(0.0);
  var bias_sum = vec4f(0.0);
  for (var r = group.y * p.chunk; r < last; r++) {
    var xs: vec4f;
    var dys: vec4f;
    if (p.C % 4u == 0u) {
      xs = x[r * quads + quad];
      dys = vec4f(dy[r * quads + quad]);
    } else {
      let at = r * p.C + inside;
      xs = vec4f(x_at(at.x), x_at(at.y), x_at(at.z), x_at(at.w));
      dys = vec4f(dy_at(at.x), dy_at(at.y), dy_at(at.z), dy_at(at.w));
    }
    let s = stats[r];
    weight_sum += dys * (xs - s.x) * s.y;
    bias_sum += dys;
  }
  let out = group.y * quads + quad;
  dweight[out] = select(vec4f(0.0), weight_sum, valid);
  dbias[out] = select(vec4f(0.0), bias_sum, valid);
}
