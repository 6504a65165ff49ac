// Alone: TypeDoc compiles the whole library, which takes a core for half a minute.
// The reference of the library has every symbol that a user can meet, and each has a docstring.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { writeReference } from '../scripts/docs.mjs';

it('TypeDoc writes the reference without a warning', { timeout: 500_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'patchlight-docs-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  await writeReference(folder);
  for (const page of [
    'functions/patchlight.fit',
    'functions/patchlight.checkOp',
    'classes/patchlight_node.Trainer',
  ])
    expect(existsSync(join(folder, `${page}.html`)), page).toBe(true);
  expect(readFileSync(join(folder, 'functions/patchlight.gelu.html'), 'utf8')).toContain('error linear unit');
});
