/** Counts the buffers and textures of a device, and makes one chosen allocation fail. */

/** The failure is an exception at once, or a later out-of-memory error of the driver. */
export type Refusal = 'at once' | 'later';

interface Resource {
  readonly bytes: number;
  alive: boolean;
}

export class Allocations {
  /** Allocations since `arm`. */
  asked = 0;
  private refused = 0;
  private how: Refusal = 'at once';
  private readonly resources: Resource[] = [];
  private word: GPUError | null = null;

  constructor(device: GPUDevice) {
    const pop = device.popErrorScope.bind(device);
    device.popErrorScope = () => {
      const told = this.word;
      this.word = null;
      return pop().then((error) => told ?? error);
    };
    const buffer = device.createBuffer.bind(device);
    device.createBuffer = (descriptor) =>
      this.create(descriptor.size, (usage = descriptor.usage) => buffer({ ...descriptor, usage }));
    const texture = device.createTexture.bind(device);
    device.createTexture = (descriptor) => {
      const [width = 1, height = 1] = descriptor.size as number[];
      return this.create(16 * width * height, (usage = descriptor.usage) =>
        texture({ ...descriptor, usage }),
      );
    };
  }

  /** Makes the n-th allocation from now on fail; with 0, none. */
  arm(nth: number, how: Refusal): void {
    this.asked = 0;
    this.refused = nth;
    this.how = how;
  }

  get liveBytes(): number {
    return this.resources.reduce((sum, { alive, bytes }) => sum + (alive ? bytes : 0), 0);
  }

  private create<T extends { destroy(): undefined }>(bytes: number, make: (usage?: number) => T): T {
    const refuse = ++this.asked === this.refused;
    if (refuse && this.how === 'at once') throw new Error('the allocator has no more');
    if (refuse) this.word = { message: 'the allocator has no more' } as GPUError;
    const made = make(refuse ? 0 : undefined); // a buffer with usage 0 is invalid, like one without memory
    const resource = { bytes, alive: !refuse };
    this.resources.push(resource);
    const destroy = made.destroy.bind(made);
    made.destroy = () => {
      resource.alive = false;
      return destroy();
    };
    return made;
  }
}
