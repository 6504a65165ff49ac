/** The host of a page and of Deno, for `#host` (see host.ts). */
import { type Host, webHost } from './host.js';

/** The host that this code runs in. */
export const hostHere = (): Host => webHost;
