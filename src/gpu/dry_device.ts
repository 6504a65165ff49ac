/**
 * A device of no memory that runs nothing. With a `Gpu` on it, the code of a training step makes the same buffers and
 * textures in the same order as on the real device, and so counts its memory exactly, in a moment.
 */

const nothing = (): void => {};
const granted = Promise.resolve(null);
const object = (): object => ({});

const buffer = ({ size }: GPUBufferDescriptor): object => ({
  destroy: nothing,
  mapAsync: () => granted,
  getMappedRange: () => new ArrayBuffer(size),
  unmap: nothing,
});

const pass = { setPipeline: nothing, setBindGroup: nothing, setImmediates: nothing, end: nothing };

const encoder = {
  beginComputePass: () => ({ ...pass, dispatchWorkgroups: nothing }),
  copyBufferToBuffer: nothing,
  copyBufferToTexture: nothing,
  clearBuffer: nothing,
  finish: object,
};

/** The methods of GPUDevice that `Gpu` calls. */
const methods = {
  createBuffer: buffer,
  createTexture: () => ({ createView: object, destroy: nothing }),
  createShaderModule: () => ({ getCompilationInfo: () => Promise.resolve({ messages: [] }) }),
  createBindGroupLayout: object,
  createPipelineLayout: object,
  createComputePipeline: object,
  createBindGroup: object,
  createQuerySet: object,
  createCommandEncoder: () => encoder,
  pushErrorScope: nothing,
  popErrorScope: () => granted,
  addEventListener: nothing,
  destroy: nothing,
  queue: { writeBuffer: nothing, submit: nothing, onSubmittedWorkDone: () => granted },
  lost: new Promise(nothing),
};

/** The limits that `Gpu` asks a device for. */
export type KernelLimits = Readonly<
  Record<
    | 'maxComputeInvocationsPerWorkgroup'
    | 'maxComputeWorkgroupSizeX'
    | 'maxComputeWorkgroupStorageSize'
    | 'maxStorageBuffersPerShaderStage'
    | 'maxStorageBufferBindingSize'
    | 'maxBufferSize'
    | 'maxTextureDimension2D',
    number
  >
>;

/** A dry device with these limits and features. */
export const dryDevice = (limits: KernelLimits, features: ReadonlySet<string>): GPUDevice =>
  ({ ...methods, limits, features }) as unknown as GPUDevice;
