// dropout: factors of attention weights, 1/(1 − rate) or 0, from the hash of a quad of keys
// needs DROPOUT, key, p
import package::lib::random::{pcg4d, kept};

fn dropout_words(row: u32, quad: u32) -> vec4u {
  return pcg4d(vec4u(key[0], p.stream, key[1], row * ((p.N + 3u) / 4u) + quad));
}

// Factors of weights (i, 4·quad) to (i, 4·quad + 3); `row` counts the rows i of all heads and images.
fn kept_quad(row: u32, quad: u32) -> vec4f {
  if (!DROPOUT) { return vec4f(1.0); }
  return kept(dropout_words(row, quad), p.rate);
}

// Factor of weight (i, j).
fn kept_weight(row: u32, j: u32) -> f32 {
  if (!DROPOUT) { return 1.0; }
  return kept(vec4u(dropout_words(row, j / 4u)[j % 4u]), p.rate).x;
}
