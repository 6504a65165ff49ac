/** Twelve test images with the model's top guess under each: wrong everywhere at first, then right. */
import { Pixels } from './pixels.js';
import { choose, chosen, run, strip } from './state.js';

/** The class of the largest probability. */
export const topOf = (probabilities: Float64Array): number =>
  probabilities.reduce((best, p, k) => (p > probabilities[best]! ? k : best), 0);

const words = (name: string): string => name.replaceAll('_', ' ');

export function Strip() {
  const started = run.value;
  if (!started)
    return (
      <ul class="strip empty" aria-hidden="true">
        {Array.from({ length: 12 }, (_, i) => (
          <li key={i}>
            <span class="blank" />
          </li>
        ))}
      </ul>
    );
  const right = started.strip.filter(
    ({ label }, i) => strip.value[i] && topOf(strip.value[i]) === label,
  ).length;
  return (
    <figure class="strip-figure">
      <ul class="strip">
        {started.strip.map(({ pixels, label }, i) => {
          const probabilities = strip.value[i];
          const guess = probabilities ? topOf(probabilities) : null;
          const share = guess === null ? 0 : probabilities![guess]!;
          const name = words(started.classes[label]!);
          const said = guess === null ? 'not yet seen' : words(started.classes[guess]!);
          return (
            <li key={i} class={guess === null ? '' : guess === label ? 'right' : 'wrong'}>
              <button
                type="button"
                aria-pressed={chosen.value === i}
                aria-label={`${name}: the model says ${said}, ${Math.round(100 * share)} %. Look inside.`}
                onClick={() => choose(i)}
              >
                <Pixels planes={pixels} />
                <span class="guess" style={{ '--p': share }}>
                  <span aria-hidden="true">{guess === null ? '' : guess === label ? '✓ ' : '✗ '}</span>
                  {guess === null ? '…' : said}
                </span>
              </button>
            </li>
          );
        })}
      </ul>
      <figcaption>
        {strip.value.length > 0
          ? `${right} of these 12 test images are right. The model never trains on them.`
          : 'Twelve test images. The model never trains on them.'}
      </figcaption>
    </figure>
  );
}
