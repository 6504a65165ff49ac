// `node scripts/picture.mjs RUN/report.html [OUT.png]`: a picture of a run's report for the README, docs/report.png by default.
// A browser draws the page, in light colours: its panels side by side and the last ones left out, so that one look is enough.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isMain, root, runMain, Trouble } from './common.mjs';

const BROWSERS = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
/** CSS pixels; the page ends above the last row, and what is empty below it is cut off. */
const WINDOW = { width: 1600, height: 2400 };
const MARGIN = 40;
/** The README should load at once. */
const MOST_BYTES = 300_000;

/** The headline above three columns: the first two curves, the classes, and attention of two images right and two wrong. */
const LAYOUT = `
:root { color-scheme: light; }
main { max-width: none; padding: ${MARGIN}px ${MARGIN}px 0; display: grid; grid-template-columns: 4fr 5fr 5fr; column-gap: 56px; }
header { grid-column: 1 / -1; }
section { border: 0; margin: 0; padding-top: 24px; }
.sub { max-width: none; }
.numbers { grid-template-columns: 2fr repeat(5, 1fr); margin: 24px 0 16px; }
.numbers .main { grid-row: auto; }
.lookeds { grid-template-columns: 1fr; gap: 28px; }
.pair img { width: 160px; }
.heads { --edge: 77px; }
.attention:nth-child(3), .attention:nth-child(4), .plots figure:nth-child(n + 3), figure:has(.pairs), .honest,
#attention .about, #calibration, #predictions, #settings, #environment { display: none; }
`;

function executable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function findBrowser() {
  const folders = (process.env.PATH ?? '').split(delimiter).filter(Boolean);
  const found = BROWSERS.flatMap((name) => folders.map((folder) => join(folder, name))).find(executable);
  if (found) return found;
  throw new Trouble(
    `A picture of a page needs a browser, and none of ${BROWSERS.join(', ')} is on the PATH.`,
  );
}

/** The page as the browser draws it, as a PNG file in `folder`. */
function screenshot(browser, html, folder) {
  const [page, picture] = [join(folder, 'page.html'), join(folder, 'page.png')];
  writeFileSync(page, html);
  const { status, error, stderr } = spawnSync(
    browser,
    [
      '--headless',
      '--hide-scrollbars',
      ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []), // Chromium refuses its sandbox to root
      `--user-data-dir=${join(folder, 'profile')}`,
      `--window-size=${WINDOW.width},${WINDOW.height}`,
      `--screenshot=${picture}`,
      pathToFileURL(page).href,
    ],
    { encoding: 'utf8', timeout: 120_000 },
  );
  if (status !== 0 || !existsSync(picture))
    throw new Trouble(`${browser} has drawn nothing: ${error?.message ?? stderr.trim()}`);
  return picture;
}

/** Cut to the page with an even margin below, and with a palette of 256 colours. */
async function shrunk(picture) {
  const { default: sharp } = await import('sharp');
  const { info } = await sharp(picture).trim({ threshold: 2 }).toBuffer({ resolveWithObject: true });
  const height = Math.min(WINDOW.height, info.height - info.trimOffsetTop + MARGIN);
  return sharp(picture)
    .extract({ left: 0, top: 0, width: WINDOW.width, height })
    .png({ palette: true, compressionLevel: 9, effort: 10 })
    .toBuffer();
}

async function run() {
  const [report, out = join(root, 'docs/report.png')] = process.argv.slice(2);
  if (!report || !existsSync(report))
    throw new Trouble(`${report ?? 'No file'}: name a report, such as runs/NAME/report.html.`);
  const browser = findBrowser();
  const html = readFileSync(report, 'utf8').replace('</head>', `<style>${LAYOUT}</style></head>`);
  const folder = mkdtempSync(join(tmpdir(), 'patchlight-picture-'));
  try {
    const png = await shrunk(screenshot(browser, html, folder));
    if (png.length > MOST_BYTES)
      throw new Trouble(`The picture has ${png.length} bytes, more than ${MOST_BYTES}: nothing is written.`);
    writeFileSync(out, png);
    console.log(`${out}: ${png.length} bytes.`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (isMain(import.meta.url)) await runMain(run);
