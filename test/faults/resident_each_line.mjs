// Loaded before a command: after each line that the command prints, prints its resident memory in bytes.
const write = process.stdout.write.bind(process.stdout);
process.stdout.write = (...args) => {
  write(...args);
  return write(`${JSON.stringify({ event: 'resident', bytes: process.memoryUsage.rss() })}\n`);
};
