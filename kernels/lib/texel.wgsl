// texel: a buffer read through a texture of 1024 linear texels a row

// Software adapters fetch a texel by straight-line code for all lanes, where a storage buffer's load branches per lane.
fn texel(data: texture_storage_2d<rgba32float, read>, i: u32) -> vec4f {
  return textureLoad(data, vec2u(i & 1023u, i >> 10u));
}
