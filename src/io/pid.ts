/** Which process is which: numbers are given again, a number with the time of its start is not. */
import { readFileSync } from 'node:fs';
import { errorCode } from './atomic.js';

interface Status {
  /** One letter; Z for one that has ended and that its parent has not asked about. */
  readonly state: string;
  /** The boot and the clock ticks from it to the start of the process. */
  readonly start: string;
}

/** What Linux says of a process (proc_pid_stat(5), fields 3 and 22); null elsewhere, or where it is hidden. */
function statusOf(pid: number): Status | null {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the command in parentheses, which may hold anything.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0] as string, start: `${boot} ${fields[19]}` };
  } catch {
    return null;
  }
}

/** When the process started, as something to compare; null where the system does not say. */
export const startOf = (pid: number): string | null => statusOf(pid)?.start ?? null;

/** Whether the process of this number, and of this start where it is known, is there. In doubt it is. */
export function isRunning(pid: number, start: string | null = null): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (errorCode(error) !== 'EPERM') return false; // EPERM: it is someone else's.
  }
  const status = statusOf(pid);
  if (!status) return true;
  return status.state !== 'Z' && (start === null || start === status.start);
}
