/** See wgsl.mjs. */
export function link(path: string, read: (file: string) => string | undefined): string;
export function linkFile(path: string, changed?: (file: string, text: string) => string): string;
