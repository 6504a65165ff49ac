// tail: the end of a sum over k
// needs p

// `value`, or zeros beyond the last k: what lies there belongs to the next matrix or to no tensor, and may be anything, even NaN.
fn inside(k: u32, value: vec4f) -> vec4f { return select(vec4f(0.0), value, k < p.K); }
