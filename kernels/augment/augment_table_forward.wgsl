// augment_table_forward: table[b, v] = what the op of image b makes of byte v, for red, green and blue (packed as pixels)
//   program (slots, B, 8) u32: see encodeImageOp in src/ops/image_ops.ts   pixels (B, H, W) u32   table (B, 256) u32
// One workgroup per image, for the ops that change each channel by a table: Posterize, Solarize, SolarizeAdd, Invert,
//   Brightness, Contrast (blend with the mean grey), AutoContrast and Equalize, as PIL's ImageOps and ImageEnhance on
//   bytes. For other ops the table is not written. Histograms are counted in workgroup memory, then three invocations (one a
//   channel) scan them. AutoContrast's quotient (v − lowest) 255 / (highest − lowest) is exact; PIL's, in double
//   precision, is slightly below some whole numbers and then gives one less.
// H·W < 2^23.
// Tuned: nothing.
import package::augment::pixels::{blend, grey_of, unpack};
requires immediate_address_space;

override WG: u32 = 256u;

const POSTERIZE = 5u;
const SOLARIZE = 6u;
const SOLARIZE_ADD = 7u;
const INVERT = 8u;
const BRIGHTNESS = 9u;
const CONTRAST = 10u;
const AUTO_CONTRAST = 11u;
const EQUALIZE = 12u;

struct Params { B: u32, pixels: u32, slot: u32 }

@group(0) @binding(0) var<storage, read> program: array<u32>;
@group(0) @binding(1) var<storage, read> pixels: array<u32>;
@group(0) @binding(2) var<storage, read_write> table: array<u32>;
var<immediate> p: Params;

var<workgroup> histogram: array<atomic<u32>, 768>;
var<workgroup> below: array<u32, 768>; // pixels darker than v
var<workgroup> extent: array<vec3u, 3>; // lowest and highest byte of a channel, pixels of the highest
var<workgroup> grey: atomic<u32>;

fn count(image: u32, local: u32) {
  for (var v = local; v < 768u; v += WG) { atomicStore(&histogram[v], 0u); }
  if (local == 0u) { atomicStore(&grey, 0u); }
  workgroupBarrier();
  var sum = 0u;
  for (var i = local; i < p.pixels; i += WG) {
    let value = unpack(pixels[image * p.pixels + i]);
    sum += grey_of(value);
    for (var c = 0u; c < 3u; c++) { atomicAdd(&histogram[256u * c + value[c]], 1u); }
  }
  atomicAdd(&grey, sum);
  workgroupBarrier();
  if (local < 3u) {
    var total = 0u;
    var found = vec3u(255u, 0u, 0u);
    for (var v = 0u; v < 256u; v++) {
      let n = atomicLoad(&histogram[256u * local + v]);
      below[256u * local + v] = total;
      total += n;
      if (n > 0u) { found = vec3u(min(found.x, v), v, n); }
    }
    extent[local] = found;
  }
  workgroupBarrier();
}

fn entry(kind: u32, at: u32, c: u32, v: u32) -> u32 {
  let a = program[at + 1u];
  let scale = bitcast<f32>(program[at + 2u]);
  switch kind {
    case POSTERIZE: { return v & a; }
    case SOLARIZE: { return select(v, 255u - v, v >= a); }
    case SOLARIZE_ADD: { return select(v, min(255u, v + a), v < 128u); }
    case INVERT: { return 255u - v; }
    case BRIGHTNESS: { return blend(0u, v, a, scale); }
    case CONTRAST: { return blend((2u * atomicLoad(&grey) + p.pixels) / (2u * p.pixels), v, a, scale); }
    case AUTO_CONTRAST: {
      let range = extent[c];
      if (range.x == range.y) { return v; }
      return (clamp(v, range.x, range.y) - range.x) * 255u / (range.y - range.x);
    }
    default: {
      let step = (p.pixels - extent[c].z) / 255u;
      if (step == 0u) { return v; }
      return min(255u, (below[256u * c + v] + step / 2u) / step);
    }
  }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let image = group.y * groups.x + group.x;
  if (image >= p.B) { return; }
  let at = 8u * (p.slot * p.B + image);
  let kind = program[at];
  if (kind < POSTERIZE) { return; }
  if (kind >= CONTRAST) { count(image, local); }
  for (var v = local; v < 256u; v += WG) {
    table[256u * image + v] = entry(kind, at, 0u, v) | (entry(kind, at, 1u, v) << 8u) | (entry(kind, at, 2u, v) << 16u);
  }
}
