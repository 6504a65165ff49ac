// The host's own peak: peak.c, compiled for this processor and run on all cores.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const source = fileURLToPath(new URL('peak.c', import.meta.url));
const SECONDS = 60;

/** `{fused, apart}` in GFLOP/s, or `{reason}`. */
export function hostPeak(compiler = 'cc') {
  const folder = mkdtempSync(join(tmpdir(), 'patchlight-peak-'));
  try {
    const program = join(folder, 'peak');
    const limits = { encoding: 'utf8', timeout: 1000 * SECONDS };
    const built = spawnSync(compiler, ['-O3', '-march=native', '-pthread', source, '-o', program], limits);
    if (built.error?.code === 'ENOENT') return { reason: `there is no C compiler ${compiler}` };
    if (built.status !== 0) return { reason: `${compiler} does not compile peak.c here` };
    const { status, signal, stdout } = spawnSync(program, [String(availableParallelism())], limits);
    return status === 0 ? JSON.parse(stdout) : { reason: `peak.c ended with ${status ?? signal}` };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
