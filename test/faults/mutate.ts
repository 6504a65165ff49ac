/** Damages files as a failing disk, a broken connection or a malicious person would. */
import type { Counter } from '../../src/core/rng.js';

export type Mutation = (bytes: Uint8Array, random: Counter) => Uint8Array;

const splice = (bytes: Uint8Array, at: number, removed: number, added: Uint8Array): Uint8Array => {
  const result = new Uint8Array(bytes.length - removed + added.length);
  result.set(bytes.subarray(0, at));
  result.set(added, at);
  result.set(bytes.subarray(at + removed), at + added.length);
  return result;
};

const part = (bytes: Uint8Array, random: Counter): [begin: number, length: number] => {
  const begin = random.below(bytes.length + 1);
  return [begin, Math.min(bytes.length - begin, 1 + random.below(64))];
};

function change(bytes: Uint8Array, random: Counter, change: (byte: number) => number): Uint8Array {
  if (bytes.length === 0) return bytes;
  const changed = bytes.slice();
  const at = random.below(bytes.length);
  changed[at] = change(changed[at] as number);
  return changed;
}

const NONE = new Uint8Array(0);
const ODD_BYTES = [0, 1, 0x20, 0x22, 0x7f, 0x80, 0xff];

const general: readonly Mutation[] = [
  (bytes, random) => change(bytes, random, (byte) => byte ^ (1 << random.below(8))),
  (bytes, random) => change(bytes, random, () => ODD_BYTES[random.below(ODD_BYTES.length)] as number),
  (bytes, random) => change(bytes, random, () => random.below(256)),
  (bytes, random) => bytes.slice(0, random.below(bytes.length + 1)),
  (bytes, random) => splice(bytes, ...part(bytes, random), NONE),
  (bytes, random) => {
    const [begin, length] = part(bytes, random);
    return splice(bytes, random.below(bytes.length + 1), 0, bytes.slice(begin, begin + length));
  },
  (bytes, random) => {
    const [begin, length] = part(bytes, random);
    return splice(bytes, begin, length, new Uint8Array(length).fill(random.below(256)));
  },
];

/** Writes one of `words` at a random place, over the bytes there or between them. */
export function words(...texts: readonly string[]): Mutation {
  const encoded = texts.map((text) => new TextEncoder().encode(text));
  return (bytes, random) => {
    const word = encoded[random.below(encoded.length)] as Uint8Array;
    const at = random.below(bytes.length + 1);
    const over = random.uniform() < 0.5 ? Math.min(word.length, bytes.length - at) : 0;
    return splice(bytes, at, over, word);
  };
}

const ODD_VALUES = [
  ...[
    '-1',
    '0',
    '1.5',
    '1e999',
    '9007199254740993',
    '18446744073709551616',
    'null',
    'true',
    '{}',
    '[]',
    '[0]',
  ],
  ...['""', '"0"', '"__proto__"', '"constructor"', '"\\u0000"', '"\\ud800"', '"F32"', '"cls"'],
];

/** Replaces a value or a key of JSON by an odd one or by one from elsewhere in the text. The result is still JSON. */
export const values: Mutation = (bytes, random) => {
  const text = Buffer.from(bytes).toString('latin1');
  const found = [...text.matchAll(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:e-?\d+)?|true|false|null/g)];
  const choices = [...ODD_VALUES, ...found.map(([value]) => value)];
  const old = found[random.below(found.length)];
  if (!old) return bytes;
  const value = choices[random.below(choices.length)] as string;
  return splice(bytes, old.index, old[0].length, Buffer.from(value, 'latin1'));
};

/** Mutates a safetensors header and corrects its length. */
export const inHeader =
  (mutation: Mutation): Mutation =>
  (bytes, random) => {
    if (bytes.length < 8) return bytes;
    const length = Math.min(
      new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true),
      bytes.length - 8,
    );
    const header = mutation(bytes.slice(8, 8 + length), random);
    const result = splice(bytes, 8, length, header);
    new DataView(result.buffer).setUint32(0, header.length, true);
    return result;
  };

/** Mutates one block of a tar archive. */
export const inBlock =
  (mutation: Mutation): Mutation =>
  (bytes, random) => {
    const at = 512 * random.below(Math.ceil(bytes.length / 512));
    const changed = mutation(bytes.slice(at, at + 512), random);
    const result = bytes.slice();
    result.set(changed.subarray(0, Math.min(512, bytes.length - at)), at);
    return result;
  };

/** Applies a general or a format-specific mutation, sometimes several. */
export function mutate(bytes: Uint8Array, random: Counter, own: readonly Mutation[] = []): Uint8Array {
  const once = (before: Uint8Array): Uint8Array => {
    const from = own.length > 0 && random.uniform() < 0.6 ? own : general;
    return (from[random.below(from.length)] as Mutation)(before, random);
  };
  // slice() of a Buffer does not copy.
  let result = once(new Uint8Array(bytes));
  while (random.uniform() < 0.3) result = once(result);
  return result;
}
