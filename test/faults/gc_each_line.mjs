// Loaded before a command with --expose-gc: collects garbage whenever the command prints: with --log-interval 1, at every step.
const write = process.stdout.write.bind(process.stdout);
process.stdout.write = (...args) => {
  globalThis.gc();
  return write(...args);
};
