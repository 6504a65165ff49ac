/** The scalars for TensorBoard. Each start of a run writes a new event file into the run directory. */
import { readdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { AppendLog } from '../io/append_log.js';
import { encodeEvent, FILE_VERSION, type TfEvent } from '../io/tfevents.js';

const PREFIX = 'events.out.tfevents.';

export class EventsLog {
  private constructor(private readonly log: AppendLog) {}

  /** True if a file of a run directory is an event file, by its name. */
  static isOne(name: string): boolean {
    return name.startsWith(PREFIX);
  }

  /**
   * Creates a new file in `folder` for a run that has done `step` steps. Earlier files stay as they are: the start of a
   * session at the next step makes TensorBoard drop their events from that step on (SummaryWriter's `purge_step`).
   */
  static start(folder: string, step: number, now = Date.now()): EventsLog {
    // Readers sort the files by name. The name has the time in seconds, then a count for two starts within one second.
    const count = readdirSync(folder).filter(EventsLog.isOne).length;
    const host = hostname().replace(/[^\w-]+/g, '-');
    const name = `${PREFIX}${Math.floor(now / 1000)}.${host}.${String(count).padStart(4, '0')}`;
    const log = new EventsLog(new AppendLog(join(folder, name)));
    log.append({ wallTime: now / 1000, step: 0, fileVersion: FILE_VERSION });
    if (count > 0) log.append({ wallTime: now / 1000, step: step + 1, sessionStart: true });
    log.flush();
    return log;
  }

  add(step: number, scalars: Readonly<Record<string, number>>): void {
    this.append({ wallTime: Date.now() / 1000, step, scalars });
  }

  /** Writes the added records to disk. A crash may cut the last record short, which readers expect. */
  flush(): void {
    this.log.flush();
  }

  private append(event: TfEvent): void {
    this.log.add(encodeEvent(event));
  }
}
