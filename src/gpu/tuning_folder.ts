/** The user's folder of tuning files, for installed copies of Patchlight, whose own folder must not change. Pure. */

/**
 * `$XDG_CONFIG_HOME/patchlight/tuning`, else `~/.config/patchlight/tuning`; on Windows `%APPDATA%\patchlight\tuning`.
 * `home` is empty for a user without a home folder; then, and where home is `/`, there is no such folder.
 */
export function userTuningFolder(
  platform: string,
  env: Readonly<Record<string, string | undefined>>,
  home: string,
): string | null {
  if (platform === 'win32') return env.APPDATA ? `${env.APPDATA}\\patchlight\\tuning` : null;
  // The XDG base directory specification says to ignore relative paths.
  if (env.XDG_CONFIG_HOME?.startsWith('/')) return `${env.XDG_CONFIG_HOME}/patchlight/tuning`;
  return /^\/./.test(home) ? `${home}/.config/patchlight/tuning` : null;
}
