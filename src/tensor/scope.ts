/** Scopes free what is not returned, so that formulas carry no bookkeeping. */

export interface Releasable {
  release(): void;
}

let current: Set<Releasable> | null = null;

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

/** Takes a tensor out of every scope: the caller releases it. */
export function keep<T extends Releasable>(tensor: T): T {
  current?.delete(tensor);
  return tensor;
}

function returned(result: unknown): Releasable[] {
  if (typeof result !== 'object' || result === null) return [];
  if ('release' in result) return [result as Releasable];
  return Object.values(result).flatMap((value) =>
    typeof value === 'object' && value !== null && 'release' in value ? [value as Releasable] : [],
  );
}
