/**
 * Every error a user can meet. The message is one sentence that names the thing and what was expected:
 * `[matmul] last axis of a (64, 192) must equal first axis of b (128, 768).`
 * The command lines print the message alone; anything that is not a PatchlightError is a bug and keeps its stack.
 */
export class PatchlightError extends Error {
  override name = 'PatchlightError';
}

const MOST_CHARACTERS = 1000;

/**
 * Makes text from a file safe to quote in a message: characters that would end the line or steer a terminal are written
 * as `\\u001b`, and a long text loses its middle.
 */
function oneLine(text: string): string {
  const kept =
    text.length > MOST_CHARACTERS
      ? `${text.slice(0, MOST_CHARACTERS / 2)} ... ${text.slice(-MOST_CHARACTERS / 2)}`
      : text;
  return kept.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (odd) =>
    Array.from(
      { length: odd.length },
      (_, i) => `\\u${odd.charCodeAt(i).toString(16).padStart(4, '0')}`,
    ).join(''),
  );
}

/** Shapes or sizes that an operation cannot work with. */
export class ShapeError extends PatchlightError {
  override name = 'ShapeError';
  constructor(
    readonly op: string,
    sentence: string,
  ) {
    super(`[${op}] ${sentence}`);
  }
}

/** A file that is not what it should be; `file` is the path as the user gave it. */
export class FormatError extends PatchlightError {
  override name = 'FormatError';
  constructor(
    readonly file: string,
    sentence: string,
  ) {
    super(oneLine(`${file}: ${sentence}`));
  }
}

/**
 * A write that the system refused. `needed` is the file's bytes, `available` those that were free on its disk
 * (undefined where the system does not say).
 */
export class DiskError extends PatchlightError {
  override name = 'DiskError';
  constructor(
    readonly path: string,
    readonly code: string | undefined,
    readonly needed: number,
    readonly available: number | undefined,
    sentence: string,
  ) {
    super(oneLine(sentence));
  }
}

/** A flag, a config field or a combination of them that is not possible. */
export class ConfigError extends PatchlightError {
  override name = 'ConfigError';
  constructor(sentence: string) {
    super(oneLine(sentence));
  }
}

/** No adapter, no such adapter, or the adapter lacks what was asked for. */
export class AdapterError extends PatchlightError {
  override name = 'AdapterError';
}

/** The device was lost (driver reset, unplugged, destroyed): nothing more can run on it. */
export class DeviceLostError extends PatchlightError {
  override name = 'DeviceLostError';
  constructor(
    sentence: string,
    /** True if we closed the device ourselves; then no other device is opened. */
    readonly closed: boolean,
  ) {
    super(sentence);
  }
}

/** A buffer would exceed the budget or the adapter could not allocate it. */
export class OutOfMemoryError extends PatchlightError {
  override name = 'OutOfMemoryError';
}

/** More than the adapter allows at once: workgroups of a dispatch, bytes of a binding, bindings or parameters of a kernel. */
export class LimitError extends PatchlightError {
  override name = 'LimitError';
}

/** Work was asked to end before it was done. */
export class InterruptedError extends PatchlightError {
  override name = 'InterruptedError';
}

/** A loss, gradient or parameter became NaN or infinite. */
export class NonFiniteError extends PatchlightError {
  override name = 'NonFiniteError';
}

/** WGSL that does not compile, or a dispatch that WebGPU's validation refused: a bug in the program, not in its use. */
export class KernelError extends PatchlightError {
  override name = 'KernelError';
}
