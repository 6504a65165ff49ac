// augment_normalise_forward: y[b, c] = (pixels[b, c] / 255 − mean[c]) / std[c], and inside of the erased box 0 or noise
//   pixels (B, H, W) u32, red + 256 green + 65536 blue   frames (B, 9): see Frame in src/ops/batch_plan.ts
//   norm (2, 3): 1/(255 std) and −mean/std   plan: its header, see src/ops/batch_plan.ts   y (B, 3, H, W) f32
// One invocation per pixel. With NOISE the box holds standard normal numbers, one for each pixel and channel (timm's
//   `pixel` mode), by Box and Muller from the words of hash(seed, stream, step, pixel of the batch).
// Any sizes.
// Tuned: nothing.
import package::augment::pixels::{unpack};
import package::lib::random::{pcg4d};
requires immediate_address_space;

override WG: u32 = 256u;
override NOISE: bool = false;

struct Params { B: u32, H: u32, W: u32, stream: u32 }

@group(0) @binding(0) var<storage, read> pixels: array<u32>;
@group(0) @binding(1) var<storage, read> frames: array<i32>;
@group(0) @binding(2) var<storage, read> norm: array<f32>;
@group(0) @binding(3) var<storage, read> plan: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
var<immediate> p: Params;

fn noise(pixel: u32) -> vec3f {
  let u = vec4f(pcg4d(vec4u(plan[0], p.stream, plan[1], pixel)) >> vec4u(8u)) / 16777216.0;
  let radius = sqrt(-2.0 * log(1.0 - u.xz));
  let angle = 6.283185307179586 * u.yw;
  return vec3f(radius.x * cos(angle.x), radius.x * sin(angle.x), radius.y * cos(angle.y));
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WG + local;
  let plane = p.H * p.W;
  if (i >= p.B * plane) { return; }
  let b = i / plane;
  let row = i32(i % plane / p.W);
  let column = i32(i % p.W);
  let box = 9u * b + 5u; // top, bottom, left, right
  let erased = row >= frames[box] && row < frames[box + 1u] && column >= frames[box + 2u] && column < frames[box + 3u];
  var value = vec3f(unpack(pixels[i])) * vec3f(norm[0], norm[1], norm[2]) + vec3f(norm[3], norm[4], norm[5]);
  if (erased) {
    value = vec3f();
    if (NOISE) { value = noise(i); }
  }
  for (var c = 0u; c < 3u; c++) { y[(b * 3u + c) * plane + i % plane] = value[c]; }
}
