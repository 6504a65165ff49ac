/** Emulates a terminal's screen: as much of a VT100 as command lines use. */

export interface Screen {
  /** Rows from the top, without spaces at their ends. Nothing scrolls away. */
  readonly lines: readonly string[];
  /** The cursor: row and column of the next character, from 0. */
  readonly column: number;
  readonly cursorVisible: boolean;
  readonly wraps: boolean;
  /** Escape sequences that this screen does not know. */
  readonly unknown: readonly string[];
}

/** True if a shell could continue: the cursor is visible, lines wrap, and the prompt would start a line. */
export const isRestored = ({ column, cursorVisible, wraps }: Screen): boolean =>
  cursorVisible && wraps && column === 0;

// CSI sequences (ECMA-48, section 5.4), escapes of two characters, and anything else one character at a time.
const ESC = String.fromCharCode(27);
const TOKEN = new RegExp(`${ESC}\\[([?\\d;]*)([@-~])|${ESC}(.)|[\\s\\S]`, 'gu');

class Cells {
  readonly rows: string[][] = [[]];
  row = 0;
  column = 0;

  get current(): string[] {
    while (this.rows.length <= this.row) this.rows.push([]);
    return this.rows[this.row] as string[];
  }

  put(character: string): void {
    const cells = this.current;
    while (cells.length < this.column) cells.push(' ');
    cells[this.column++] = character;
  }
}

/** The screen of a terminal with `columns` columns after `bytes`, whose lines end with `\r\n`. */
export function readScreen(bytes: string, columns: number): Screen {
  const cells = new Cells();
  let saved = { row: 0, column: 0 };
  let [cursorVisible, wraps] = [true, true];
  const unknown: string[] = [];

  const put = (character: string) => {
    if (cells.column === columns) {
      if (wraps) {
        cells.row++;
        cells.column = 0;
      } else cells.column = columns - 1;
    }
    cells.put(character);
  };
  const erase = (how: string) => {
    if (how === '1' || how === '2') cells.current.fill(' ', 0, cells.column + 1);
    if (how !== '1') cells.current.length = Math.min(cells.current.length, cells.column);
  };
  const setMode = (mode: string, on: boolean) => {
    if (mode === '?25') cursorVisible = on;
    else if (mode === '?7') wraps = on;
    else unknown.push(`${mode}${on ? 'h' : 'l'}`);
  };
  const control = (parameter: string, final: string) => {
    if (final === 'h' || final === 'l') setMode(parameter, final === 'h');
    else if (final === 'K') erase(parameter);
    else if (final === 'G') cells.column = Math.max(1, Number(parameter)) - 1;
    else unknown.push(`[${parameter}${final}`);
  };

  for (const [token, parameter = '', final, two] of bytes.matchAll(TOKEN)) {
    if (final) control(parameter, final);
    else if (two === '7') saved = { row: cells.row, column: cells.column };
    else if (two === '8') [cells.row, cells.column] = [saved.row, saved.column];
    else if (two) unknown.push(two);
    else if (token === '\r') cells.column = 0;
    else if (token === '\n') cells.row++;
    else if (token === '\b') cells.column = Math.max(0, cells.column - 1);
    else put(token);
  }
  const lines = cells.rows.map((row) => row.join('').trimEnd());
  return { lines, column: cells.column, cursorVisible, wraps, unknown };
}
