/** The choices of the next run, and what may change while one runs. */
import { type Control, controls, slowness } from './choices.js';
import type { Choices } from './messages.js';
import { Pixels } from './pixels.js';
import { askPreview, busy, choices, datasets, machine, preview, problems, rate, setRate } from './state.js';

function set<K extends keyof Choices>(name: K, value: Choices[K]): void {
  choices.value = { ...choices.value, [name]: value };
  preview.value = null;
}

function Select({ name, label, values, words }: Control) {
  const value = choices.value[name];
  const known = values as readonly unknown[];
  const all = known.includes(value) ? values : [...values, value]; // a link may bring another value
  return (
    <label>
      <span>{label}</span>
      <select
        value={String(value)}
        onChange={({ currentTarget }) => set(name, all[currentTarget.selectedIndex] as never)}
      >
        {all.map((each, i) => (
          <option key={String(each)} value={String(each)}>
            {words?.[i] ?? String(each)}
          </option>
        ))}
      </select>
    </label>
  );
}

/** The factor of the learning rate, on a logarithmic scale from a tenth to ten. */
function Rate() {
  return (
    <label class="wide">
      <span>
        Learning rate now: × {rate.value < 1 ? rate.value.toFixed(2) : rate.value.toFixed(1)} of the schedule
      </span>
      <input
        type="range"
        min={-1}
        max={1}
        step={0.05}
        value={Math.log10(rate.value)}
        disabled={!busy.value}
        onInput={({ currentTarget }) => setRate(10 ** Number(currentTarget.value))}
      />
    </label>
  );
}

export function Controls() {
  const slow = slowness(choices.value, machine.value?.software ?? false);
  const shown = preview.value;
  return (
    <>
      <div class="controls">
        <Select name="dataset" label="Data set" values={datasets.value as Choices['dataset'][]} />
        {controls.map((control) => (
          <Select key={control.name} {...control} />
        ))}
        <label>
          <span>Seed</span>
          <input
            type="number"
            min={0}
            max={4294967295}
            step={1}
            value={choices.value.seed}
            onChange={({ currentTarget }) => {
              const seed = Math.min(2 ** 32 - 1, Math.max(0, Math.round(Number(currentTarget.value) || 0)));
              currentTarget.value = String(seed);
              set('seed', seed);
            }}
          />
        </label>
        <Rate />
      </div>
      {problems.value.map((sentence) => (
        <p key={sentence} class="warning" role="alert">
          {sentence}
        </p>
      ))}
      {slow && <p class="warning">{slow}</p>}
      <p class="row">
        <button type="button" class="plain" onClick={askPreview}>
          Show what the augmentation does
        </button>
        <span class="muted">
          A change counts for the next run. CIFAR-10: drop cifar-10-binary.tar.gz from its authors' page here.
        </span>
      </p>
      {shown && (
        <div class="preview">
          {shown.plain.map((planes, i) => (
            <figure key={i}>
              <Pixels planes={planes} label="Training image" />
              <Pixels planes={shown.augmented[i]!} label="The same, augmented" />
            </figure>
          ))}
        </div>
      )}
    </>
  );
}
