// quotient: ⌊e / d⌋ by floats, because software adapters divide integers lane by lane

// (e + ½)/d is half of 1/d away from an integer, so it rounds right below 2²³.
fn quotient(e: u32, d: u32) -> u32 { return u32((f32(e) + 0.5) / f32(d)); }
