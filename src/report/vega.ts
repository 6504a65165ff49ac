/** The functions of Vega and Vega-Lite that plots use. scripts/build.mjs bundles them into a file of their own. */
export { parse, View } from 'vega';
export { compile, type TopLevelSpec } from 'vega-lite';
