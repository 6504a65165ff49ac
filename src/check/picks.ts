/** Which kernel and which tile each part of a training step gets, and their table. */
import { table } from '../core/table.js';
import type { Dispatched } from '../gpu/diagnostics.js';
import type { KnownAdapter } from '../gpu/known_adapters.js';
import { extentOf, matrixKernel } from '../ops/product_kernels.js';
import { type PickedModel, pickedModels, type StepKernels } from './known_steps.js';

/** What a kernel computes in a step, which kernel it is, and its tile. */
export interface Picked {
  readonly role: string;
  readonly kernel: string;
  readonly tile: string;
}

/** Picks of one step. */
export interface StepPicks extends Pick<StepKernels, 'precision' | 'batch' | 'limit'> {
  readonly model: string;
  readonly picks: readonly Picked[];
}

/** The layers of a block by outputs and inputs. */
const layersOf = (D: number): Readonly<Record<string, string>> => ({
  [`${3 * D} x ${D}`]: 'qkv',
  [`${D} x ${D}`]: 'proj',
  [`${4 * D} x ${D}`]: 'fc1',
  [`${D} x ${4 * D}`]: 'fc2',
});

/** The role of a product, by what is transposed and by its sizes. */
function productRole({ params, specialisation }: Dispatched, model: PickedModel, batch: number): string {
  const { M = 0, N = 0, K = 0 } = params;
  const { TRANS_A, TRANS_B } = specialisation.overrides ?? {};
  const [kind, rows, outputs, inputs] = TRANS_A
    ? ['weight gradient TN', K, M, N]
    : TRANS_B
      ? ['forward NT', M, N, K]
      : ['input gradient NN', M, K, N];
  const { embedDim, patchSize } = model.settings;
  const size = `${outputs} x ${inputs}`;
  const ofRows = new Map([
    [batch, 'head'],
    [batch * (model.imageSize / patchSize) ** 2, 'patches'],
  ]);
  return `${kind} ${ofRows.get(rows as number) ?? layersOf(embedDim)[size] ?? size}`;
}

const OTHERS = /^(attention_(?:forward|query_backward|key_backward)|layer_norm_(?:forward|backward))(?=_|$)/;

/** The role of a product, of attention or of LayerNorm; null for other kernels. */
function roleOf(dispatched: Dispatched, { model, batch }: StepKernels): string | null {
  const { name } = dispatched.kernel;
  if (name.startsWith('matmul_forward')) return productRole(dispatched, model, batch);
  return OTHERS.exec(name)?.[1]?.replaceAll('_', ' ') ?? null;
}

/** Rows, columns and depth of a tile, queries and keys of a block, matrices; else the constants that were chosen. */
function tileOf({ kernel, specialisation: { tune = {} } }: Dispatched): string {
  const { SM, SN, SK, Part, QUERIES, KEYS, ...others } = tune;
  const matrices = SM ? `, ${SM}x${SN}x${SK} f${Part}` : '';
  const extent = extentOf({ kernel, tune });
  if (extent) {
    const { rows, columns, depth } = extent;
    const warps = kernel === matrixKernel ? `, ${tune.HIGH}x${tune.WIDE} subgroups` : '';
    return `${[rows, columns, ...(depth > 0 ? [depth] : [])].join('x')}${matrices}${warps}`;
  }
  if (QUERIES) return `${QUERIES}x${KEYS}${matrices}`;
  const constants = Object.entries(others).filter(([name]) => !name.startsWith('Element'));
  return constants.map(([name, value]) => `${name} ${value}`).join(', ') || '-';
}

const unique = <T>(all: readonly T[], key: (one: T) => string): T[] => [
  ...new Map(all.map((one) => [key(one), one])).values(),
];

/** The picks of a step, each once. */
export function picksOf(step: StepKernels): StepPicks {
  const { model, precision, batch, limit, dispatched } = step;
  const all = dispatched.flatMap((it): Picked[] => {
    const role = roleOf(it, step);
    return role ? [{ role, kernel: it.kernel.name, tile: tileOf(it) }] : [];
  });
  const picks = unique(all, ({ role, kernel, tile }) => [role, kernel, tile].join());
  return { model: model.name, precision, batch, limit, picks };
}

/** Values by a key, in order of the first of each key. */
function grouped<T>(all: readonly T[], key: (one: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const one of all) groups.set(key(one), [...(groups.get(key(one)) ?? []), one]);
  return [...groups.values()];
}

const LAYERS = ['patches', 'qkv', 'proj', 'fc1', 'fc2', 'head'];
const PRODUCT = /^(.* (?:NT|NN|TN)) (.*)$/;

/** `forward NT fc1`, `forward NT qkv` and `layer norm forward` as `forward NT qkv fc1; layer norm forward`. */
function rolesText(roles: readonly string[]): string {
  const parts = roles.map((role) => PRODUCT.exec(role)?.slice(1) ?? [role]);
  return grouped(parts, ([kind = '']) => kind)
    .map((own) => {
      const layers = own.flatMap(([, layer]) => layer ?? []);
      return [own[0]?.[0], ...layers.toSorted((a, b) => LAYERS.indexOf(a) - LAYERS.indexOf(b))].join(' ');
    })
    .join('; ');
}

