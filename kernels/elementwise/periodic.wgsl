// periodic: quads of an operand b that repeats with a period
// needs b, p

fn repeated_element(i: u32) -> f32 {
  let at = i % p.period;
  return b[at / 4u][at % 4u];
}

// Quad i of b repeated. A period that is a multiple of four is read in quads, any other in single elements.
fn repeated(i: u32) -> vec4f {
  if (p.period % 4u == 0u) { return b[i % (p.period / 4u)]; }
  let at = 4u * i;
  return vec4f(repeated_element(at), repeated_element(at + 1u), repeated_element(at + 2u), repeated_element(at + 3u));
}
