/** A kernel with all that it imports (scripts/wgsl.mjs). */
declare module '*.wgsl' {
  const source: string;
  export default source;
}

/** The package's version, put in by the build. */
declare const __VERSION__: string;

/** A style sheet, which esbuild puts beside the page's script. */
declare module '*.css';
