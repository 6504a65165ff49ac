// `npm run page [-- --port N]`: builds dist/page/ and serves it to this machine. Any web server can serve the folder.
import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join } from 'node:path';
import { isMain, root, runMain, Trouble } from './common.mjs';
import { buildPage, pageFolder } from './page_build.mjs';
import { install } from './setup.mjs';

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.json': 'application/json',
  '.bin': 'application/octet-stream',
};

/** The record files of the CIFAR data sets, by the name of each data set. */
const CIFAR = {
  cifar10: ['data_batch_1', 'data_batch_2', 'data_batch_3', 'data_batch_4', 'data_batch_5', 'test_batch'].map(
    (name) => `cifar-10-batches-bin/${name}.bin`,
  ),
  cifar100: ['train', 'test'].map((name) => `cifar-100-binary/${name}.bin`),
};

const dataFolder = () => process.env.PATCHLIGHT_DATA || join(root, 'data');

/** The data sets whose files are here, each with the addresses of its files. */
const datasetsHere = () =>
  Object.entries(CIFAR)
    .filter(([, files]) => files.every((file) => existsSync(join(dataFolder(), file))))
    .map(([name, files]) => ({ name, files: files.map((file) => `data/${file}`) }));

/** The file behind a path of the page; null if there is none. Only names that are known are looked up. */
function fileOf(path) {
  const name = path === '/' ? 'index.html' : path.slice(1);
  if (name.startsWith('data/')) {
    const file = name.slice('data/'.length);
    return Object.values(CIFAR).flat().includes(file) ? join(dataFolder(), file) : null;
  }
  return /^[\w.-]+$/.test(name) ? join(pageFolder, name) : null;
}

/** A server of the built page on a port of this machine; 0 takes a free one. Resolves with the server. */
export function serve(port) {
  const server = createServer(({ url, method }, response) => {
    const { pathname } = new URL(url, 'http://localhost');
    const refuse = (status) => response.writeHead(status).end();
    if (method !== 'GET' && method !== 'HEAD') return refuse(405);
    if (pathname === '/datasets.json') {
      response.writeHead(200, { 'Content-Type': TYPES['.json'] });
      return response.end(JSON.stringify(datasetsHere()));
    }
    const file = fileOf(pathname);
    const found = file && statSync(file, { throwIfNoEntry: false });
    if (!found?.isFile()) return refuse(404);
    const type = TYPES[extname(file)] ?? 'application/octet-stream';
    response.writeHead(200, {
      'Content-Type': type,
      'Content-Length': found.size,
      'Cache-Control': 'no-cache',
    });
    if (method === 'HEAD') return response.end();
    return createReadStream(file)
      .on('error', () => response.destroy())
      .pipe(response);
  });
  return new Promise((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        error.code === 'EADDRINUSE'
          ? new Trouble(`Port ${port} is in use. Give another one with --port, or 0 for any that is free.`)
          : error,
      ),
    );
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}

/** The port of `--port N` or `--port=N`; 8080 if there is none. */
function portOf(args) {
  const [name, given] = (args.length === 1 ? args[0].split('=') : args) ?? [];
  if (args.length === 0) return 8080;
  const port = Number(given);
  if (
    name !== '--port' ||
    given === undefined ||
    given === '' ||
    !Number.isInteger(port) ||
    port < 0 ||
    port > 65535
  )
    throw new Trouble(`npm run page takes --port N, a number from 0 to 65535, and not ${args.join(' ')}.`);
  return port;
}

if (isMain(import.meta.url)) {
  await runMain(async () => {
    const port = portOf(process.argv.slice(2));
    install();
    await buildPage();
    const server = await serve(port);
    console.log(`dist/page: http://localhost:${server.address().port}/  (Ctrl-C ends it)`);
  });
}
