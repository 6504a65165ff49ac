/** Typical bugs, each in one line of one file, and the tests that must catch it. */
export interface Bug {
  readonly kind: string;
  /** The file to plant it in, relative to the root of the repository. */
  readonly path: string;
  /** A text that occurs exactly once in the file. */
  readonly from: string;
  readonly to: string;
  /** The file of the tests that must catch it. */
  readonly file: string;
  /** A pattern of these tests' names. */
  readonly tests: string;
}

const of =
  (file: string, tests: string) =>
  (kind: string, kernel: string, from: string, to: string): Bug => ({
    ...{ kind, path: `kernels/${kernel}.wgsl`, from, to },
    ...{ file, tests },
  });
const op = (name: string) => of('test/ops.test.ts', `^${name} `);
const [layerNorm, attention, product, tokens] = [
  op('layer_norm'),
  op('attention'),
  op('matmul'),
  op('take_token'),
];
const [optimizer, health] = [of('test/optim.test.ts', ''), of('test/health.test.ts', 'is found and named')];

// biome-ignore format: a table
export const KERNEL_BUGS: readonly Bug[] = [
  op('im2col')('a tail one too short', 'tokens/im2col_forward', 'patch_index >= p.rows', 'patch_index >= p.rows - 1u'),
  op('im2col')('a swapped stride', 'tokens/im2col_forward', 'oy * p.SH + i', 'oy * p.SW + i'),
  op('im2col')('padding forgotten', 'tokens/im2col_forward', '+ j - p.padW', '+ j'),
  op('im2col')('a window one too wide', 'tokens/im2col_backward', 'select(0u, (row - p.PH) / p.SH + 1u, row >= p.PH)', 'select(0u, (row - p.PH) / p.SH, row >= p.PH)'),
  layerNorm('missing eps', 'layer_norm/layer_norm_forward_subgroup', ' / n + p.eps)', ' / n)'),
  layerNorm('a lane beyond the row counted', 'layer_norm/layer_norm_forward_subgroup', 'select(vec4f(0.0), v[q] - mean, lane + q * LANES < p.quads)', 'v[q] - mean'),
  layerNorm('= for +=', 'layer_norm/layer_norm_backward_subgroup', 'bias_sum[q] += counted * d;', 'bias_sum[q] = counted * d;'),
  layerNorm('a surplus row counted', 'layer_norm/layer_norm_backward_subgroup', 'select(0.0, 1.0, row < p.R)', '1.0'),
  layerNorm('a term forgotten', 'layer_norm/layer_norm_backward_subgroup', 'g[q] - mean_g - normal[q] * mean_gx', 'g[q] - mean_g'),
  attention('keys beyond the last counted', 'attention/attention_forward_texture', 's[TILE * r + j], j < left &&', 's[TILE * r + j], j <= left &&'),
  attention('no rescaling when the maximum moves', 'attention/attention_forward_texture', 'mass[r] *= shrink[r];', 'mass[r] *= 1.0;'),
  attention('k for v', 'attention/attention_forward_texture', 'tile = fetched(qkv, k + width, lane)', 'tile = fetched(qkv, k, lane)'),
  attention('dropout after the sum only', 'attention/attention_forward_texture', 's[TILE * r + 4u * b + j] *= kept[j];', ''),
  attention('a lane\'s part for the whole', 'attention/shares', 'sum += subgroupShuffleXor(sum, other)', 'sum += 0.0'),
  attention('scale forgotten', 'attention/attention_key_backward_texture', 'out[2u * x] = p.scale * dk[x]', 'out[2u * x] = dk[x]'),
  attention('delta forgotten', 'attention/attention_key_backward_texture', 'keep * dp[TILE * r + l] - row_sum', 'keep * dp[TILE * r + l]'),
  attention('quads of other lanes', 'attention/tiles', 'min(d + lane / TILE, HEAD4 - 1u)', 'd'),
  attention('outputs that keep their old scale', 'attention/tiles', '*= (*factor)[r]', '*= 1.0'),
  attention('one row of a lane stored for all', 'attention/attention_query_backward_texture', 'first + LANES * (x / HEAD4);', 'first;'),
  product('rows beyond the last stored', 'matmul/matmul_forward_texture', 'min(ROWS, p.M - row0)', 'ROWS'),
  product('what lies beyond the last k counted', 'matmul/tail', 'select(vec4f(0.0), value, k < p.K)', 'value'),
  product('a batch at the wrong place', 'matmul/matmul_forward_texture', 'select(p.K * n4s, p.N * k4s, TRANS_B)', 'select(p.N * n4s, p.N * k4s, TRANS_B)'),
  op('linear')('a bias gradient that does not add up', 'matmul/matmul_forward_texture', 'if (ACCUMULATE) { sum += sums[row]; }', ''),
  product('rows of a block in another order', 'matmul/matmul_forward_layers', '4u * r + k / 4u', '4u * r + k % 4u'),
  product('a layer at the wrong place', 'matmul/layers', 'column4 >> 4u', 'column4 >> 5u'),
  product('rows beyond the end of a strip stored', 'matmul/matmul_forward_panel', 'p.accumulate == 0u && m + 4u <= end', 'p.accumulate == 0u'),
  product('a part of the sum left out', 'matmul/matmul_forward_panel', 'if (p.K > k0)', 'if (p.K > 2u * k0)'),
  product('sums that lose a k', 'matmul/matmul_forward_layers', 'inside(k + 3u, quad(a, row4, k + 3u))', 'inside(k + 4u, quad(a, row4, k + 3u))'),
  product('rows cut at another length', 'matmul/pitch_forward', 'x[(row0 + row) * p.C + column]', 'x[(row0 + row) * p.P + column]'),
  tokens('a token too far', 'tokens/copy_tokens_forward', 'p.source + token - p.to', 'p.source + token'),
  op('mean_tokens')('a mean over all', 'tokens/mean_tokens_forward', 'f32(p.N - p.skip)', 'f32(p.N)'),
  op('softmax')('no maximum taken away', 'loss/softmax_backward', 'dy[base + c] - dot', 'dy[base + c]'),
  op('cross_entropy')('smoothing forgotten', 'loss/cross_entropy_backward', '+ p.smoothing / f32(p.K)', ''),
  op('dropout')('rate for 1 − rate', 'lib/random', '1.0 / (1.0 - rate)', '1.0 / rate'),
  op('gelu')('a sign', 'lib/gelu', 'x * 0.3989422804', '-x * 0.3989422804'),
  op('sum')('the last quad left out', 'reduce/sum_reduce', 'p.n % 4u != 0u && whole % p.threads == i', 'false'),
  op('add')('a period one too long', 'elementwise/periodic', 'i % p.period;', 'i % (p.period + 1u);'),
  optimizer('weight decay of everything', 'optimizer/adamw_step', 'i < p.decayed', 'true'),
  optimizer('eps inside of the root', 'optimizer/adamw_step', 'sqrt(second) / root_c2 + p.eps', 'sqrt(second / (root_c2 * root_c2) + p.eps)'),
  optimizer('a norm that is not a root', 'optimizer/clip_norm_step', 'sqrt(total)', 'total'),
  health('NaN not looked for', 'optimizer/non_finite_reduce', 'any(bad)', 'false'),
];
