// shares: rows shared by SHARE lanes side by side, each with every SHARE-th quad of a head's vectors
// needs HEAD4, qkv, dout

const SHARE = 4u; // lanes of a row
const OWN = (HEAD4 + SHARE - 1u) / SHARE; // quads of a lane

// The sum over the lanes of a row.
fn total(mine: f32) -> f32 {
  var sum = mine;
  for (var other = 1u; other < SHARE; other *= 2u) { sum += subgroupShuffleXor(sum, other); }
  return sum;
}

// Quad n of this lane's share of a vector of q, k or v that starts at quad `base`; zeros beyond HEAD4.
fn own(base: u32, n: u32, share: u32) -> vec4f {
  let d = n * SHARE + share;
  if (HEAD4 % SHARE == 0u) { return vec4f(qkv[base + d]); }
  return select(vec4f(0.0), vec4f(qkv[base + min(d, HEAD4 - 1u)]), d < HEAD4);
}

// The same for the gradient of the output.
fn own_gradient(base: u32, n: u32, share: u32) -> vec4f {
  let d = n * SHARE + share;
  if (HEAD4 % SHARE == 0u) { return vec4f(dout[base + d]); }
  return select(vec4f(0.0), vec4f(dout[base + min(d, HEAD4 - 1u)]), d < HEAD4);
}
