/** Identifying processes. PIDs are reused; a PID together with its start time is unique. */
import { readFileSync } from 'node:fs';
import { errorCode } from './atomic.js';

interface Status {
  /** One letter; Z for a zombie, which has ended but still has its PID. */
  readonly state: string;
  /** The ID of the boot, and the clock ticks from the boot to the start of the process. */
  readonly start: string;
}

/** State and start of a process on Linux (proc_pid_stat(5), fields 3 and 22); null on other systems or if hidden. */
function statusOf(pid: number): Status | null {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the command in parentheses, which may contain spaces and parentheses itself.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0] as string, start: `${boot} ${fields[19]}` };
  } catch {
    return null;
  }
}

/** Start of a process, as a text to compare; null if the system does not say. */
export const startOf = (pid: number): string | null => statusOf(pid)?.start ?? null;

/** True if a process with this PID, and with this start if it is known, is running. Also true if we cannot tell. */
export function isRunning(pid: number, start: string | null = null): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (errorCode(error) !== 'EPERM') return false; // EPERM: it belongs to another user.
  }
  const status = statusOf(pid);
  if (!status) return true;
  return status.state !== 'Z' && (start === null || start === status.start);
}
