/** The things that a visitor takes away: weights, the log, a link, the command for Node. */
import { commandOf, linkOf } from './choices.js';
import { Copy, download, markdown } from './download.js';
import { choices, curves, machine, profile, run, weights } from './state.js';

export function Take() {
  const started = run.value;
  const fetchWeights = async () => {
    const bytes = (await weights()) as Uint8Array<ArrayBuffer>;
    download('patchlight.safetensors', bytes, 'application/octet-stream');
  };
  const log = () => {
    const content = { choices: started?.choices, adapter: machine.value?.adapter, ...curves.value };
    download('patchlight-log.json', JSON.stringify(content, null, 1), 'application/json');
  };
  return (
    <>
      <p class="row">
        <button type="button" class="plain" disabled={!started} onClick={() => void fetchWeights()}>
          Download the weights
        </button>
        <button type="button" class="plain" disabled={!started} onClick={log}>
          Download the log
        </button>
        <Copy
          label="Copy a link to these settings"
          text={() => new URL(linkOf(choices.value), location.href.split(/[?#]/)[0]).href}
        />
      </p>
      <p class="about">
        The weights are a safetensors file with timm's names.{' '}
        <code>node dist/evaluate.js patchlight.safetensors</code> and PyTorch read it. The same run in Node,
        whose losses agree to 1e-5 (another adapter rounds otherwise):
      </p>
      <pre class="command">{commandOf(choices.value)}</pre>
      <Copy label="Copy the command" text={() => commandOf(choices.value)} />
    </>
  );
}

/** The adapter, and the kernels that were chosen for it. */
export function MachineView() {
  const here = machine.value;
  if (!here) return <p class="about">Not yet known.</p>;
  const variants = Object.entries(profile.value?.variants ?? {});
  const rows: [string, string][] = [
    ['Adapter', here.adapter],
    ['Vendor, architecture', [here.vendor, here.architecture].filter(Boolean).join(', ') || 'not said'],
    ['Runs on', here.software ? 'the CPU' : 'a GPU'],
    ['Features', [...here.features, ...(here.immediates ? ['immediates'] : [])].join(', ') || 'none'],
    ['Tuning', here.tuning],
    ...Object.entries(here.limits).map(([name, value]): [string, string] => [
      name,
      value.toLocaleString('en'),
    ]),
    ...variants.map(([family, kernel]): [string, string] => [`kernel of ${family}`, kernel]),
  ];
  const asTable = () => markdown([['', ''], ...rows]);
  return (
    <>
      <div class="scroll">
        <table>
          <tbody>
            {rows.map(([name, value]) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td>{value}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="row">
        <a class="plain button" href="check.html">
          Check every op on this machine
        </a>
        <Copy label="Copy as a table" text={asTable} />
      </p>
    </>
  );
}
