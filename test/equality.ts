/**
 * Runs before each test file: `toEqual` compares typed arrays of the same bytes at once. Its own way, an element at a time,
 * takes seconds for a megabyte, and is left to arrays that differ.
 */
import { expect } from 'vitest';

const bytes = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Buffer =>
  Buffer.from(buffer, byteOffset, byteLength);

expect.addEqualityTesters([
  (a: unknown, b: unknown) => {
    if (!ArrayBuffer.isView(a) || !ArrayBuffer.isView(b) || a.constructor !== b.constructor) return undefined;
    return bytes(a).equals(bytes(b)) ? true : undefined;
  },
]);
