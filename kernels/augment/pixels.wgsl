// pixels: packed pixels, red + 256 green + 65536 blue, and PIL's arithmetic on their bytes

fn unpack(word: u32) -> vec3u { return vec3u(word, word >> 8u, word >> 16u) & vec3u(255u); }
fn pack(v: vec3u) -> u32 { return v.x | (v.y << 8u) | (v.z << 16u); }

// PIL's conversion to L.
fn grey_of(v: vec3u) -> u32 { return (v.x * 19595u + v.y * 38470u + v.z * 7471u + 32768u) >> 16u; }

// PIL's Image.blend of bytes in float32, truncated: a + factor (v − a). The factor is mantissa · scale (scale a power
// of two): the product with an integer is rounded once, by the conversion, and cannot be fused with the addition.
fn blend(a: u32, v: u32, mantissa: u32, scale: f32) -> u32 {
  let product = f32(mantissa * select(a - v, v - a, v > a)) * scale;
  return u32(clamp(f32(a) + select(-product, product, v > a), 0.0, 255.0));
}
