/** Plots as SVG by Vega-Lite. Their colours are CSS variables of the page, so that a plot follows light and dark mode. */
import { Html } from './html.js';
import { compile, parse, type TopLevelSpec, View } from './vega.js';

const text = {
  labelColor: 'var(--muted)',
  titleColor: 'var(--fg)',
  titleFontWeight: 'normal' as const,
  labelFontSize: 12,
  titleFontSize: 12,
};

const theme = {
  background: 'transparent',
  font: 'system-ui, sans-serif',
  view: { stroke: 'transparent' },
  axis: {
    ...text,
    labelFlush: false,
    gridColor: 'var(--line)',
    domainColor: 'var(--line)',
    tickColor: 'var(--line)',
  },
  legend: text,
  title: { color: 'var(--fg)', fontWeight: 'normal' as const },
  text: { color: 'var(--fg)' },
  range: { category: ['var(--series1)', 'var(--series2)', 'var(--series3)', 'var(--series4)'] },
};

/** A Vega-Lite specification as an SVG element that scales with its container. */
export async function plotSvg(spec: TopLevelSpec): Promise<Html> {
  const themed = { ...spec, config: { ...theme, ...spec.config } } as TopLevelSpec;
  const view = new View(parse(compile(themed).spec), { renderer: 'none' });
  try {
    const svg = await view.toSVG();
    return new Html(
      svg
        .replace(/ xmlns(:xlink)?="[^"]*"/g, '') // SVG inside of HTML needs no namespace
        // The view box keeps the aspect ratio; the page sets the width.
        .replace(/ width="([\d.]+)" height="[\d.]+"/, ' style="width:100%;max-width:$1px;height:auto"'),
    );
  } finally {
    view.finalize();
  }
}
