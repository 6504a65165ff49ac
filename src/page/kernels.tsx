/** The WGSL of a part of the model: forward and backward side by side. */
import { signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';

/** All kernels by name, once they are fetched. */
const texts = signal<Readonly<Record<string, string>> | null>(null);
/** The kernel of each pass that is shown, if it is another than the first. */
export const shown = signal<Readonly<Record<string, string>> | null>(null);

async function fetchTexts(): Promise<void> {
  if (!texts.value) texts.value = (await (await fetch('kernels.json')).json()) as Record<string, string>;
}

const TOKENS =
  /(?<comment>\/\/.*)|(?<word>\b(?:fn|let|var|const|override|struct|if|else|for|while|loop|return|enable|requires|switch|case|break|continue|alias)\b)|(?<attribute>@\w+)|(?<type>\b(?:f32|f16|u32|i32|bool|vec[234][fuih]?|array|ptr|texture_storage_2d\w*|atomic)\b)|(?<number>\b\d[\w.]*)/g;

/** A kernel's text with its words coloured. */
function highlighted(text: string): ComponentChildren[] {
  const parts: ComponentChildren[] = [];
  let at = 0;
  for (const match of text.matchAll(TOKENS)) {
    const [kind] = Object.entries(match.groups!).find(([, found]) => found !== undefined)!;
    parts.push(text.slice(at, match.index), <span class={kind}>{match[0]}</span>);
    at = match.index + match[0].length;
  }
  return [...parts, text.slice(at)];
}

function Pass({ pass, names }: { readonly pass: 'forward' | 'backward'; readonly names: readonly string[] }) {
  const name = shown.value?.[pass] ?? names[0];
  if (name === undefined) return null;
  return (
    <figure class="kernel">
      <figcaption>
        <b>{pass === 'forward' ? 'Forward' : 'Backward'}</b>
        {names.map((each) => (
          <button
            key={each}
            type="button"
            class="plain"
            aria-pressed={each === name}
            onClick={() => {
              shown.value = { ...shown.value, [pass]: each };
            }}
          >
            {each}
          </button>
        ))}
      </figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must take the focus. */}
      <pre tabIndex={0}>
        {texts.value ? highlighted(texts.value[name] ?? 'This kernel has no file.') : 'Fetching.'}
      </pre>
    </figure>
  );
}

export function Kernels({
  name,
  forward,
  backward,
}: {
  readonly name: string;
  readonly forward: readonly string[];
  readonly backward: readonly string[];
}) {
  useEffect(() => void fetchTexts(), []);
  return (
    <section class="kernels" aria-label={`Kernels of ${name}`}>
      <Pass pass="forward" names={forward} />
      <Pass pass="backward" names={backward} />
    </section>
  );
}
