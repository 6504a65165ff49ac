// The host's own peak, by a C program that this machine's compiler makes: registers alone, all cores.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const source = fileURLToPath(new URL('peak.c', import.meta.url));
const native = process.arch === 'arm64' ? '-mcpu=native' : '-march=native';

/** GFLOP/s of multiply-adds, fused and apart: {fused, apart}, or {reason} where there is no compiler. */
export function hostPeak(compiler = process.env.CC ?? 'cc') {
  const folder = mkdtempSync(join(tmpdir(), 'patchlight-peak-'));
  const measured = (contraction) => {
    const program = join(folder, contraction);
    const flags = ['-O3', native, `-ffp-contract=${contraction}`, '-o', program, source, '-lpthread'];
    const { status, error, stderr } = spawnSync(compiler, flags, { encoding: 'utf8' });
    if (status !== 0) throw new Error(error ? `no C compiler (${error.code})` : stderr.trim().split('\n')[0]);
    return Number(spawnSync(program, { encoding: 'utf8' }).stdout);
  };
  try {
    return { fused: measured('fast'), apart: measured('off') };
  } catch ({ message }) {
    return { reason: message };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The peak as a line of the table's notes. */
export const peakLine = ({ fused, apart, reason }) =>
  reason
    ? `- The host's peak is not known: ${reason}.`
    : `- The host's peak, in registers alone: ${fused.toFixed(0)} GFLOP/s fused, ${apart.toFixed(0)} with multiply and add apart.`;
