// Loaded before a command with --expose-gc: collects garbage whenever it prints, which with --log-interval 1 is at every step.
const write = process.stdout.write.bind(process.stdout);
process.stdout.write = (...args) => {
  globalThis.gc();
  return write(...args);
};
