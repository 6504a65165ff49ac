// finite: whether a number is neither infinite nor NaN

// By the exponent's bits, because WGSL lets a compiler assume that v != v is false.
fn finite(v: f32) -> bool { return (bitcast<u32>(v) & 0x7f800000u) != 0x7f800000u; }
