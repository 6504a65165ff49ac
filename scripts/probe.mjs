// Prints the name of the default WebGPU adapter, or exits with 1. It is a process of its own because a broken driver may
// crash it, and because its parent can ignore Dawn's warnings on stderr.
import { create } from 'webgpu';

globalThis.gpu = create([]); // must stay reachable for the life of the process
const adapter = await globalThis.gpu.requestAdapter();
if (adapter) console.log(adapter.info.description || adapter.info.device || adapter.info.vendor || 'unnamed');
process.exit(adapter ? 0 : 1);
