/** Resizing of grids and of patch weights, against torch.nn.functional.interpolate and numpy.linalg.pinv. */
import { describe, expect, it } from 'vitest';
import { resizeGrids, resizing, weightResizing } from '../src/core/resize.js';

/** Rows of the matrices, from PyTorch 1.13: interpolate(eye, mode='bicubic', antialias=True, align_corners=False). */
const AXES: readonly [number, number, readonly (readonly number[])[]][] = [
  [4, 8, [[1.088235, -0.088235, 0, 0], [0.810219, 0.211679, -0.021898, 0], [0.221374, 0.847328, -0.068702, 0], [-0.070312, 0.867188, 0.226562, -0.023438]]],
  [8, 4, [[0.464435, 0.464435, 0.121339, -0.037657, -0.012552, 0, 0, 0], [-0.034749, 0.111969, 0.428571, 0.428571, 0.111969, -0.034749, -0.011583, 0]]],
  [3, 5, [[1.075472, -0.075472, 0], [0.649254, 0.395522, -0.044776], [0, 1, 0]]],
  [6, 4, [[0.65534, 0.393204, -0.040453, -0.008091, 0, 0], [-0.038285, 0.372129, 0.620214, 0.087289, -0.041348, 0]]],
  [2, 2, [[1, 0], [0, 1]]],
]; // biome-ignore format: a size a line

const near = (actual: readonly number[], expected: readonly number[]) => {
  expect(actual).toHaveLength(expected.length);
  for (const [i, value] of expected.entries()) expect(actual[i]).toBeCloseTo(value, 5);
};

describe('an axis', () => {
  it.each(AXES)('of %i resized to %i is PyTorch’s', (from, to, rows) => {
    const matrix = resizing(from, to);
    expect(matrix).toHaveLength(to);
    for (const [i, row] of rows.entries()) near(matrix[i] as number[], row);
    // The kernel is symmetric, so the last rows are the first ones from behind.
    for (const [i, row] of rows.entries()) near([...(matrix[to - 1 - i] as number[])].reverse(), row);
  });
});

it('a grid of vectors is resized as PyTorch resizes it', () => {
  const values = Float32Array.from({ length: 2 * 3 * 4 }, (_, i) => i ** 1.5);
  const grid = [...resizeGrids(values, 1, [resizing(2, 4), resizing(3, 5)], 4)];
  expect(grid).toHaveLength(4 * 5 * 4);
  near(
    grid.slice(0, 8),
    [-4.175547, -3.729033, -2.359107, -0.401047, -1.920738, -0.547965, 1.525043, 4.082519],
  );
  for (const [i, value] of [97.330414, 104.384642, 111.593998, 118.95552].entries())
    expect(grid[76 + i]).toBeCloseTo(value, 4);
});

describe('weights of a patch', () => {
  const weights = (n: number) => Float32Array.from({ length: n }, (_, i) => i ** 1.3);

  it.each([
    [
      [4, 4],
      [2, 2],
      [2.048561, 18.448175, 87.636135, 115.865519],
    ],
    [
      [2, 3],
      [4, 6],
      [-0.203392, -0.158879, -0.064756, 0.097679, 0.307084, 0.405989],
    ],
  ] as const)('of %j pixels resized to %j are timm’s resample_patch_embed', (from, to, expected) => {
    const axes = [weightResizing(from[0], to[0]), weightResizing(from[1], to[1])] as const;
    const resized = [...resizeGrids(weights(from[0] * from[1]), 1, axes, 1)];
    expect(resized).toHaveLength(to[0] * to[1]);
    for (const [i, value] of expected.entries()) expect(resized[i]).toBeCloseTo(value, 4);
  });

  it('give the same embedding of an enlarged patch', () => {
    const axes = [weightResizing(4, 8), weightResizing(4, 8)] as const;
    const patch = Float32Array.from({ length: 16 }, (_, i) => Math.sin(i));
    const larger = resizeGrids(patch, 1, [resizing(4, 8), resizing(4, 8)], 1);
    const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, x, i) => sum + x * (b[i] as number), 0);
    const before = dot(weights(16), patch);
    expect(dot(resizeGrids(weights(16), 1, axes, 1), larger)).toBeCloseTo(before, 3);
  });
});
