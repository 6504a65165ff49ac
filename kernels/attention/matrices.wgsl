// matrices: blocks of a head's rows in workgroup memory, and their products by matrix units
// needs Part, SM, SN, SK, LANES, WG, HEAD, QUERIES, KEYS, qkv, dout, parts, results, p

alias Left = subgroup_matrix_left<Part, SK, SM>;
alias Right = subgroup_matrix_right<Part, SN, SK>;
alias Result = subgroup_matrix_result<f32, SN, SM>;

const HEAD4 = HEAD / 4u;
const WIDE = (HEAD + 15u) / 16u * 16u; // HEAD, padded with zeros to a multiple of 16
const SHARE = WG / QUERIES; // invocations for each query's row
const DOWN = QUERIES / SM; // rows of matrices in the scores
const BESIDE = WG / LANES / DOWN; // subgroups for each such row, which take its matrices in turn
const ACROSS = (WIDE / SN + BESIDE - 1u) / BESIDE; // matrices of WIDE columns that a subgroup owns
const MOVED_KEYS = (KEYS * (WIDE / 4u) + WG - 1u) / WG; // quads of a block of keys that an invocation moves
const MOVED_QUERIES = (QUERIES * (WIDE / 4u) + WG - 1u) / WG;
// Quads from row to row: two more than a row has, so that neighbouring rows start on different banks.
const PITCH = WIDE / 4u + 2u;
const SCORES_PITCH = KEYS / 4u + 2u;

// The row of quad x among staged rows, and the quad's place in that row.
fn place(x: u32) -> vec2u { return vec2u(x / (WIDE / 4u), x % (WIDE / 4u)); }

// Quad x of a head's rows from token `first` on; the quads of token 0 start at `base` in qkv. Zero beyond N and HEAD.
// It has no branch, so that many loads are in flight at a time.
fn fetch(x: u32, base: u32, first: u32) -> vec4<Part> {
  let at = place(x);
  let token = first + at.x;
  let quad = qkv[base + min(token, p.N - 1u) * 3u * p.H * HEAD4 + min(at.y, HEAD4 - 1u)];
  return vec4<Part>(select(vec4f(0.0), vec4f(quad), token < p.N && at.y < HEAD4));
}

// The same for the gradients of the output.
fn fetch_gradient(x: u32, base: u32, first: u32) -> vec4<Part> {
  let at = place(x);
  let token = first + at.x;
  let quad = dout[base + min(token, p.N - 1u) * p.H * HEAD4 + min(at.y, HEAD4 - 1u)];
  return vec4<Part>(select(vec4f(0.0), vec4f(quad), token < p.N && at.y < HEAD4));
}

// Stores quad x of `rows` rows at parts[to …].
fn put(x: u32, rows: u32, to: u32, quad: vec4<Part>) {
  let at = place(x);
  if (rows * (WIDE / 4u) % WG == 0u || at.x < rows) { parts[to + at.x * PITCH + at.y] = quad; }
}

// results[to …], rows `pitch` quads apart, = (rows of parts[left …]) · (KEYS rows of parts[right …])ᵀ; `own` is this
// subgroup's first row and first column.
fn multiply_rows(own: vec2u, left: u32, right: u32, to: u32, pitch: u32) {
  const COUNT = (KEYS / SN + BESIDE - 1u) / BESIDE;
  var sums = array<Result, COUNT>();
  // unroll
  for (var d = 0u; d < WIDE; d += SK) {
    let one = subgroupMatrixLoad<Left, row_major>(&parts, left + own.x * PITCH + d / 4u, PITCH);
    // unroll
    for (var n = 0u; n < COUNT; n++) {
      let column = own.y + n * BESIDE * SN;
      if (KEYS % (BESIDE * SN) == 0u || column < KEYS) {
        let other = subgroupMatrixLoad<Right, col_major>(&parts, right + column * PITCH + d / 4u, PITCH);
        sums[n] = subgroupMatrixMultiplyAccumulate(one, other, sums[n]);
      }
    }
  }
  // unroll
  for (var n = 0u; n < COUNT; n++) {
    let column = own.y + n * BESIDE * SN;
    if (KEYS % (BESIDE * SN) == 0u || column < KEYS) {
      subgroupMatrixStore<row_major>(&results, to + own.x * pitch + column / 4u, sums[n], pitch);
    }
  }
}

// sums += (rows of parts[left …], KEYS wide) · (KEYS rows of parts[right …]).
fn add_rows(own: vec2u, left: u32, right: u32, sums: ptr<function, array<Result, ACROSS>>) {
  // unroll
  for (var j = 0u; j < KEYS; j += SK) {
    let one = subgroupMatrixLoad<Left, row_major>(&parts, left + own.x * SCORES_PITCH + j / 4u, SCORES_PITCH);
    // unroll
    for (var n = 0u; n < ACROSS; n++) {
      let column = own.y + n * BESIDE * SN;
      if (WIDE % (BESIDE * SN) == 0u || column < WIDE) {
        let other = subgroupMatrixLoad<Right, row_major>(&parts, right + j * PITCH + column / 4u, PITCH);
        (*sums)[n] = subgroupMatrixMultiplyAccumulate(one, other, (*sums)[n]);
      }
    }
  }
}

// results = sums, rows `pitch` quads apart.
fn store_sums(own: vec2u, sums: ptr<function, array<Result, ACROSS>>, pitch: u32) {
  // unroll
  for (var n = 0u; n < ACROSS; n++) {
    let column = own.y + n * BESIDE * SN;
    if (WIDE % (BESIDE * SN) == 0u || column < WIDE) {
      subgroupMatrixStore<row_major>(&results, own.x * pitch + column / 4u, (*sums)[n], pitch);
    }
  }
}
