/** A status line: the last line of a terminal, which is rewritten in place. */

export type TerminalStream = Pick<NodeJS.WriteStream, 'write' | 'columns'>;

/** Ten redraws a second look smooth, and a slow terminal (ssh) keeps up with them. */
const MILLISECONDS_BETWEEN_DRAWS = 100;

/** Columns left free for two `^C`, which a terminal echoes at the cursor: a line that wraps cannot be cleared. */
const ROOM = 5;

/**
 * Does not hide the cursor and does not switch off line wrapping, because a killed process could not switch them on again.
 * Does not depend on the position on the screen, so Ctrl-Z, `fg` and other output do no harm.
 */
export class StatusLine {
  private text = '';
  private drawnAt = Number.NEGATIVE_INFINITY;

  constructor(private readonly stream: TerminalStream) {}

  /** Replaces the shown text. Without `now`, it is drawn only if the last drawing was 100 ms ago or more. */
  show(text: string, now = false): void {
    this.text = text;
    if (now || performance.now() - this.drawnAt >= MILLISECONDS_BETWEEN_DRAWS) this.draw();
  }

  /** Prints a permanent line above the status line. */
  print(sentence: string): void {
    const { text } = this;
    this.clear();
    this.stream.write(`${sentence}\n`);
    if (text !== '') this.show(text, true);
  }

  /** Removes the status line. The cursor is then at the start of an empty line. */
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
