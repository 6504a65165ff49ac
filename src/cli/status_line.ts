/** The last line of a terminal, written over as often as what it says changes. */

export type TerminalStream = Pick<NodeJS.WriteStream, 'write' | 'columns'>;

/** Less often than this nobody sees a difference, and slow terminals (ssh) keep up. */
const MILLISECONDS_BETWEEN_DRAWS = 100;

/** Columns left free: a terminal echoes `^C` at the cursor, and a second time, and a line that wraps cannot be cleared. */
const ROOM = 5;

/**
 * The cursor stays visible and lines keep wrapping: a process that is killed could not restore what it switched off.
 * Nothing depends on where on the screen the line is, so that Ctrl-Z, `fg` and whatever else writes there do no harm.
 */
export class StatusLine {
  private text = '';
  private drawnAt = Number.NEGATIVE_INFINITY;

  constructor(private readonly stream: TerminalStream) {}

  /** Shows `text` in the place of what was shown. `now` draws it even if the last one has just been drawn. */
  show(text: string, now = false): void {
    this.text = text;
    if (now || performance.now() - this.drawnAt >= MILLISECONDS_BETWEEN_DRAWS) this.draw();
  }

  /** Prints a line that stays, above the one that is shown. */
  print(sentence: string): void {
    const { text } = this;
    this.clear();
    this.stream.write(`${sentence}\n`);
    if (text !== '') this.show(text, true);
  }

  /** The cursor is then at the start of an empty line. */
  clear(): void {
    if (this.text === '') return;
    this.text = '';
    this.stream.write('\r\x1b[K');
  }

  private draw(): void {
    this.drawnAt = performance.now();
    const fitting = [...this.text].slice(0, (this.stream.columns || 80) - ROOM);
    this.stream.write(`\r${fitting.join('')}\x1b[K`);
  }
}
