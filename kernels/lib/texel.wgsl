// texel: a buffer read through a texture of 1024 linear texels a row

// On software adapters a texel fetch is straight-line code for all lanes; a load from a storage buffer branches per lane.
fn texel(data: texture_storage_2d<rgba32float, read>, i: u32) -> vec4f {
  return textureLoad(data, vec2u(i & 1023u, i >> 10u));
}
