/** The host: the driver's environment in Node, adapters by number and by name, pages and Deno. */
import { spawnSync } from 'node:child_process';
import { lstatSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { AdapterError } from '../src/core/errors.js';
import { adapterName, isSoftware } from '../src/gpu/adapter_info.js';
import { chooseAdapter, listAdapters } from '../src/gpu/adapters.js';
import { cacheFolder, type Entry } from '../src/gpu/cache_folder.js';
import { DawnHost, dawnFlags, hostHere } from '../src/gpu/host_node.js';
import { hostHere as hostInPage } from '../src/gpu/host_web.js';
import { withBuild } from './faults/commands.js';

const [FOLDER, FILE, LINK] = [0o040000, 0o100000, 0o120000];
const ME = 1000;
const OTHER = 1001;
const mine = (mode: number): Entry => ({ uid: ME, mode });

it.each([
  ['is off', {}, true],
  ['stays off', { PATCHLIGHT_SAFE: '0' }, true],
  ['is on if asked for', { PATCHLIGHT_SAFE: '1' }, false],
])("the driver's safety %s", (_, env, off) => {
  const flags = dawnFlags(env).join();
  for (const name of ['disable_robustness', 'disable_workgroup_init']) expect(flags.includes(name)).toBe(off);
  expect(flags).toContain('allow_unsafe_apis');
});

describe('the cache of compiled kernels', () => {
  withBuild();

  interface Case {
    readonly what: string;
    readonly env?: Record<string, string>;
    readonly home?: string;
    /** Existing paths, besides a home folder /home/me that the user owns. */
    readonly there?: Record<string, Entry>;
    readonly readOnly?: boolean;
    readonly expected: string | null;
  }
  const HOME = '/home/me/.cache/patchlight';
  const OWN = '/tmp/patchlight-1000';
  const cases: Case[] = [
    { what: 'is in the home folder', expected: HOME },
    {
      what: 'is where XDG_CACHE_HOME says',
      env: { XDG_CACHE_HOME: '/var/cache/me' },
      expected: '/var/cache/me/patchlight',
    },
    { what: 'is not at a relative XDG_CACHE_HOME', env: { XDG_CACHE_HOME: 'cache' }, expected: HOME },
    { what: 'is a private folder where there is no home', home: '', expected: OWN },
    { what: 'is a private folder where home is /', home: '/', expected: OWN },
    { what: 'is a private folder where home is relative', home: 'me', expected: OWN },
    { what: 'is a private folder where home does not exist', home: '/nonexistent', expected: OWN },
    {
      what: "is a private folder where home is another user's",
      home: '/root',
      there: { '/root': { uid: 0, mode: FOLDER | 0o755 } },
      expected: OWN,
    },
    {
      what: 'is a private folder where everybody may write to home',
      home: '/shared',
      there: { '/shared': mine(FOLDER | 0o1777) },
      expected: OWN,
    },
    {
      what: 'is the private folder that is there',
      home: '',
      there: { [OWN]: mine(FOLDER | 0o700) },
      expected: OWN,
    },
    {
      what: 'is nowhere where another user owns the private folder',
      home: '',
      there: { [OWN]: { uid: OTHER, mode: FOLDER | 0o700 } },
      expected: null,
    },
    {
      what: 'is nowhere where others may open the private folder',
      home: '',
      there: { [OWN]: mine(FOLDER | 0o770) },
      expected: null,
    },
    {
      what: 'is nowhere where a link has the name',
      home: '',
      there: { [OWN]: mine(LINK | 0o700) },
      expected: null,
    },
    {
      what: 'is nowhere where a file has the name',
      home: '',
      there: { [OWN]: mine(FILE | 0o700) },
      expected: null,
    },
    { what: 'is nowhere where no folder can be made', home: '', readOnly: true, expected: null },
  ];

  it.each(cases)('$what', ({ env = {}, home = '/home/me', there = {}, readOnly, expected }) => {
    const entries = new Map(Object.entries({ '/home/me': mine(FOLDER | 0o750), ...there }));
    const makePrivate = (path: string) => {
      if (!readOnly && !entries.has(path)) entries.set(path, mine(FOLDER | 0o700));
    };
    const stat = (path: string) => entries.get(path) ?? null;
    const user = { uid: ME, home, temporary: '/tmp' };
    expect(cacheFolder(env, user, { stat, makePrivate })).toBe(expected);
  });

  const list = (temporary: string) => {
    const { HOME: _, XDG_CACHE_HOME: __, MESA_SHADER_CACHE_DIR: ___, ...env } = process.env;
    const command = ['dist/train.js', '--list-adapters'];
    return spawnSync(process.execPath, command, {
      encoding: 'utf8',
      env: { ...env, HOME: '/', TMPDIR: temporary },
    });
  };

  it.skipIf(process.platform !== 'linux')('without a home is a folder that nobody else can open', () => {
    const temporary = mkdtempSync(join(tmpdir(), 'patchlight-'));
    onTestFinished(() => rmSync(temporary, { recursive: true }));
    const own = join(temporary, `patchlight-${process.geteuid?.()}`);
    expect(list(temporary).status).toBe(0);
    expect(lstatSync(own).mode & 0o777).toBe(0o700);
    // A folder that others may open is not used, and the command still succeeds.
    rmSync(own, { recursive: true });
    mkdirSync(own, { mode: 0o755 });
    expect(list(temporary).status).toBe(0);
  });
});

describe('an adapter', () => {
  const info = (vendor: string, architecture: string, device: string, description: string, rest = {}) => ({
    ...{ vendor, architecture, device, description },
    ...rest,
  });
  const fallback = { isFallbackAdapter: true };
  const gpu = { isFallbackAdapter: false };
  const LLVMPIPE = 'llvmpipe (LLVM 15.0.6, 256 bits)';
  const MESA = 'llvmpipe: Mesa 25.0.7-2~bpo12+1 (LLVM 15.0.6) 0.0.1';
  // llvmpipe and SwiftShader as observed; the others as Dawn (Node, Chromium) and wgpu (Deno) would fill the fields.
  it.each([
    ['llvmpipe in Node', info('mesa', 'software', 'llvmpipe-llvm-15-0-6-256-bits-', MESA, fallback), true, LLVMPIPE],
    ['llvmpipe in Node, without the flag', info('mesa', 'software', 'llvmpipe-llvm-15-0-6-256-bits-', MESA), true, LLVMPIPE],
    ['llvmpipe in Deno', info('65541', '', '0', LLVMPIPE, fallback), true, LLVMPIPE],
    ['llvmpipe in Deno, without the flag', info('65541', '', '0', LLVMPIPE), true, LLVMPIPE],
    ['SwiftShader in Node', info('google', 'swiftshader', 'swiftshader-device-subzero-', 'SwiftShader driver 5.0.0', fallback), true, 'SwiftShader Device (Subzero)'],
    ['SwiftShader in Deno', info('6880', '', '49374', 'SwiftShader Device (Subzero)', fallback), true, 'SwiftShader Device (Subzero)'],
    ['SwiftShader in Chromium', info('google', 'swiftshader', '', '', fallback), true, 'google swiftshader'],
    ['SwiftShader in Chromium, without the flag', info('google', 'swiftshader', '', ''), true, 'google swiftshader'],
    ['SwiftShader in Chromium, for developers', info('google', 'swiftshader', '0xc0de', 'SwiftShader Device (Subzero)', fallback), true, 'SwiftShader Device (Subzero)'],
    ['WARP in Chromium', info('microsoft', 'warp', '', ''), true, 'microsoft warp'],
    ['WARP in Node', info('microsoft', 'warp', 'microsoft-basic-render-driver', 'D3D12 driver version 10.0.26100.1'), true, 'Microsoft Basic Render Driver'],
    ['WARP in Deno', info('5140', '', '140', 'Microsoft Basic Render Driver'), true, 'Microsoft Basic Render Driver'],
    ['a software adapter in Firefox', info('', '', '', '', fallback), true, 'a software adapter without a name'],
    ['any adapter in Firefox', info('', '', '', ''), false, 'a GPU without a name'],
    ['NVIDIA in Node', info('nvidia', 'hopper', 'nvidia-h100-80gb-hbm3', 'NVIDIA: 550.90.07 550.90.7.0', gpu), false, 'NVIDIA H100 80GB HBM3'],
    ['NVIDIA in Chromium', info('nvidia', 'ampere', '', '', gpu), false, 'nvidia ampere'],
    ['NVIDIA in Deno', info('4318', '', '9860', 'NVIDIA GeForce RTX 4090', gpu), false, 'NVIDIA GeForce RTX 4090'],
    ['Apple in Chromium', info('apple', 'metal-3', '', '', gpu), false, 'apple metal-3'],
    ['Apple in Node', info('apple', 'common-3', 'apple-m2', 'Metal driver on macOS Version 15.1', gpu), false, 'Apple M2'],
    ['Intel in Chromium', info('intel', 'gen-12lp', '', '', gpu), false, 'intel gen-12lp'],
    ['Intel under Mesa in Node', info('intel', 'xe-lpg', 'intel-r-arc-tm-graphics-mtl-', 'Intel open-source Mesa driver: Mesa 25.0.7', gpu), false, 'Intel(R) Arc(tm) Graphics (MTL)'],
    ['AMD in Deno', info('4098', '', '29772', 'AMD Radeon RX 7900 XTX (RADV NAVI31)', gpu), false, 'AMD Radeon RX 7900 XTX (RADV NAVI31)'],
  ] as const)('%s: whether it runs on the CPU, and its name', (_, said, software, name) => {
    const known = ['NVIDIA H100 80GB HBM3', 'Apple M2', 'Intel(R) Arc(tm) Graphics (MTL)', 'Microsoft Basic Render Driver', 'SwiftShader Device (Subzero)', LLVMPIPE];
    expect(isSoftware(said)).toBe(software);
    expect(adapterName(said, known)).toBe(name);
  }); // biome-ignore format: a table

  it('of a browser that has the flag on the adapter itself is known too', () => {
    expect(isSoftware(info('', '', '', ''), true)).toBe(true);
  });
});

interface Card {
  readonly name: string;
  readonly pci?: string;
}

/** Dawn's binding and Vulkan's loader as they behave, on a machine with these cards. */
function machine(cards: readonly Card[], layer: boolean): DawnHost {
  const shown = (): readonly Card[] => {
    const only = /^pci-(\w+)!$/.exec(process.env.DRI_PRIME ?? '')?.[1];
    const found = layer && only ? cards.filter(({ pci }) => pci?.replace(/[:.]/g, '_') === only) : [];
    return found.length > 0 ? found : cards;
  };
  const requestAdapter = async (flag: string) => {
    if (shown().length === 0) return null;
    const card = shown().find(({ name }) => name.includes(flag));
    const list = shown().map(({ name }) => ` * backend: 'vulkan', name: '${name}'`);
    if (!card) throw new Error(['no suitable backends found', 'Available adapters:', ...list].join('\n'));
    const device = card.name.toLowerCase().replace(/[^a-z0-9]+/g, '-');
    return {
      info: { vendor: '', architecture: '', device, description: `driver of ${card.pci ?? card.name}` },
    };
  };
  const create = (flags: string[]) => {
    const flag = flags.find((text) => text.startsWith('adapter='))?.slice('adapter='.length) ?? '';
    return { requestAdapter: () => requestAdapter(flag), wgslLanguageFeatures: new Set() } as unknown as GPU;
  };
  const addresses = ['0000:02:00.0', ...cards.flatMap(({ pci }) => pci ?? [])].sort(); // the first drives a display
  return new DawnHost(
    async () => ({ create, compileElsewhere: () => {} }),
    async () => addresses,
  );
}

describe('--adapter', () => {
  const A = { name: 'NVIDIA H100', pci: '0000:41:00.0' };
  const B = { name: 'NVIDIA H100', pci: '0000:a1:00.0' };
  const TI = { name: 'GeForce RTX 3080 Ti', pci: '0000:03:00.0' };
  const PLAIN = { name: 'GeForce RTX 3080', pci: '0000:04:00.0' };
  const CPU = { name: 'llvmpipe (LLVM 15.0.6, 256 bits)' };
  const ODD = { name: "Ann's card 'two'" };
  const WITH_LAYER = true;
  const WITHOUT = false;
  // biome-ignore format: a table
  const cases: [string, Card[], boolean, string | number | undefined, Card | RegExp][] = [
    ['is the best without the flag', [A, CPU], WITHOUT, undefined, A],
    ['is a number', [A, CPU], WITHOUT, '1', CPU],
    ['is a number of a program', [A, CPU], WITHOUT, 1, CPU],
    ['is a part of a name', [A, CPU], WITHOUT, 'llvmpipe', CPU],
    ['is a part with a quotation mark', [A, ODD], WITHOUT, "'two'", ODD],
    ['is the first of several names with the part', [TI, A, CPU], WITHOUT, 'R', TI],
    ['is the one whose whole name it is', [PLAIN, TI], WITHOUT, TI.name, TI],
    ['is a part of a name where it has more than two digits', [CPU, PLAIN], WITHOUT, '3080', PLAIN],
    ['is a number where a name has it, too', [PLAIN, CPU], WITHOUT, '0', PLAIN],
    ['is no number that is too large, though a name has it', [A, CPU], WITHOUT, '2', /^There is no adapter 2\. There is: 0: NVIDIA H100; 1: llvmpipe \(LLVM 15\.0\.6, 256 bits\)\.$/],
    ['is no negative number', [A], WITHOUT, '-1', /^No adapter's name contains "-1"\. There is: 0: NVIDIA H100\.$/],
    ['is no part that no name has', [A], WITHOUT, 'nope', /^No adapter's name contains "nope"\. There is: 0: NVIDIA H100\.$/],
    ['is nothing where there is no adapter', [], WITHOUT, '0', /^No WebGPU adapter was found\./],
    ['is the first of two equal cards', [A, B], WITHOUT, '0', A],
    ['is the first of two equal cards by name', [A, B], WITHOUT, 'H100', A],
    ['is not the second of two equal cards that Dawn cannot tell apart', [A, B], WITHOUT, '1', /^Adapter 1 \(NVIDIA H100\) cannot be opened: .* leads to adapter 0\..*PCI address/],
    ['is the first of two equal cards, by its address', [A, B], WITH_LAYER, '0', A],
    ['is the second of two equal cards, by its address', [A, B], WITH_LAYER, '1', B],
    ['counts equal cards by address where another is between', [B, CPU, A], WITH_LAYER, '2', B],
    ['is not a card that a longer name hides', [TI, PLAIN], WITHOUT, PLAIN.name, /^Adapter 1 \(GeForce RTX 3080\) cannot be opened: .* leads to adapter 0\./],
    ['is a card that a longer name hides, by its address', [TI, PLAIN], WITH_LAYER, PLAIN.name, PLAIN],
    ['is a card whose name a later one contains', [PLAIN, TI], WITHOUT, '0', PLAIN],
    ['is the one with the longer name', [TI, PLAIN], WITHOUT, '3080', TI],
  ];

  it.each(cases)('%s', async (_, cards, layer, wanted, expected) => {
    const chosen = chooseAdapter(machine(cards, layer), wanted);
    if (expected instanceof RegExp) {
      await expect(chosen).rejects.toThrow(AdapterError);
      await expect(chosen).rejects.toThrow(expected);
      return;
    }
    const { names, granted } = await chosen;
    expect(names).toEqual(cards.map(({ name }) => name));
    expect(granted.adapter.info.description).toBe(`driver of ${expected.pci ?? expected.name}`);
    expect(process.env.DRI_PRIME).toBeUndefined();
  });

  it.each([
    ['with', WITH_LAYER, true, `driver of ${B.pci}`],
    ['without', WITHOUT, false, `driver of ${A.pci}`],
  ])('lists two equal cards %s the layer', async (_, layer, reachable, driver) => {
    expect(await listAdapters(machine([A, B, CPU], layer))).toEqual([
      { name: A.name, driver: `driver of ${A.pci}`, software: false, reachable: true },
      { name: B.name, driver, software: false, reachable },
      { name: CPU.name, driver: `driver of ${CPU.name}`, software: true, reachable: true },
    ]);
  });
});

describe('a host without WebGPU', () => {
  afterEach(() => vi.unstubAllGlobals());

  it.each([
    [
      'Deno by Node’s file',
      { Deno: {} },
      hostHere,
      /^This Deno has no WebGPU\. Start it with --unstable-webgpu\.$/,
    ],
    ['Deno', { Deno: {} }, hostInPage, /^This Deno has no WebGPU\. Start it with --unstable-webgpu\.$/],
    ['a page', {}, hostInPage, /^This browser has no WebGPU.*https/],
  ] as const)('%s, says what to do', async (_, globals, here, says) => {
    for (const [name, value] of Object.entries(globals)) vi.stubGlobal(name, value);
    const error = await here()
      .adapters()
      .catch((reason: unknown) => reason);
    vi.unstubAllGlobals();
    expect(error).toBeInstanceOf(AdapterError);
    expect((error as Error).message).toMatch(says);
  });

  it('that has its own WebGPU uses that', async () => {
    const requestAdapter = async () => ({
      info: { vendor: 'apple', architecture: 'metal-3', device: '', description: '' },
    });
    vi.stubGlobal('Deno', {});
    vi.stubGlobal('navigator', { gpu: { requestAdapter, wgslLanguageFeatures: new Set(['own']) } });
    const { names, granted } = await chooseAdapter(hostHere());
    expect(names).toEqual(['apple metal-3']);
    expect(granted.languageFeatures.has('own')).toBe(true);
  });

  it('that has WebGPU but no adapter says so', async () => {
    vi.stubGlobal('Deno', {});
    vi.stubGlobal('navigator', { gpu: { requestAdapter: async () => null } });
    await expect(chooseAdapter(hostHere())).rejects.toThrow(/^No WebGPU adapter was found\./);
  });
});
