// Headless browsers for tests: each with an empty profile, and with everything that a page should not do written down.
import { createReadStream, mkdtempSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import puppeteer from 'puppeteer-core';
import { hosts } from '../../scripts/hosts.mjs';

/** The tested browsers. Chromium computes on SwiftShader, Firefox on Mesa's llvmpipe, so neither needs a GPU. */
const BROWSERS = {
  chromium: {
    browser: 'chrome',
    args: [
      ...['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking'],
      ...['--disable-component-update', '--disable-sync'],
      ...['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'],
    ],
  },
  firefox: {
    browser: 'firefox',
    extraPrefsFirefox: { 'dom.webgpu.enabled': true, 'gfx.webgpu.ignore-blocklist': true },
  },
};

export const browsers = Object.keys(BROWSERS);
export const isHere = (name) => hosts[name]() !== null;

/**
 * Runs `body` with a new page of a browser. `body` gets the page, and `complaints`: what the console said, errors that nobody
 * caught, and requests to other servers than `origin`'s. The home folder and the shader cache are the test's own.
 */
export async function withPage(name, origin, body) {
  const home = mkdtempSync(join(tmpdir(), 'patchlight-browser-'));
  const env = { ...process.env, HOME: home, MESA_SHADER_CACHE_DIR: join(home, 'shaders') };
  const browser = await puppeteer.launch({
    ...BROWSERS[name],
    executablePath: hosts[name](),
    headless: true,
    protocolTimeout: 300_000,
    env,
  });
  try {
    const page = await browser.newPage();
    const complaints = [];
    page.on('console', (message) => {
      if (['error', 'warn'].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`);
    });
    page.on('pageerror', (error) => complaints.push(`error: ${error.message}`));
    page.on('request', (request) => {
      const url = request.url();
      if (!url.startsWith(origin) && !/^(data|blob|about):/.test(url)) complaints.push(`request: ${url}`);
    });
    return await body(page, complaints);
  } finally {
    await browser.close();
    rmSync(home, { recursive: true, force: true });
  }
}

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript' };

/** Serves files by their path in the address, for as long as `body` runs. */
export async function withServer(files, body) {
  const server = createServer(({ url }, response) => {
    const file = files[new URL(url, 'http://localhost').pathname];
    if (!file) return response.writeHead(404).end();
    response.writeHead(200, { 'Content-Type': TYPES[extname(file)], 'Content-Length': statSync(file).size });
    return createReadStream(file).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    return await body(`http://localhost:${server.address().port}/`);
  } finally {
    server.close();
  }
}
