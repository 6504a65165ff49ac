// quotient: ⌊e / d⌋ by floats, because software adapters divide integers lane by lane

// (e + ½)/d is at least 1/(2d) away from every integer, so below 2²³ the rounded quotient has the right floor.
fn quotient(e: u32, d: u32) -> u32 { return u32((f32(e) + 0.5) / f32(d)); }
