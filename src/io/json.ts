/** Strict JSON for files from outside. Unlike JSON.parse, it refuses duplicate keys and the key `__proto__`. */

/** Throws an error with this sentence; the caller puts the file's name before it. */
export type Fail = (sentence: string) => never;

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Parses `bytes`. `what` names them in the sentences for `fail`, as in `the header is not JSON`. */
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

/** Scans valid JSON for its keys: a string is a key exactly if a colon follows it. */
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
