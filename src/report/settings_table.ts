/** Every setting of the run by group, those that differ from their defaults in bold; and where it ran. */
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

export function settingsSection(settings: Settings): Html {
  const groups = [...new Set(settingNames.map((name) => settingsTable[name].group))];
  const tables = groups.map((group) => {
    const names = settingNames.filter((name) => settingsTable[name].group === group);
    return html`<div><h3>${group}</h3>${facts(names.map((name) => row(name, settings)))}</div>`;
  });
  return section(
    'settings',
    'Settings',
    'Bold: not the default.',
    html`<div class="columns">${tables}</div>`,
  );
}

export const environmentSection = (rows: readonly (readonly [Child, Child])[]): Html =>
  section('environment', 'Environment', 'Where and with what the numbers were made.', facts(rows));
