/** Scopes free what is not returned, so that formulas carry no bookkeeping. */

export interface Releasable {
  release(): void;
}

let current: Set<Releasable> | null = null;
let owner: Set<Releasable> | null = null;

/** Gives a new tensor to the scope it is made in. */
export function adopt(tensor: Releasable): void {
  current?.add(tensor);
}

/**
 * Runs `body`, then releases every tensor made in it except those it returns (a tensor, an array of them, or an object
 * with tensors as values), which go to the scope outside, or to the caller where there is none. Synchronous only.
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

/** Takes a tensor out of every scope: the caller releases it, or who owns what the caller made. */
export function keep<T extends Releasable>(tensor: T): T {
  current?.delete(tensor);
  owner?.add(tensor);
  return tensor;
}

/** Something made of tensors that it keeps, and what releases them all. */
export interface Owned<T> {
  readonly made: T;
  readonly release: () => void;
}

/**
 * Runs `body` in a scope and collects what it keeps, for one to release it who knows nothing of its parts. Where it throws,
 * nothing is left of it. What it keeps, it must not release itself.
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
