// half: float32 rounded to the nearest f16

// Ties go to even. On the bits, because compilers remove a conversion to f16 and back.
fn rounded(v: vec4f) -> vec4f {
  let bits = bitcast<vec4u>(v);
  let size = bits & vec4u(0x7fffffffu);
  let subnormal = bitcast<vec4u>(round(abs(v) * 16777216.0) / 16777216.0);
  var near = (size + 4095u + (size >> vec4u(13u)) % 2u) & vec4u(0xffffe000u);
  near = select(near, subnormal, size < vec4u(0x38800000u)); // 2^-14
  near = select(near, max(size, vec4u(0x7f800000u)), size >= vec4u(0x477ff000u)); // 65520: infinite, or NaN
  return bitcast<vec4f>(near | (bits & vec4u(0x80000000u)));
}
