/** The matrix units of an adapter that kernels can use. Pure. */
import type { AdapterInfo, SubgroupMatrixConfig } from '../gpu/device.js';

const BITS: Readonly<Record<string, number>> = { f16: 16, f32: 32 };

/** Bits of an element of an operand. */
export const bitsOf = ({ componentType }: SubgroupMatrixConfig): number => BITS[componentType] as number;

/** The adapter's matrices that serve, best first: f32 results, sizes that divide the tiles; those of float32 for f16 too. */
export function usable(adapter: AdapterInfo, half = false): SubgroupMatrixConfig[] {
  // Matrices need full subgroups of a size that is known, and the kernels' text may need f16 whatever they multiply.
  if (adapter.lanes === 0 || !adapter.features.has('shader-f16')) return [];
  const components = half ? ['f16', 'f32'] : ['f32'];
  return adapter.subgroupMatrix
    .filter(({ componentType, resultComponentType, M, N, K }) => {
      const divides = 32 % M === 0 && 16 % N === 0 && 16 % K === 0 && Math.min(M, N, K) >= 4;
      return components.includes(componentType) && resultComponentType === 'f32' && divides;
    })
    .toSorted(
      (a, b) =>
        components.indexOf(a.componentType) - components.indexOf(b.componentType) ||
        b.M * b.N * b.K - a.M * a.N * a.K,
    );
}
