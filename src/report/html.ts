/** A template for HTML that escapes every inserted value which is not `Html`. */

/** Text that is already HTML and is not escaped. */
export class Html {
  constructor(readonly text: string) {}
}

export type Child = Html | string | number | null | readonly Child[];

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** The text with `&`, `<`, `>` and both quotes as entities. */
export const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (c) => ENTITIES[c] as string);

function render(child: Child): string {
  if (child === null) return '';
  if (child instanceof Html) return child.text;
  return typeof child === 'object' ? child.map(render).join('') : escapeHtml(String(child));
}

/** html`<p>${text}</p>`: escapes strings and numbers, joins arrays, and turns null into nothing. */
export const html = (strings: TemplateStringsArray, ...children: readonly Child[]): Html =>
  new Html(strings.reduce((text, string, i) => text + render(children[i - 1] as Child) + string));

/** A section of the page: a heading, a sentence or two about its content, then the content. */
export const section = (id: string, title: string, about: Child, ...content: readonly Child[]): Html =>
  html`<section id="${id}"><h2>${title}</h2><p class="about">${about}</p>${content}</section>\n`;

/** A figure with its caption underneath. */
export const figure = (content: Child, caption: Child, kind = 'plot'): Html =>
  html`<figure class="${kind}">${content}<figcaption>${caption}</figcaption></figure>`;

/** A table of two columns: names and values. */
export const facts = (rows: readonly (readonly [Child, Child])[]): Html =>
  html`<table class="facts">${rows.map(([name, value]) => html`<tr><th scope="row">${name}</th><td>${value}</td></tr>`)}</table>`;

/** A fraction as a percentage; a dash for null. */
export const percent = (fraction: number | null, digits = 1): string =>
  fraction === null ? '–' : `${(100 * fraction).toFixed(digits)} %`;

/** A rounded number with commas between thousands. */
export const count = (n: number): string => Math.round(n).toLocaleString('en-US');
