/** What TensorBoard shows of a run: a file of events in the run directory for each time that it was started. */
import { readdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { AppendLog } from '../io/append_log.js';
import { encodeEvent, FILE_VERSION, type TfEvent } from '../io/tfevents.js';

const PREFIX = 'events.out.tfevents.';

export class EventsLog {
  private constructor(private readonly log: AppendLog) {}

  /** Whether a file of a run directory is one of events, by its name. */
  static isOne(name: string): boolean {
    return name.startsWith(PREFIX);
  }

  /**
   * A new file in `folder`, for a run of which `step` steps are done. Earlier files stay as they are: the session that
   * starts at the next step makes TensorBoard drop what they say of it and of later ones (SummaryWriter's `purge_step`).
   */
  static start(folder: string, step: number, now = Date.now()): EventsLog {
    // Readers take the files in the order of their names: the second, then the count, for two starts within one second.
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

  /** Writes what was added. A crash leaves whole records and at most one cut short at the end, which readers expect. */
  flush(): void {
    this.log.flush();
  }

  private append(event: TfEvent): void {
    this.log.add(encodeEvent(event));
  }
}
