// ceiling_forward: y[i] = c0 + c1 + c2 + c3 + c4 + c5 after trips · 4 rounds of c ← m · c + a,   y (threads, 4)   all f32
// One invocation per quad of y: six vec4 accumulators in registers are 24 independent chains; the only memory
//   access is the final store. trips · 4 · 48 operations an invocation: the peak rate of multiply-adds.
// Any number of threads. Compilers unroll the inner loop, since 4 is a constant, and not the outer one, since trips is a parameter.
//   LLVM emits the rounds of one accumulator before those of the next: more rounds a trip would wait for each addition.
// Tuned: nothing.
requires immediate_address_space;

override WG: u32 = 64u;

struct Params { threads: u32, trips: u32, m: f32, a: f32 }

@group(0) @binding(0) var<storage, read_write> y: array<vec4f>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WG + local;
  if (i >= p.threads) { return; }
  let m = vec4f(p.m);
  let a = vec4f(p.a);
  var c0 = vec4f(f32(i & 3u));
  var c1 = c0 + a;
  var c2 = c1 + a;
  var c3 = c2 + a;
  var c4 = c3 + a;
  var c5 = c4 + a;
  for (var trip = 0u; trip < p.trips; trip++) {
    for (var round = 0u; round < 4u; round++) {
      c0 = fma(c0, m, a);
      c1 = fma(c1, m, a);
      c2 = fma(c2, m, a);
      c3 = fma(c3, m, a);
      c4 = fma(c4, m, a);
      c5 = fma(c5, m, a);
    }
  }
  y[i] = (c0 + c1) + (c2 + c3) + (c4 + c5);
}
