// token_places_forward: places[b, n] = n for n < prefix, else prefix + the rank of token n among the patch tokens of image b
//   by their random words; of equal words the first token's rank is lower.   places (B, N)   key (2): seed, step   all u32
//   The word of patch token m (m = n − prefix, P = N − prefix) is word m mod 4 of hash(seed, stream, step, b·⌈P / 4⌉ + m / 4).
// One workgroup per image; an invocation counts the smaller words of others for every WG-th token.
// Any B and N: P · P / 4 hashes an image; prefix below N.
// Tuned: nothing.
import package::lib::random::{pcg4d};
requires immediate_address_space;

override WG: u32 = 64u;

struct Params { B: u32, N: u32, prefix: u32, stream: u32 }

@group(0) @binding(0) var<storage, read> key: array<u32>;
@group(0) @binding(1) var<storage, read_write> places: array<u32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let b = group.y * groups.x + group.x;
  if (b >= p.B) { return; }
  let patches = p.N - p.prefix;
  let quads = (patches + 3u) / 4u;
  for (var n = local; n < p.N; n += WG) {
    if (n < p.prefix) {
      places[b * p.N + n] = n;
      continue;
    }
    let mine = n - p.prefix;
    let word = pcg4d(vec4u(key[0], p.stream, key[1], b * quads + mine / 4u))[mine % 4u];
    var smaller = vec4u(0u);
    for (var q = 0u; q < quads; q++) {
      let words = pcg4d(vec4u(key[0], p.stream, key[1], b * quads + q));
      let other = 4u * q + vec4u(0u, 1u, 2u, 3u);
      let first = (words < vec4u(word)) | ((words == vec4u(word)) & (other < vec4u(mine)));
      smaller += select(vec4u(0u), vec4u(1u), first & (other < vec4u(patches)));
    }
    places[b * p.N + n] = p.prefix + smaller.x + smaller.y + smaller.z + smaller.w;
  }
}
