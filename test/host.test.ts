/** Where WebGPU comes from: the driver's environment in Node, and other hosts. */
import { spawnSync } from 'node:child_process';
import { lstatSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { AdapterError } from '../src/core/errors.js';
import { cacheFolder, type Entry } from '../src/gpu/cache_folder.js';
import { adapterName, isSoftware } from '../src/gpu/device.js';
import { loadGpu } from '../src/gpu/host.js';

const [FOLDER, FILE, LINK] = [0o040000, 0o100000, 0o120000];
const ME = 1000;
const OTHER = 1001;
const mine = (mode: number): Entry => ({ uid: ME, mode });

describe('the cache of compiled kernels', () => {
  interface Case {
    readonly what: string;
    readonly env?: Record<string, string>;
    readonly home?: string;
    /** What there is, beside a home folder /home/me of the user's own. */
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
    expect(spawnSync(process.execPath, ['scripts/build.mjs']).status).toBe(0);
    const temporary = mkdtempSync(join(tmpdir(), 'patchlight-'));
    onTestFinished(() => rmSync(temporary, { recursive: true }));
    const own = join(temporary, `patchlight-${process.geteuid?.()}`);
    expect(list(temporary).status).toBe(0);
    expect(lstatSync(own).mode & 0o777).toBe(0o700);
    // A folder that others may open is not used, and nothing fails.
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
  // llvmpipe and SwiftShader as they were seen; the others as Dawn (Node, Chromium) and wgpu (Deno) write such things.
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
    ['a software adapter in Firefox', info('', '', '', '', fallback), true, 'an adapter without a name'],
    ['any adapter in Firefox', info('', '', '', ''), false, 'an adapter without a name'],
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

describe('a host without WebGPU', () => {
  afterEach(() => vi.unstubAllGlobals());

  it.each([
    ['Deno', { Deno: {} }, /^This Deno has no WebGPU\. Start it with --unstable-webgpu\.$/],
    ['a page', { process: undefined }, /^This browser has no WebGPU.*https/],
  ] as const)('%s, says what to do', async (_, globals, says) => {
    for (const [name, value] of Object.entries(globals)) vi.stubGlobal(name, value);
    const error = await loadGpu().catch((reason: unknown) => reason);
    vi.unstubAllGlobals();
    expect(error).toBeInstanceOf(AdapterError);
    expect((error as Error).message).toMatch(says);
  });

  it('does not come first: Deno and pages use their own', async () => {
    const own = { requestAdapter: async () => null };
    vi.stubGlobal('Deno', {});
    vi.stubGlobal('navigator', { gpu: own });
    expect(await loadGpu()).toBe(own);
  });
});
