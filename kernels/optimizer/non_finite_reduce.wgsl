// non_finite_reduce: first[t] = the smallest i with x[i] NaN or infinite over the quads i/4 ≡ t modulo T, NONE without one
//   x (4·quads) f32   first (T) u32   clip (2): norm, coefficient (see clip_norm_step)
// One invocation per partial minimum. With GATED, x is read only if the coefficient is 0, which stands for a norm that is not
//   finite: a healthy step pays for the dispatch but not for reading x. With ACCUMULATE, a smaller index in first[t] is kept.
//   `start` is the index of x[0] in the whole tensor that x is a part of.
// Any number of quads.   By the exponent's bits: WGSL lets a compiler assume that v != v is false.
// Tuned: nothing.
requires immediate_address_space;

override WG: u32 = 64u;
override GATED: bool = false;
override ACCUMULATE: bool = false;
const NONE = 0xffffffffu;
const EXPONENT = 0x7f800000u;

struct Params { quads: u32, threads: u32, start: u32 }

@group(0) @binding(0) var<storage, read> x: array<vec4u>;
@group(0) @binding(1) var<storage, read> clip: array<f32>; // if GATED
@group(0) @binding(2) var<storage, read_write> first: array<u32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WG + local;
  if (i >= p.threads) { return; }
  var found = NONE;
  if (ACCUMULATE) { found = first[i]; }
  var look = true;
  if (GATED) { look = clip[1] == 0.0; }
  if (look) {
    for (var at = i; at < p.quads && found == NONE; at += p.threads) {
      let bad = (x[at] & vec4u(EXPONENT)) == vec4u(EXPONENT);
      if (any(bad)) {
        let lane = select(select(select(3u, 2u, bad.z), 1u, bad.y), 0u, bad.x);
        found = p.start + 4u * at + lane;
      }
    }
  }
  first[i] = found;
}
