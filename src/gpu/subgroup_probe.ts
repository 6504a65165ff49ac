/** The subgroup size of a device that does not say it. */

const CODE = `enable subgroups;
@group(0) @binding(0) var<storage, read_write> sizes: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(subgroup_size) size: u32) { sizes[id.x] = size; }`;
const COUNT = 256; // invocations

/** The subgroup size that every invocation of a kernel saw, 0 if they saw several. */
export async function measuredLanes(device: GPUDevice): Promise<number> {
  const bytes = 4 * COUNT;
  const sizes = device.createBuffer({ size: bytes, usage: 0x80 | 0x04 }); // STORAGE | COPY_SRC
  const readable = device.createBuffer({ size: bytes, usage: 0x01 | 0x08 }); // MAP_READ | COPY_DST
  const module = device.createShaderModule({ code: CODE, label: 'subgroup size' });
  const pipeline = device.createComputePipeline({ layout: 'auto', compute: { module } });
  const layout = pipeline.getBindGroupLayout(0);
  const group = device.createBindGroup({ layout, entries: [{ binding: 0, resource: { buffer: sizes } }] });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(COUNT / 64);
  pass.end();
  encoder.copyBufferToBuffer(sizes, 0, readable, 0, bytes);
  device.queue.submit([encoder.finish()]);
  await readable.mapAsync(1);
  const seen = new Set(new Uint32Array(readable.getMappedRange()));
  for (const buffer of [sizes, readable]) buffer.destroy();
  const [lanes = 0] = seen;
  return seen.size === 1 ? lanes : 0;
}
