// `npm run docs`: the reference of the library, written by TypeDoc from the docstrings into site/api/, which git ignores. A symbol
// without a docstring, or a link that leads nowhere, is an error.
import { register } from 'node:module';
import { join } from 'node:path';
import { isMain, root, runMain, Trouble } from './common.mjs';

// TypeDoc does not take TypeScript 7, the native compiler, which checks this project. TypeDoc alone gets version 6, which npm
// knows as `typescript-6`.
const TYPESCRIPT = `export const resolve = (name, context, next) => next(name === 'typescript' ? 'typescript-6' : name, context);`;

/** Symbols that a public signature mentions and the library does not export, by reason. */
const NOT_EXPORTED = {
  'an op’s attributes are the arguments of its function': ['Attrs', 'AttentionAttrs'],
  'the reference shows the type that is made of it': [
    ...['Affine', 'More', 'Optional', 'Pair', 'Widen', 'Metadata', 'fits', 'runRows', 'VitSettings'],
    ...['Checked', 'RunImages', 'StepFlops', 'StepValues'],
  ],
  'an inner part, which may change in any version': [
    ...['Block', 'Choice', 'Command', 'CompileJob', 'DeviceMemory', 'Diagnostics', 'Family', 'Fingerprint'],
    ...['FiniteCheck', 'Interface', 'KernelLimits', 'Knobs', 'LossScaleStatus', 'MetricsRing'],
    ...['NormalisedImages', 'Origin', 'Profiler', 'Sampler', 'StepMetrics', 'Tokenizer', 'TrainingInput'],
    ...['TuningFile', 'TuningSource', 'Validation'],
  ],
};

/** The records of ops, such as `geluOp`: docs/ops.md shows their formulas, and their functions have the docstrings. */
const AN_OP = /\.\w+Op \(Variable\)/;

/** Writes the reference into a folder. Throws Trouble with TypeDoc's sentences if anything is missing. */
export async function writeReference(out) {
  register(`data:text/javascript,${encodeURIComponent(TYPESCRIPT)}`);
  const { Application, Logger, LogLevel } = await import('typedoc');
  const app = await Application.bootstrap({
    entryPoints: ['src/index.ts', 'src/node.ts'].map((name) => join(root, name)),
    tsconfig: join(root, 'tsconfig.json'),
    basePath: root,
    out,
    name: 'Patchlight',
    readme: 'none',
    disableSources: true, // links to a repository, whose address differs from clone to clone
    excludePrivate: true,
    validation: { notExported: true, invalidLink: true, notDocumented: true },
    requiredToBeDocumented: ['Class', 'Interface', 'Function', 'Method', 'Variable', 'TypeAlias'],
    intentionallyNotExported: Object.values(NOT_EXPORTED).flat(),
  });
  const said = [];
  class Listener extends Logger {
    log(message, level) {
      if (level >= LogLevel.Warn && !AN_OP.test(message)) said.push(message);
    }
  }
  app.logger = new Listener();
  const project = await app.convert();
  if (project) {
    app.validate(project);
    await app.generateOutputs(project);
  }
  if (said.length > 0) throw new Trouble(`${said.join('\n')}\nThe reference needs these.`);
}

if (isMain(import.meta.url))
  await runMain(async () => {
    const out = join(root, 'site/api');
    await writeReference(out);
    console.log(join(out, 'index.html'));
  });
