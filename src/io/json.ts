/** JSON from outside, without what JSON.parse lets pass: two equal keys, of which it keeps the last, and `__proto__`. */

/** Throws a sentence of what is wrong, before which the caller puts the file. */
export type Fail = (sentence: string) => never;

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The value of `bytes`; `what` names them in what is said to `fail`: `the header is not JSON`. */
export function parseJson(bytes: Uint8Array, what: string, fail: Fail): unknown {
  let text = '';
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    fail(`${what} is not UTF-8.`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    fail(`${what} is not JSON: ${(error as Error).message}.`);
  }
  refuseOddKeys(text, what, fail);
  return value;
}

/** Known to be valid JSON, the text is scanned once more: a string is a key exactly when a colon follows it. */
function refuseOddKeys(text: string, what: string, fail: Fail): void {
  const objects: Set<string>[] = [];
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '{') objects.push(new Set());
    else if (text[i] === '}') objects.pop();
    if (text[i] !== '"') continue;
    const begin = i++;
    while (text[i] !== '"') i += text[i] === '\\' ? 2 : 1;
    let next = i + 1;
    while (' \t\r\n'.includes(text[next] as string)) next++;
    if (text[next] !== ':') continue;
    const raw = text.slice(begin + 1, i);
    const key = raw.includes('\\') ? (JSON.parse(`"${raw}"`) as string) : raw;
    if (key === '__proto__') fail(`the key __proto__ is not allowed in ${what}.`);
    if (objects.at(-1)?.has(key)) fail(`the key ${key} appears twice in one object of ${what}.`);
    objects.at(-1)?.add(key);
  }
}
