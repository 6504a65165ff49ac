// The one thing to install on a system where WebGPU finds no adapter. Pure functions: scripts/adapter.mjs asks them.

/**
 * Mesa's software Vulkan driver and the Vulkan loader by a word of os-release's ID or ID_LIKE, for systems whose packages
 * scripts/adapter.mjs does not install itself. Alpine is not among them, because its C library is not glibc.
 */
const PACKAGES = {
  fedora: 'sudo dnf install -y mesa-vulkan-drivers vulkan-loader',
  rhel: 'sudo dnf install -y mesa-vulkan-drivers vulkan-loader',
  arch: 'sudo pacman -S --needed vulkan-swrast vulkan-icd-loader',
  suse: 'sudo zypper install -y libvulkan_lvp libvulkan1',
  void: 'sudo xbps-install -S mesa-vulkan-lavapipe vulkan-loader',
};

const MUSL =
  "The webgpu package needs glibc, and this system's C library is musl: run Patchlight in the container that the Dockerfile " +
  'describes. (Here, mesa-vulkan-swrast and vulkan-loader would be the driver, but Node could not load webgpu.)';

/** The fields of an os-release file. */
export const parseRelease = (text) =>
  Object.fromEntries(
    [...text.matchAll(/^(\w+)=["']?([^"'\n]*)["']?$/gm)].map(([, name, value]) => [name, value]),
  );

/** The words that name a Linux distribution and those that it is like, such as `['ubuntu', 'debian']`. */
export const familyOf = ({ ID = '', ID_LIKE = '' }) => [ID, ...ID_LIKE.split(' ')].filter(Boolean);

/** A sentence for a system without an adapter. `platform` is Node's, `family` that of `familyOf`, empty where it is unknown. */
export function remedyFor(platform, family) {
  if (platform === 'darwin') return 'macOS needs no driver, but a virtual machine must give its guest a GPU.';
  if (platform === 'win32') return 'Windows needs no driver but that of its graphics card: update it.';
  if (family.includes('alpine')) return MUSL;
  const install = family.map((word) => PACKAGES[word]).find(Boolean);
  if (install) return `Run: ${install}`;
  return "Install this system's package of Mesa's Vulkan driver lavapipe (also called swrast), and the Vulkan loader.";
}
