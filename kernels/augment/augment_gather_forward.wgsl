// augment_gather_forward: pixels[b] = resize(flip(crop(images[index[b]])));   label[b] = labels[index[b]]
//   images (count, 3, H, W) bytes, four to a word   index (B) u32   frames (B, 9): see Frame in src/ops/batch_plan.ts
//   pixels (B, H, W) u32, red + 256 green + 65536 blue   labels u32
// One invocation per pixel. A frame's window may reach beyond the image: those pixels are black or, with REFLECT, the
//   mirror image about the edge pixels. With RESIZE a window inside the image is enlarged to H x W as PIL's
//   Image.resize(BILINEAR) does on bytes: weights of 22 bits, columns first, rounded to a byte between the passes.
//   A data set larger than one binding is split into parts. This part holds images first .. first + count - 1.
// H, W < 2^19, windows that are resized are no larger than the image.
// Tuned: nothing.
import package::augment::pixels::{pack};
requires immediate_address_space;

override WG: u32 = 256u;
override REFLECT: bool = false;
override RESIZE: bool = false;

struct Params { B: u32, H: u32, W: u32, first: u32, count: u32 }

@group(0) @binding(0) var<storage, read> images: array<u32>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read> index: array<u32>;
@group(0) @binding(3) var<storage, read> frames: array<i32>;
@group(0) @binding(4) var<storage, read_write> pixels: array<u32>;
@group(0) @binding(5) var<storage, read_write> label: array<u32>;
var<immediate> p: Params;

const ONE = 4194304u; // weights are in 1/2^22

fn byte(at: u32) -> u32 { return (images[at / 4u] >> (8u * (at % 4u))) & 255u; }

fn reflected(place: i32, n: i32) -> i32 {
  let above = abs(place);
  return select(above, 2 * (n - 1) - above, above >= n);
}

fn pixel(image: u32, row: i32, column: i32) -> vec3u {
  var at = vec2i(row, column);
  if (REFLECT) { at = vec2i(reflected(row, i32(p.H)), reflected(column, i32(p.W))); }
  if (at.x < 0 || at.y < 0 || at.x >= i32(p.H) || at.y >= i32(p.W)) { return vec3u(); }
  let plane = p.H * p.W;
  let first = image * 3u * plane + u32(at.x) * p.W + u32(at.y);
  return vec3u(byte(first), byte(first + plane), byte(first + 2u * plane));
}

// The two source pixels of an output pixel, and the weight of the second.
struct Tap { first: i32, second: i32, weight: u32 }

// Output i of n lies at ((2i + 1) window − n) / 2n in the window. Two divisions give 11 bits each of the 22-bit weight.
fn tap(i: i32, n: i32, window: i32) -> Tap {
  let at = (2 * i + 1) * window - n;
  if (at < 0) { return Tap(0, 0, 0u); }
  let whole = at / (2 * n);
  let below = u32(2 * n);
  let rest = u32(at - whole * 2 * n) << 11u;
  let weight = ((rest / below) << 11u) + (((rest % below) << 11u) + u32(n)) / below;
  return Tap(whole, min(whole + 1, window - 1), weight);
}

fn between(a: vec3u, b: vec3u, weight: u32) -> vec3u {
  return (a * (ONE - weight) + b * weight + ONE / 2u) / ONE;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WG + local;
  let plane = p.H * p.W;
  if (i >= p.B * plane) { return; }
  let b = i / plane;
  let image = index[b] - p.first; // wraps to a huge number if the image is in an earlier part
  if (image >= p.count) { return; }
  if (i % plane == 0u) { label[b] = labels[index[b]]; }
  let row = i32(i % plane / p.W);
  var column = i32(i % p.W);
  let frame = 9u * b;
  if (frames[frame] == 1) { column = i32(p.W) - 1 - column; }
  let top = frames[frame + 1u];
  let left = frames[frame + 2u];
  var value: vec3u;
  if (RESIZE) {
    let down = tap(row, i32(p.H), frames[frame + 3u]);
    let across = tap(column, i32(p.W), frames[frame + 4u]);
    let above = between(pixel(image, top + down.first, left + across.first), pixel(image, top + down.first, left + across.second), across.weight);
    let under = between(pixel(image, top + down.second, left + across.first), pixel(image, top + down.second, left + across.second), across.weight);
    value = between(above, under, down.weight);
  } else {
    value = pixel(image, top + row, left + column);
  }
  pixels[i] = pack(value);
}