/** The steps that share a row: `all`, one precision of all models, or models with their precisions where not all are meant. */
function stepsText(names: readonly string[], steps: readonly StepPicks[]): string {
  if (names.length === steps.length) return 'all';
  const precisions = [...new Set(steps.map(({ precision }) => precision))];
  const of = (part: Partial<StepPicks>) =>
    steps.filter((it) => Object.entries(part).every(([key, value]) => it[key as keyof StepPicks] === value));
  const named = (all: readonly StepPicks[]) =>
    all.every(({ model, precision }) => names.includes(`${model} ${precision}`));
  const whole = precisions.find(
    (precision) => of({ precision }).length === names.length && named(of({ precision })),
  );
  if (whole) return whole;
  return grouped(steps, ({ model }) => model)
    .flatMap((own) => {
      const meant = own.filter((it) => named([it])).map(({ precision }) => precision);
      if (meant.length === 0) return [];
      return [own[0]?.model, ...(meant.length < own.length ? meant : [])].join(' ');
    })
    .join(', ');
}

/** The batch of a model's steps, and why it is no larger. */
function batchText(own: readonly StepPicks[]): string {
  const [first] = own as [StepPicks, ...StepPicks[]];
  const limit = own.find((it) => it.limit !== null)?.limit;
  if (own.every(({ batch }) => batch === 0)) return `${first.model} does not fit: ${limit}`;
  const same = own.every(({ batch }) => batch === first.batch);
  const batches = same ? first.batch : own.map((it) => `${it.batch} (${it.precision})`).join(', ');
  return `${first.model}: batch ${batches}${limit ? `; no more fits: ${limit}` : ''}`;
}

function headLines(known: KnownAdapter): string[] {
  const { name, vendor, architecture, software, limits, subgroupSizes, subgroupMatrix, source } = known;
  const [least, most] = subgroupSizes;
  const subgroups = known.features.includes('subgroups')
    ? `subgroups of ${least === most ? least : `${least} to ${most}`}`
    : 'no subgroups';
  const sizes = subgroupMatrix.map(
    ({ M, N, K, componentType: of, resultComponentType: to }) => `${M}x${N}x${K} ${of} to ${to}`,
  );
  const facts = [
    software ? 'CPU' : 'GPU',
    subgroups,
    known.features.includes('shader-f16') ? 'f16' : 'no f16',
    `${limits.maxComputeWorkgroupStorageSize / 1024} KiB of workgroup memory`,
    `${limits.maxStorageBuffersPerShaderStage} storage buffers`,
    ...(known.immediates ? [] : ['no immediates']),
  ];
  return [
    `## ${name}${vendor ? ` (${vendor} ${architecture})`.replace(' )', ')') : ''}`,
    `${facts.join(', ')}`,
    `Matrices: ${sizes.join(', ') || 'none'}`,
    `Source: ${source}`,
  ];
}

/** What the blocks of text are about. */
export const picksHead = [
  'Kernels of training steps on known adapters, as the engine would pick them by features, limits and shapes.',
  'Products: forward x . W^T (NT), input gradient dy . W (NN), weight gradient dy^T . x (TN).',
  ...pickedModels.map(
    ({ name, imageSize, settings: { embedDim, depth, numHeads, patchSize } }) =>
      `${name}: width ${embedDim}, ${depth} blocks, ${numHeads} heads, patches of ${patchSize} x ${patchSize}, images of ${imageSize} x ${imageSize}.`,
  ),
].join('\n');

/** A block of text about an adapter: what it is, and a row for each kernel and tile of the steps. */
export function picksText(known: KnownAdapter, steps: readonly StepPicks[]): string {
  const all = steps.flatMap(({ model, precision, picks }) =>
    picks.map((it) => ({ ...it, step: `${model} ${precision}` })),
  );
  const ofKernels = grouped(all, ({ kernel }) => kernel).flat();
  const rows = grouped(ofKernels, ({ kernel, tile }) => `${kernel},${tile}`).flatMap((picks) => {
    const roles = grouped(picks, ({ role }) => role).map((own) => ({
      role: own[0]?.role as string,
      steps: own.map(({ step }) => step),
    }));
    const { kernel = '', tile = '' } = picks[0] ?? {};
    return grouped(roles, (it) => it.steps.join()).map((own) => [
      kernel,
      tile,
      rolesText(own.map(({ role }) => role)),
      stepsText(own[0]?.steps ?? [], steps),
    ]);
  });
  const sizes = grouped(steps, ({ model }) => model).map(batchText);
  return [...headLines(known), ...sizes, '', table(['kernel', 'tile', 'role', 'steps'], rows)].join('\n');
}
