/** The visitor's own picture: drawn, dropped, pasted or chosen. The model classifies it while it trains. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { chosen, moments, ownPicture, run, showPicture } from './state.js';

const SIZE = 32;
const COLOURS = ['#d8432f', '#2f6fd8', '#e0b02c', '#3a9b57', '#8a4fb0', '#222222', '#f4f4f4'];
/** Milliseconds between two looks at a drawing in progress. */
const EVERY = 250;

/** The square middle of a picture as bytes (3, 32, 32), averaged by the browser's own scaling. */
function planesOf(source: CanvasImageSource, width: number, height: number): Uint8Array {
  const side = Math.min(width, height);
  const canvas = new OffscreenCanvas(SIZE, SIZE);
  const context = canvas.getContext('2d', { willReadFrequently: true })!;
  context.imageSmoothingQuality = 'high';
  context.drawImage(source, (width - side) / 2, (height - side) / 2, side, side, 0, 0, SIZE, SIZE);
  const { data } = context.getImageData(0, 0, SIZE, SIZE);
  return Uint8Array.from({ length: 3 * SIZE * SIZE }, (_, i) => {
    const [c, at] = [Math.floor(i / (SIZE * SIZE)), i % (SIZE * SIZE)];
    return data[4 * at + c]!;
  });
}

/** True for a file that may be a picture, and not a data set. */
export const isPicture = ({ type }: File): boolean => type.startsWith('image/');

export function Draw() {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [colour, setColour] = useState(COLOURS[0]!);
  const [problem, setProblem] = useState('');
  const last = useRef<{ x: number; y: number } | null>(null);
  const sent = useRef(0);

  const context = () => canvas.current!.getContext('2d', { willReadFrequently: true })!;
  const clear = () => {
    const { width, height } = canvas.current!;
    context().fillStyle = '#b9c4cc';
    context().fillRect(0, 0, width, height);
  };
  const send = () => {
    sent.current = performance.now();
    const { width, height } = canvas.current!;
    if (run.value) showPicture(planesOf(canvas.current!, width, height));
  };
  const take = async (file: Blob) => {
    try {
      const bitmap = await createImageBitmap(file);
      const { width, height } = canvas.current!;
      const side = Math.min(bitmap.width, bitmap.height);
      const [left, top] = [(bitmap.width - side) / 2, (bitmap.height - side) / 2];
      context().drawImage(bitmap, left, top, side, side, 0, 0, width, height);
      bitmap.close();
      setProblem('');
      send();
    } catch {
      setProblem('This file is no image that the browser can read.');
    }
  };
  useEffect(() => {
    clear();
    const paste = ({ clipboardData }: ClipboardEvent) => {
      const file = [...(clipboardData?.files ?? [])].find(isPicture);
      if (file) void take(file);
    };
    const drop = (event: Event) => void take((event as CustomEvent<File>).detail);
    addEventListener('paste', paste);
    addEventListener('picture', drop);
    return () => {
      removeEventListener('paste', paste);
      removeEventListener('picture', drop);
    };
  }, []);

  const place = (event: PointerEvent) => {
    const { left, top, width } = canvas.current!.getBoundingClientRect();
    const scale = canvas.current!.width / width;
    return { x: (event.clientX - left) * scale, y: (event.clientY - top) * scale };
  };
  const stroke = (event: PointerEvent) => {
    if (!last.current) return;
    const to = place(event);
    const pen = context();
    pen.strokeStyle = colour;
    pen.lineWidth = 26;
    pen.lineCap = 'round';
    pen.beginPath();
    pen.moveTo(last.current.x, last.current.y);
    pen.lineTo(to.x, to.y);
    pen.stroke();
    last.current = to;
    if (performance.now() - sent.current > EVERY) send();
  };

  return (
    <div class="draw">
      <div>
        <canvas
          ref={canvas}
          width="256"
          height="256"
          class="paper"
          aria-label="Drawing paper. Without a pointer, use “Open an image”."
          onPointerDown={(event) => {
            event.currentTarget.setPointerCapture(event.pointerId);
            last.current = place(event);
            stroke(event);
          }}
          onPointerMove={stroke}
          onPointerUp={() => {
            last.current = null;
            send();
          }}
        />
        <div class="pens" role="radiogroup" aria-label="Colour of the pen">
          {COLOURS.map((each) => (
            // biome-ignore lint/a11y/useSemanticElements: a swatch is no radio button to look at.
            <button
              key={each}
              type="button"
              role="radio"
              aria-checked={each === colour}
              aria-label={`pen ${each}`}
              style={{ '--hue': each }}
              onClick={() => setColour(each)}
            />
          ))}
          <button
            type="button"
            class="plain"
            onClick={() => {
              clear();
              send();
            }}
          >
            Clear
          </button>
          <label class="plain button">
            Open an image
            <input
              type="file"
              accept="image/*"
              class="hidden"
              onChange={({ currentTarget: { files } }) => files?.[0] && void take(files[0])}
            />
          </label>
        </div>
      </div>
      <Guesses problem={problem} />
    </div>
  );
}

/** The five most probable classes of the visitor's picture. */
function Guesses({ problem }: { readonly problem: string }) {
  const started = run.value;
  const seen = chosen.value === 'own' ? moments.value.at(-1)?.look.lens.at(-1) : undefined;
  if (problem) return <p class="about">{problem}</p>;
  if (!started) return <p class="about">Press Train first. Then draw here, or drop or paste an image.</p>;
  if (!ownPicture.value)
    return (
      <p class="about">
        Draw one of the classes: {started.classes.slice(0, 10).join(', ').replaceAll('_', ' ')}
        {started.classes.length > 10 ? ' …' : ''}. Or drop or paste an image anywhere on this page.
      </p>
    );
  if (!seen)
    return (
      <p class="about">
        <button type="button" class="plain" onClick={() => showPicture(ownPicture.value!)}>
          Classify my picture
        </button>
      </p>
    );
  const top = [...seen].map((p, k) => ({ p, name: started.classes[k]! })).sort((a, b) => b.p - a.p);
  return (
    <ol class="bars" aria-label="The five most probable classes">
      {top.slice(0, 5).map(({ p, name }) => (
        <li key={name} style={{ '--p': p }}>
          <span>{name.replaceAll('_', ' ')}</span>
          <span>{(100 * p).toFixed(0)} %</span>
        </li>
      ))}
    </ol>
  );
}
