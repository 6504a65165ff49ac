// augment_forward: y[b] = (flip(crop(images[index[b]])) / 255 − mean) / std;   label[b] = labels[index[b]]
//   images (count, C, H, W) bytes, four to a word   index (B) u32   frames (B, 9): see Frame in src/ops/batch_plan.ts
//   y (B, C, H, W) f32   norm (2, C): 1/(255 std) and −mean/std   labels u32
// One workgroup per channel of an image. With FRAMED an image is the window of its frame, of the image's own size: beyond the
//   image it is black (before normalisation, as torchvision's RandomCrop on images) or, with REFLECT, the mirror image about
//   the edge pixels. Without FRAMED the images are taken as they are.
//   A data set larger than one binding comes in parts: this one holds images first .. first + count - 1, and the kernel
//   leaves others alone.
// H·W below 2²³ (lib/quotient.wgsl); C·H·W·count bytes start on a word.
// Tuned: nothing.
import package::lib::quotient::{quotient};
requires immediate_address_space;

override WG: u32 = 64u;
override FRAMED: bool = false;
override REFLECT: bool = false;

struct Params { B: u32, C: u32, H: u32, W: u32, first: u32, count: u32 }

@group(0) @binding(0) var<storage, read> images: array<u32>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read> index: array<u32>;
@group(0) @binding(3) var<storage, read> norm: array<f32>;
@group(0) @binding(4) var<storage, read> frames: array<i32>; // if FRAMED
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<storage, read_write> label: array<u32>;
var<immediate> p: Params;

// Mirrors a coordinate outside of 0 .. n - 1, by at most n - 1, back inside. Below zero the unsigned number wraps.
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
  let image = index[b] - p.first; // wraps to a huge number if the image is in an earlier part
  if (image >= p.count) { return; }
  if (c == 0u && local == 0u) { label[b] = labels[index[b]]; }
  var flip = false;
  var down = 0u;
  var right = 0u;
  if (FRAMED) {
    let frame = 9u * b;
    flip = frames[frame] == 1;
    down = u32(frames[frame + 1u]); // a negative shift wraps, and so does a row above the image
    right = u32(frames[frame + 2u]);
  }
  let pixels = p.H * p.W;
  for (var e = local; e < pixels; e += WG) {
    var row = quotient(e, p.W);
    var column = e - row * p.W;
    if (flip) { column = p.W - 1u - column; }
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
