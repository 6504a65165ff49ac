/** Tables of the run's settings by group, changed ones in bold, and of its environment. */
import { kebab, type SettingName, type Settings, settingNames, settingsTable } from '../recipe/settings.js';
import { type Child, facts, type Html, html, section } from './html.js';

const shown = (value: Settings[SettingName]): string => (value === '' ? 'empty' : String(value));

function row(name: SettingName, settings: Settings): readonly [Child, Child] {
  const value = shown(settings[name]);
  const isDefault = settings[name] === settingsTable[name].default;
  return [
    html`<span title="${settingsTable[name].about}">${kebab(name)}</span>`,
    isDefault ? value : html`<b>${value}</b>`,
  ];
}

/** The section of a report about settings. */
export function settingsSection(settings: Settings): Html {
  const groups = [...new Set(settingNames.map((name) => settingsTable[name].group))];
  const tables = groups.map((group) => {
    const names = settingNames.filter((name) => settingsTable[name].group === group);
    return html`<div><h3>${group}</h3>${facts(names.map((name) => row(name, settings)))}</div>`;
  });
  return section(
    'settings',
    'Settings',
    'Settings that differ from their defaults are bold.',
    html`<div class="columns">${tables}</div>`,
  );
}

/** The section of a report about the environment, from its rows. */
export const environmentSection = (rows: readonly (readonly [Child, Child])[]): Html =>
  section(
    'environment',
    'Environment',
    'The software and hardware of this run and of its evaluation.',
    facts(rows),
  );
