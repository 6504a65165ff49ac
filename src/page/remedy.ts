/** Remedies for a browser without WebGPU, by browser. */

const BROWSERS: readonly { readonly pattern: RegExp; readonly sentence: string }[] = [
  {
    pattern: /Firefox\//,
    sentence:
      'This Firefox has no WebGPU. Firefox 141 or newer has it on Windows, and 145 on Macs with Apple silicon. Elsewhere, open about:config and set dom.webgpu.enabled and gfx.webgpu.ignore-blocklist to true.',
  },
  {
    pattern: /Edg\//,
    sentence: 'This Edge has no WebGPU. Update it, and see edge://gpu if it still has none.',
  },
  {
    pattern: /Chrome\/.*Android|Android.*Chrome\//,
    sentence: 'This Chrome has no WebGPU. Chrome 121 or newer has it on Android 12 and newer.',
  },
  {
    pattern: /Chrome\//,
    sentence:
      'This Chrome has no WebGPU. Update it. On Linux, open chrome://flags and enable “Unsafe WebGPU Support” and “Vulkan”.',
  },
  {
    pattern: /Safari\//,
    sentence: 'This Safari has no WebGPU. Safari 26 has it, on macOS, iOS and iPadOS 26.',
  },
];

/** A sentence with the remedy for a browser without `navigator.gpu`. */
export function remedy(userAgent: string, secure: boolean): string {
  if (!secure) return 'Browsers give WebGPU only to safe pages. Open this one over https, or from localhost.';
  const known = BROWSERS.find(({ pattern }) => pattern.test(userAgent));
  return (
    known?.sentence ??
    'This browser has no WebGPU. Chrome, Edge, Firefox and Safari have it in their newest versions.'
  );
}
