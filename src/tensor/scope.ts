/** Scopes release the tensors that a function does not return, so that formulas contain no bookkeeping. */

export interface Releasable {
  /** Gives the memory back. */
  release(): void;
}

let current: Set<Releasable> | null = null;
let owner: Set<Releasable> | null = null;

/** Registers a new tensor with the current scope. */
export function adopt(tensor: Releasable): void {
  current?.add(tensor);
}

/**
 * Runs `body`, then releases every tensor made in it except those it returns (a tensor, an array of them, or an object
 * with tensors as values). Those belong to the outer scope, or to the caller if there is none. Synchronous only.
 */
export function scope<T>(body: () => T): T {
  const outer = current;
  const mine = new Set<Releasable>();
  current = mine;
  try {
    const result = body();
    for (const kept of returned(result)) if (mine.delete(kept)) outer?.add(kept);
    return result;
  } finally {
    current = outer;
    for (const tensor of mine) tensor.release();
  }
}

/** Removes a tensor from its scope. The caller, or the owner of the caller's result, must release it. */
export function keep<T extends Releasable>(tensor: T): T {
  current?.delete(tensor);
  owner?.add(tensor);
  return tensor;
}

/** A result, and a function that releases all tensors that it keeps. */
export interface Owned<T> {
  readonly made: T;
  readonly release: () => void;
}

/**
 * Runs `body` in a scope. Returns its result and a function that releases every tensor that `body` kept (by `keep`). If
 * `body` throws, those are released. `body` must not release them itself.
 */
export function owned<T>(body: () => T): Owned<T> {
  const outer = owner;
  const mine = new Set<Releasable>();
  owner = mine;
  const release = () => {
    for (const tensor of mine) tensor.release();
    mine.clear();
  };
  try {
    return { made: scope(body), release };
  } catch (error) {
    release();
    throw error;
  } finally {
    owner = outer;
  }
}

function returned(result: unknown): Releasable[] {
  if (typeof result !== 'object' || result === null) return [];
  if ('release' in result) return [result as Releasable];
  return Object.values(result).flatMap((value) =>
    typeof value === 'object' && value !== null && 'release' in value ? [value as Releasable] : [],
  );
}
