/** Small pictures on canvases: images of bytes, and maps of values. The style sheet enlarges them without interpolation. */
import { useEffect, useRef } from 'preact/hooks';

type Rgb = readonly [number, number, number];

interface CanvasProps {
  readonly width: number;
  readonly height: number;
  /** The picture in words. Empty for one that adds nothing for a reader of the screen. */
  readonly label: string;
  /** Changes if the picture has changed. */
  readonly of: unknown;
  readonly colour: (x: number, y: number) => Rgb;
}

function Picture({ width, height, label, of, colour }: CanvasProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const context = canvas.current?.getContext('2d');
    if (!context) return;
    const image = context.createImageData(width, height);
    for (let at = 0; at < width * height; at++)
      image.data.set([...colour(at % width, Math.floor(at / width)), 255], 4 * at);
    context.putImageData(image, 0, 0);
  }, [of, width, height]);
  return (
    <canvas
      ref={canvas}
      {...{ width, height }}
      class="pixels"
      {...(label ? { role: 'img', 'aria-label': label } : { 'aria-hidden': true })}
    />
  );
}

/** An image of bytes (3, size, size). */
export function Pixels({ planes, label = '' }: { readonly planes: Uint8Array; readonly label?: string }) {
  const plane = planes.length / 3;
  const size = Math.sqrt(plane);
  return (
    <Picture
      {...{ width: size, height: size, label, of: planes }}
      colour={(x, y) => {
        const at = y * size + x;
        return [planes[at]!, planes[plane + at]!, planes[2 * plane + at]!];
      }}
    />
  );
}

/** Dark blue over red to pale yellow, of increasing lightness: also colour-blind people can order it. */
const RAMP: readonly Rgb[] = [
  [14, 16, 44],
  [74, 36, 110],
  [170, 52, 96],
  [232, 112, 60],
  [252, 206, 124],
  [255, 250, 224],
];

function ramp(value: number): Rgb {
  const at = Math.min(1, Math.max(0, value)) * (RAMP.length - 1);
  const low = Math.min(RAMP.length - 2, Math.floor(at));
  const [from, to] = [RAMP[low]!, RAMP[low + 1]!];
  return [0, 1, 2].map((c) => from[c]! + (at - low) * (to[c]! - from[c]!)) as unknown as Rgb;
}

export interface MapProps {
  readonly values: ArrayLike<number>;
  readonly columns: number;
  readonly label: string;
  /** The values that are darkest and lightest; those of the map itself if absent. */
  readonly range?: readonly [number, number];
}

/** A map of values, row by row: dark for the least, light for the most. */
export function Heat({ values, columns, label, range }: MapProps) {
  const all = Array.from(values);
  const [low, high] = range ?? [Math.min(...all), Math.max(...all)];
  return (
    <Picture
      {...{ width: columns, height: values.length / columns, label, of: values }}
      colour={(x, y) => ramp(high > low ? (values[y * columns + x]! - low) / (high - low) : 0)}
    />
  );
}

/** A filter (3, size, size) of real numbers as a colour picture: grey is zero. */
export function Filter({ weights, label }: { readonly weights: Float32Array; readonly label: string }) {
  const plane = weights.length / 3;
  const size = Math.sqrt(plane);
  const most = weights.reduce((max, value) => Math.max(max, Math.abs(value)), 1e-9);
  const shade = (c: number, at: number) => 127.5 + (127.5 * weights[c * plane + at]!) / most;
  return (
    <Picture
      {...{ width: size, height: size, label, of: weights }}
      colour={(x, y) => [shade(0, y * size + x), shade(1, y * size + x), shade(2, y * size + x)]}
    />
  );
}
