// random: counted random numbers, a hash of (seed, stream, step, element), and the factors that dropout makes of them

// pcg4d (Jarzynski and Olano, JCGT 9(3), 2020): four words in, four out; the same as pcg4d in src/core/rng.ts.
fn pcg4d(key: vec4u) -> vec4u {
  var v = key * 1664525u + 1013904223u;
  v.x += v.y * v.w; v.y += v.z * v.x; v.z += v.x * v.y; v.w += v.y * v.z;
  v ^= v >> vec4u(16u);
  v.x += v.y * v.w; v.y += v.z * v.x; v.z += v.x * v.y; v.w += v.y * v.z;
  return v;
}

// Dropout's factor for each random word: 0 if its top 24 bits, as a fraction of 1, are below the rate, else 1/(1 − rate).
fn kept(words: vec4u, rate: f32) -> vec4f {
  let unit = vec4f(words >> vec4u(8u)) * (1.0 / 16777216.0);
  return select(vec4f(0.0), vec4f(1.0 / (1.0 - rate)), unit >= vec4f(rate));
}
