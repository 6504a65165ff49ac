/** Mesa's CPU driver with vectors of other widths than this processor's default: 128 bits are an ARM processor's own. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { withBuild } from './faults/commands.js';
import { withGpu } from './gpu.js';

withBuild();
const gpuOf = withGpu();
const folder = mkdtempSync(join(tmpdir(), 'patchlight-'));
afterAll(() => rmSync(folder, { recursive: true }));

// Few, because every kernel is compiled anew.
const CHECKS =
  '^(linear .*bias=true( residual=true)?|attention passes \\(1, (7|33), 3, \\d, \\d+\\)|layer_norm \\(3, 7\\) .*\\d)$';

it.each([4, 8])('%i lanes: products, attention and LayerNorm are right', (lanes) => {
  const { info } = gpuOf();
  if (info.vendor !== 'mesa' || !info.software || info.lanes === lanes) return; // other tests run at the default
  const json = join(folder, `${lanes}.json`);
  const { status, stderr } = spawnSync(
    process.execPath,
    ['dist/check.js', '--filter', CHECKS, '--json', json],
    {
      encoding: 'utf8',
      env: {
        ...process.env,
        LP_NATIVE_VECTOR_WIDTH: `${32 * lanes}`,
        MESA_SHADER_CACHE_DIR: join(folder, `mesa-${lanes}`), // Mesa's cache does not distinguish the widths
      },
    },
  );
  expect(status, stderr).toBe(0);
  const { rows } = JSON.parse(readFileSync(json, 'utf8')) as {
    rows: { variant: string; problems: string[] }[];
  };
  const variants = new Set(rows.map(({ variant }) => variant.split(' ')[0]));
  expect(variants).toContain('matmul_forward_texture');
  expect(variants).toContain('attention_forward_texture');
  expect(rows.flatMap(({ problems }) => problems)).toEqual([]);
});
