// augment_forward: y[b] = (flip(crop(images[index[b]])) / 255 − mean) / std;   label[b] = labels[index[b]]
//   images (count, C, H, W) bytes, four to a word   index (B) u32   step: see STEP in src/ops/step_state.ts
//   y (B, C, H, W) f32   norm (2, C): 1/(255 std) and −mean/std   labels u32
// One workgroup per channel of an image. With PAD the image is padded with zeros (black, before normalisation, as
//   torchvision's RandomCrop on images), or with REFLECT by its mirror image about the edge pixels, and cropped at a random
//   place; with FLIP it is mirrored in half of the cases. The draws of an image are words of hash(seed, stream, step, b).
//   A data set larger than one binding comes in parts: this one holds images first .. first + count - 1, and the kernel
//   leaves others alone.
// H·W below 2²³ (lib/quotient.wgsl); C·H·W·count bytes start on a word.
// Tuned: nothing.
import package::lib::quotient::{quotient};
import package::lib::random::{pcg4d};
requires immediate_address_space;

override WG: u32 = 64u;
override PAD: u32 = 0u;
override FLIP: bool = false;
override REFLECT: bool = false;

struct Params { B: u32, C: u32, H: u32, W: u32, first: u32, count: u32, stream: u32 }

@group(0) @binding(0) var<storage, read> images: array<u32>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read> index: array<u32>;
@group(0) @binding(3) var<storage, read> norm: array<f32>;
@group(0) @binding(4) var<storage, read> step: array<u32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<storage, read_write> label: array<u32>;
var<immediate> p: Params;

// The mirror image of a place outside of 0 .. n - 1, at most n - 1 beyond; unsigned numbers wrap below zero.
fn reflected(place: u32, n: u32) -> u32 {
  if (place < n) { return place; }
  return select(2u * (n - 1u) - place, 0u - place, place > 0x7fffffffu);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let plane = group.y * groups.x + group.x;
  if (plane >= p.B * p.C) { return; }
  let b = plane / p.C;
  let c = plane % p.C;
  let image = index[b] - p.first; // wraps to a huge number when it is in an earlier part
  if (image >= p.count) { return; }
  if (c == 0u && local == 0u) { label[b] = labels[index[b]]; }
  let draw = pcg4d(vec4u(step[0], p.stream, step[1], b));
  let down = draw.x % (2u * PAD + 1u) - PAD;
  let right = draw.y % (2u * PAD + 1u) - PAD;
  let pixels = p.H * p.W;
  for (var e = local; e < pixels; e += WG) {
    var row = quotient(e, p.W);
    var column = e - row * p.W;
    if (FLIP && (draw.z >> 31u) == 1u) { column = p.W - 1u - column; }
    row += down;
    column += right;
    if (REFLECT) { row = reflected(row, p.H); column = reflected(column, p.W); }
    var value = 0.0;
    if (row < p.H && column < p.W) {
      let at = (image * p.C + c) * pixels + row * p.W + column;
      value = f32((images[at / 4u] >> (8u * (at % 4u))) & 255u);
    }
    y[plane * pixels + e] = value * norm[c] + norm[p.C + c];
  }
}
