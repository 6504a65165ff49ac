// Prints the name of the default WebGPU adapter, or exits with 1. A process of its own: a broken driver may kill it,
// and Dawn's warnings go to a stderr that nobody reads.
import { create } from 'webgpu';

globalThis.gpu = create([]); // must stay reachable for the life of the process
const adapter = await globalThis.gpu.requestAdapter();
if (adapter) console.log(adapter.info.description || adapter.info.device || adapter.info.vendor || 'unnamed');
process.exit(adapter ? 0 : 1);
