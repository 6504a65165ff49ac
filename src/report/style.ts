/** The style sheet of the page. Plots use the colour variables at its top. */
export const style = `
:root {
  color-scheme: light dark;
  --bg: #fdfcfa; --panel: #f5f2ec; --fg: #1d1c1a; --muted: #6d6962; --line: #e2ddd3;
  --series1: #2f5fb3; --series2: #d2622a; --series3: #2e8b6f; --series4: #8a56a6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --bg: #141517; --panel: #1d1f22; --fg: #e9e7e2; --muted: #9b978f; --line: #33353a;
    --series1: #7da7f0; --series2: #f0935e; --series3: #63c3a4; --series4: #c193dc;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--bg); color: var(--fg);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; font-variant-numeric: tabular-nums;
}
main { max-width: 1080px; margin: 0 auto; padding: 56px 24px 96px; }
h1 { font-size: clamp(28px, 5vw, 42px); line-height: 1.15; font-weight: 650; letter-spacing: -0.02em; margin: 4px 0 8px; overflow-wrap: anywhere; }
h2 { font-size: 24px; font-weight: 620; letter-spacing: -0.01em; margin: 0 0 6px; }
h3 { font-size: 15px; font-weight: 620; margin: 32px 0 4px; }
.over { color: var(--muted); font-size: 13px; letter-spacing: 0.08em; text-transform: uppercase; margin: 0; }
.sub, .about { color: var(--muted); max-width: 70ch; margin: 0 0 20px; }
.about b { color: var(--fg); font-weight: 600; }
section { border-top: 1px solid var(--line); padding-top: 40px; margin-top: 56px; }
figure { margin: 0; min-width: 0; }
figcaption { color: var(--muted); font-size: 13.5px; line-height: 1.45; margin-top: 10px; max-width: 62ch; }
figcaption, .about { overflow-wrap: anywhere; }
svg, img { display: block; }
img { image-rendering: pixelated; border-radius: 4px; }

.numbers { display: grid; grid-template-columns: 1.8fr 1fr 1fr 1fr; gap: 32px; margin: 44px 0 36px; padding: 0; }
.numbers div { min-width: 0; }
.numbers dt { color: var(--muted); font-size: 13.5px; }
.numbers dd { margin: 2px 0 0; font-size: 28px; font-weight: 600; letter-spacing: -0.02em; line-height: 1.2; white-space: nowrap; }
.numbers dd small { display: block; font-size: 13px; font-weight: 400; letter-spacing: 0; line-height: 1.4; color: var(--muted); white-space: normal; margin-top: 2px; }
.numbers .main { grid-row: span 2; }
.numbers .main dd { color: var(--series1); font-size: clamp(48px, 5vw, 68px); line-height: 1.1; }
code { font: 0.92em ui-monospace, monospace; white-space: nowrap; }
.honest { border-left: 3px solid var(--series1); padding: 2px 0 2px 16px; max-width: 74ch; margin: 0; }

.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 40px 48px; margin-top: 28px; }
.plots.narrow { grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); }

ol { list-style: none; margin: 0; padding: 0; }
.bars { columns: 2 340px; column-gap: 48px; }
.bars li { break-inside: avoid; }
.bars li, .card li {
  display: flex; justify-content: space-between; gap: 8px; padding: 3px 8px; margin-bottom: 4px; border-radius: 3px; font-size: 14px;
  background: linear-gradient(90deg, color-mix(in srgb, var(--hue) 32%, transparent) calc(var(--p) * 100%), var(--panel) 0);
}
.bars li { --hue: var(--series1); }

table { border-collapse: collapse; font-size: 14px; }
th { font-weight: 400; text-align: left; }
.confusion { width: 100%; table-layout: fixed; font-size: 12px; line-height: 1; }
.confusion tr > :first-child { width: 84px; }
.confusion th { color: var(--muted); overflow: hidden; text-overflow: ellipsis; white-space: nowrap; padding-right: 8px; text-align: right; }
.confusion thead th { height: 84px; padding: 0 0 6px; vertical-align: bottom; text-align: center; }
.confusion thead span { writing-mode: vertical-rl; transform: rotate(180deg); line-height: 1.2; display: inline-block; max-height: 80px; overflow: hidden; text-overflow: ellipsis; }
.confusion tbody td {
  text-align: center; height: 32px; padding: 0; border: 1px solid var(--bg);
  background: color-mix(in srgb, var(--hue) calc(var(--p) * 100%), var(--panel));
}
.confusion .right { --hue: var(--series1); }
.confusion .wrong { --hue: var(--series2); }
.confusion .full { color: var(--bg); font-weight: 600; }
.confusion .zero { color: var(--line); }
.pairs { width: 100%; }
.pairs th { color: var(--muted); font-size: 13px; }
.pairs th, .pairs td { padding: 7px 12px 7px 0; border-bottom: 1px solid var(--line); }
.pairs td:nth-child(-n + 2) { overflow-wrap: anywhere; }
.pairs th:nth-child(n + 3), .pairs td:nth-child(n + 3) { white-space: nowrap; text-align: right; padding-right: 0; padding-left: 12px; }

.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 236px), 1fr)); gap: 22px 28px; }
.card { display: grid; grid-template-columns: 84px 1fr; column-gap: 12px; align-items: start; }
.card img { width: 84px; height: auto; }
.card figcaption { grid-column: 1 / -1; margin-top: 4px; color: var(--fg); }
.card li { font-size: 13px; padding: 2px 6px; margin-bottom: 3px; --hue: var(--muted); }
.card li.true { --hue: var(--series3); }
.bars li span:first-child { min-width: 0; overflow-wrap: anywhere; }
.bars li span:last-child { white-space: nowrap; }
.card figure, .card ol { min-width: 0; }
.card li span:first-child { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.card li span:last-child { white-space: nowrap; }

.lookeds { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 460px), 1fr)); gap: 36px 48px; margin-top: 28px; }
.looked { display: flex; flex-wrap: wrap; gap: 10px; align-items: flex-start; }
.pair { display: flex; gap: 10px; }
.pair img { width: 128px; height: auto; }
.heads { --edge: 61px; display: grid; grid-template-columns: repeat(auto-fill, var(--edge)); gap: 6px; flex: 1 1 128px; max-width: calc(var(--columns) * (var(--edge) + 6px)); }
.heads img { width: 100%; height: auto; outline: 1px solid var(--line); }
.attention figcaption b { color: var(--fg); font-weight: 600; }

.columns { columns: 3 290px; column-gap: 48px; }
.columns > div { break-inside: avoid; margin-bottom: 24px; }
.columns h3 { margin-top: 0; }
.facts { width: 100%; }
.facts th, .facts td { padding: 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.facts th { color: var(--muted); padding-right: 16px; white-space: nowrap; }
.facts td { overflow-wrap: anywhere; }
.columns .facts td { text-align: right; }
.facts small { color: var(--muted); font-size: 13px; }
.facts b { font-weight: 650; }

@media (max-width: 900px) {
  .numbers { grid-template-columns: repeat(3, 1fr); }
  .numbers .main { grid-row: auto; grid-column: span 3; }
}
@media (max-width: 560px) {
  main { padding: 32px 16px 64px; }
  section { padding-top: 32px; margin-top: 44px; }
  .numbers { grid-template-columns: 1fr 1fr; gap: 24px 20px; margin-top: 32px; }
  .numbers .main { grid-column: span 2; }
  .numbers div:not(.main) dd { font-size: 24px; }
  .confusion { font-size: 10.5px; }
  .confusion tr > :first-child { width: 66px; }
  .confusion tbody td { height: 27px; }
  .cards { grid-template-columns: 1fr; }
  .pair img { width: 104px; }
  .heads { --edge: 49px; flex-basis: 104px; }
}
@media print { figure { break-inside: avoid; } }
`;
