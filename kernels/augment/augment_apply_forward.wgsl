// augment_apply_forward: to[b] = op of this slot for image b, of from[b]
//   program (slots, B, 8) u32: see encodeImageOp in src/ops/image_ops.ts   table (B, 256) u32 of augment_table_forward
//   from, to (B, H, W) u32, red + 256 green + 65536 blue
// One invocation per pixel; all arithmetic on bytes, as PIL and torchvision on PIL images do. Geometric ops map a
//   pixel by an affine map in 16.16 fixed point and read the pixel it falls in (PIL's own arithmetic) or, with BILINEAR,
//   the four around it, with 16-bit weights where PIL has doubles. Outside of the image they read `fill`. The quotients of
//   Hue are exact; PIL rounds them to float32.
// H, W < 2^13 for geometric ops.
// Tuned: nothing.
import package::augment::pixels::{blend, grey_of, pack, unpack};
requires immediate_address_space;

override WG: u32 = 256u;
override BILINEAR: bool = false;

const AFFINE = 1u;
const COLOR = 2u;
const SHARPNESS = 3u;
const HUE = 4u;

struct Params { B: u32, H: u32, W: u32, slot: u32, fill: u32 }

@group(0) @binding(0) var<storage, read> program: array<u32>;
@group(0) @binding(1) var<storage, read> table: array<u32>;
@group(0) @binding(2) var<storage, read> pixels_from: array<u32>;
@group(0) @binding(3) var<storage, read_write> pixels_to: array<u32>;
var<immediate> p: Params;

fn pixel(image: u32, row: i32, column: i32) -> vec3u {
  return unpack(pixels_from[(image * p.H + u32(row)) * p.W + u32(column)]);
}

// Each channel's blend; the factor is the op's first parameter times its second.
fn blended(a: vec3u, v: vec3u, at: u32) -> vec3u {
  let mantissa = program[at + 1u];
  let scale = bitcast<f32>(program[at + 2u]);
  return vec3u(
    blend(a.x, v.x, mantissa, scale),
    blend(a.y, v.y, mantissa, scale),
    blend(a.z, v.z, mantissa, scale),
  );
}

// PIL's ImageFilter.SMOOTH: (1 1 1; 1 5 1; 1 1 1) / 13, rounded; border pixels stay as they are.
fn smoothed(image: u32, row: i32, column: i32) -> vec3u {
  let middle = pixel(image, row, column);
  if (row == 0 || column == 0 || row == i32(p.H) - 1 || column == i32(p.W) - 1) { return middle; }
  var sum = 4u * middle;
  for (var y = -1; y <= 1; y++) {
    for (var x = -1; x <= 1; x++) { sum += pixel(image, row + y, column + x); }
  }
  return (2u * sum + 13u) / 26u;
}

// Shifts the hue: RGB to PIL's HSV bytes, and back.
fn turned(v: vec3u, turn: u32) -> vec3u {
  let highest = max(v.x, max(v.y, v.z));
  let range = highest - min(v.x, min(v.y, v.z));
  if (range == 0u) { return v; }
  let c = vec3i(v);
  var sixth = 4 * i32(range) + c.x - c.y;
  if (v.x == highest) { sixth = c.y - c.z; } else if (v.y == highest) { sixth = 2 * i32(range) + c.z - c.x; }
  if (sixth < 0) { sixth += 6 * i32(range); }
  let hue = (255u * u32(sixth) / (6u * range) + turn) & 255u;
  let saturation = 255u * range / highest;
  let f = 6u * hue % 255u;
  let low = (2u * highest * (255u - saturation) + 255u) / 510u;
  let falling = (2u * highest * (65025u - saturation * f) + 65025u) / 130050u;
  let rising = (2u * highest * (65025u - saturation * (255u - f)) + 65025u) / 130050u;
  switch (6u * hue / 255u % 6u) {
    case 0u: { return vec3u(highest, rising, low); }
    case 1u: { return vec3u(falling, highest, low); }
    case 2u: { return vec3u(low, highest, rising); }
    case 3u: { return vec3u(low, falling, highest); }
    case 4u: { return vec3u(rising, low, highest); }
    default: { return vec3u(highest, low, falling); }
  }
}

// floor(a + (b − a) t / 65536) for signed numbers below 2^24 and a 16-bit t; no product exceeds 31 bits.
fn between(a: vec3i, b: vec3i, t: i32) -> vec3i {
  let d = b - a;
  return a + (((d >> vec3u(12u)) * t + (((d & vec3i(4095)) * t) >> vec3u(12u))) >> vec3u(4u));
}

fn affine(image: u32, at: u32, row: i32, column: i32) -> vec3u {
  let x = bitcast<i32>(program[at + 1u]) * column + bitcast<i32>(program[at + 2u]) * row + bitcast<i32>(program[at + 3u]);
  let y = bitcast<i32>(program[at + 4u]) * column + bitcast<i32>(program[at + 5u]) * row + bitcast<i32>(program[at + 6u]);
  let place = vec2i(x >> 16u, y >> 16u);
  let end = vec2i(i32(p.W), i32(p.H));
  if (any(place < vec2i(0)) || any(place >= end)) { return unpack(p.fill); }
  if (!BILINEAR) { return pixel(image, place.y, place.x); }
  let corner = vec2i(x - 32768, y - 32768); // coordinates are those of pixel centres
  let first = clamp(corner >> vec2u(16u), vec2i(0), end - 1);
  let second = clamp((corner >> vec2u(16u)) + 1, vec2i(0), end - 1);
  let t = corner & vec2i(65535);
  let above = between(vec3i(pixel(image, first.y, first.x) << vec3u(16u)), vec3i(pixel(image, first.y, second.x) << vec3u(16u)), t.x);
  let under = between(vec3i(pixel(image, second.y, first.x) << vec3u(16u)), vec3i(pixel(image, second.y, second.x) << vec3u(16u)), t.x);
  return vec3u(between(above, under, t.y) >> vec3u(16u));
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WG + local;
  let plane = p.H * p.W;
  if (i >= p.B * plane) { return; }
  let b = i / plane;
  let row = i32(i % plane / p.W);
  let column = i32(i % p.W);
  let at = 8u * (p.slot * p.B + b);
  let own = unpack(pixels_from[i]);
  var value = own;
  switch program[at] {
    case 0u: {}
    case AFFINE: { value = affine(b, at, row, column); }
    case COLOR: { value = blended(vec3u(grey_of(own)), own, at); }
    case SHARPNESS: { value = blended(smoothed(b, row, column), own, at); }
    case HUE: { value = turned(own, program[at + 1u]); }
    default: {
      let first = 256u * b;
      value = vec3u(table[first + own.x] & 255u, (table[first + own.y] >> 8u) & 255u, (table[first + own.z] >> 16u) & 255u);
    }
  }
  pixels_to[i] = pack(value);
}
