// mask: the keys that a query sees: all, or with MASKED all but its own token (Lee, Lee and Song, 2021)
// needs MASKED

fn seen(i: u32, j: u32) -> bool {
  if (!MASKED) { return true; }
  return i != j;
}

// The same for keys j to j + 3.
fn seen_quad(i: u32, j: u32) -> vec4<bool> {
  if (!MASKED) { return vec4<bool>(true); }
  return vec4u(i) != j + vec4u(0u, 1u, 2u, 3u);
}
