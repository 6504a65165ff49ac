/** Reading GPUAdapterInfo: hosts fill its fields differently. */

/** What an adapter says of itself (GPUAdapterInfo); a host that keeps something to itself has an empty string for it. */
export interface Said {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
  readonly isFallbackAdapter?: boolean;
}

/**
 * Whether an adapter runs on the CPU. WebGPU calls such an adapter a fallback adapter: a flag of the info, `flagged` where an
 * older host has it on the adapter. Without the flag, names tell: Dawn gives vendor and architecture, in Node the
 * device too; wgpu, in Deno, a description. Where there is neither, as in a Firefox without the flag, an adapter
 * counts as a GPU.
 */
export function isSoftware(info: Said, flagged = false): boolean {
  const { architecture, device, description } = info;
  return (
    flagged ||
    info.isFallbackAdapter === true ||
    /^(software|swiftshader|warp)$/i.test(architecture) ||
    /llvmpipe|swiftshader|lavapipe|\bwarp\b|basic.render/i.test(`${device} ${description}`)
  );
}

/**
 * An adapter's name for people. `known` are the names as the driver writes them, which `--adapter` matches; Dawn gives the device
 * as an identifier made of one of them. Elsewhere the device is a number or missing, and the description is the name.
 */
export function adapterName(
  { vendor, architecture, device, description }: Said,
  known: readonly string[],
): string {
  const ofDriver = known.find((name) => slug(name) === slug(device));
  if (ofDriver) return ofDriver;
  const words = (...texts: string[]) => texts.filter((text) => !/^(0x[0-9a-f]+|\d+)?$/i.test(text)).join(' ');
  return words(device) || words(description) || words(vendor, architecture) || 'an adapter without a name';
}

const slug = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]+/g, '-');
