// Reads apt's source lists, to add the backports of the mirror that a machine already uses.

/** `deb [options] uri suite components...`, one entry a line. */
function parseLines(text) {
  const entries = [];
  for (const line of text.split('\n')) {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)/.exec(line);
    if (!match) continue;
    const [, options = '', uris, suites, components] = match;
    const entry = { types: 'deb', uris, suites, components: components.trim() };
    for (const option of options.trim().split(/\s+/).filter(Boolean)) {
      const [name, value = ''] = option.split(/\+?=/);
      entry[name === 'arch' ? 'architectures' : name] = value.replaceAll(',', ' ');
    }
    entries.push(entry);
  }
  return entries;
}

/** deb822: `Field: value` stanzas between empty lines; a line that begins with a blank continues its field. */
function parseStanzas(text) {
  const lines = text.split('\n').filter((line) => !line.startsWith('#'));
  return lines
    .join('\n')
    .split(/\n\s*\n/)
    .map((stanza) => {
      const entry = {};
      for (const [, name, value] of stanza.matchAll(/^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)/gm)) {
        entry[name.toLowerCase()] = value.trimEnd();
      }
      return entry;
    })
    .filter((entry) => entry.types !== undefined);
}

const words = (field) => (field ?? '').split(/\s+/).filter(Boolean);

/**
 * The deb822 text of a source for `<codename>-backports`, from the texts of the machine's source files. It has the mirror,
 * keyring and options of the release itself. '' if backports are configured already; null if no source has the release.
 */
export function backportsSource(texts, codename) {
  const entries = texts
    .flatMap((text) => (/^Types:/im.test(text) ? parseStanzas(text) : parseLines(text)))
    .filter((entry) => words(entry.types).includes('deb') && !/^(no|false)$/i.test(entry.enabled ?? ''));
  const has = (entry, suite) => words(entry.suites).includes(suite);
  if (entries.some((entry) => has(entry, `${codename}-backports`))) return '';

  // Third parties also publish under the release's name. Only the distribution's own mirror also has its updates.
  const mirror = (entry) => words(entry.uris)[0];
  const rank = (entry) =>
    (entries.some((other) => mirror(other) === mirror(entry) && has(other, `${codename}-updates`)) ? 2 : 0) +
    (/\/debian\/?$/.test(mirror(entry)) ? 1 : 0);
  const [best] = entries
    .filter((entry) => has(entry, codename) && words(entry.components).includes('main'))
    .filter((entry) => !mirror(entry).startsWith('cdrom:'))
    .sort((a, b) => rank(b) - rank(a));
  if (!best) return null;

  const source = {
    ...best,
    types: 'deb',
    uris: mirror(best),
    suites: `${codename}-backports`,
    components: 'main',
  };
  return `${Object.entries(source)
    .map(([name, value]) => `${name}: ${value}`)
    .join('\n')}\n`;
}
