/** The values of a kernel's whole-number constants, such as `const DOWN = TILE_M / 2u / SM;`, after tuning. */

const DECLARED = /^ *const (\w+) = ([^;]+);/gm;
const TOKEN = /\s*(\d+(?=u?\b)|\w+|[-+*/%(),])u?/gy;

type Lookup = (name: string) => number | undefined;

/** The value of an expression of whole numbers, + - * / %, min, max and names; undefined if it is anything else. */
export function evaluate(expression: string, lookup: Lookup): number | undefined {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  let end = 0;
  for (let match = TOKEN.exec(expression); match; match = TOKEN.exec(expression)) {
    tokens.push(match[1] as string);
    end = TOKEN.lastIndex;
  }
  if (expression.slice(end).trim() !== '') return undefined;
  const value = new Expression(tokens, lookup).whole();
  return Number.isInteger(value) && value >= 0 ? value : undefined;
}

/** Looks up the constants of `source`, each evaluated at its first use. Two of one name with different texts have no value. */
export function constantsOf(source: string): Lookup {
  const texts = new Map<string, string | undefined>();
  for (const [, name, text] of source.matchAll(DECLARED) as Iterable<[string, string, string]>)
    texts.set(name, texts.has(name) && texts.get(name) !== text ? undefined : text);
  const values = new Map<string, number | undefined>();
  const lookup: Lookup = (name) => {
    if (!values.has(name)) {
      values.set(name, undefined); // a constant that needs itself has no value
      const text = texts.get(name);
      if (text !== undefined) values.set(name, evaluate(text, lookup));
    }
    return values.get(name);
  };
  return lookup;
}

/** Recursive descent. NaN stands for an expression that is not understood. */
class Expression {
  private at = 0;

  constructor(
    private readonly tokens: readonly string[],
    private readonly lookup: Lookup,
  ) {}

  whole(): number {
    const value = this.sum();
    return this.at === this.tokens.length ? value : Number.NaN;
  }

  private sum(): number {
    let value = this.product();
    while (this.peek('+', '-')) value += this.next() === '+' ? this.product() : -this.product();
    return value;
  }

  private product(): number {
    let value = this.factor();
    while (this.peek('*', '/', '%')) {
      const sign = this.next();
      const other = this.factor();
      value = sign === '*' ? value * other : sign === '/' ? Math.floor(value / other) : value % other;
    }
    return value;
  }

  private factor(): number {
    const token = this.next() ?? '';
    if (token === '(') return this.closed(this.sum());
    if (/^\d+$/.test(token)) return Number(token);
    if (!this.peek('(')) return this.lookup(token) ?? Number.NaN;
    this.next();
    const left = this.sum();
    if (this.next() !== ',') return Number.NaN;
    const right = this.closed(this.sum());
    return token === 'max' ? Math.max(left, right) : token === 'min' ? Math.min(left, right) : Number.NaN;
  }

  private closed(value: number): number {
    return this.next() === ')' ? value : Number.NaN;
  }

  private peek(...tokens: readonly string[]): boolean {
    return tokens.includes(this.tokens[this.at] ?? '');
  }

  private next(): string | undefined {
    return this.tokens[this.at++];
  }
}
