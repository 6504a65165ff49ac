/** An adapter's name, and whether it runs on the CPU, from GPUAdapterInfo. Hosts fill its fields differently. */

/** The fields of GPUAdapterInfo. A field that the host does not reveal is an empty string. */
export interface Said {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
  readonly isFallbackAdapter?: boolean;
}

/**
 * True if an adapter runs on the CPU. WebGPU calls it a fallback adapter and has a flag for it: in the info, or, in older
 * hosts, on the adapter (`flagged`). Without the flag the names decide: Dawn fills vendor and architecture, in Node also
 * the device; wgpu (Deno) fills the description. With neither flag nor names, as in some versions of Firefox, an adapter
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
 * An adapter's name for people. `known` has the drivers' own names, which `--adapter` matches; Dawn's `device` is one of
 * them in lower case with dashes. On other hosts `device` is a number or empty, and the description is the name.
 */
export function adapterName(said: Said, known: readonly string[]): string {
  const { vendor, architecture, device, description } = said;
  const ofDriver = known.find((name) => slug(name) === slug(device));
  if (ofDriver) return ofDriver;
  const words = (...texts: string[]) => texts.filter((text) => !/^(0x[0-9a-f]+|\d+)?$/i.test(text)).join(' ');
  const nameless = isSoftware(said) ? 'a software adapter without a name' : 'a GPU without a name';
  return words(device) || words(description) || words(vendor, architecture) || nameless;
}

const slug = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]+/g, '-');
