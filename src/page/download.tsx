/** Files and texts that a visitor takes away. */
import { useState } from 'preact/hooks';

/** Lets the browser save bytes or a text as a file. */
export function download(name: string, part: BlobPart, type: string): void {
  const address = URL.createObjectURL(new Blob([part], { type }));
  const link = Object.assign(document.createElement('a'), { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

/** A button that copies a text, and says so. */
export function Copy({ label, text }: { readonly label: string; readonly text: () => string }) {
  const [said, setSaid] = useState('');
  return (
    <button
      type="button"
      class="plain"
      onClick={() =>
        navigator.clipboard
          .writeText(text())
          .then(() => setSaid('Copied'))
          .catch(() => setSaid('The browser does not allow copying here'))
      }
    >
      {said || label}
    </button>
  );
}

/** Rows of texts as a Markdown table, the first row being its head. */
export const markdown = ([head = [], ...rows]: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
