// Loaded before a command: each line that it prints is followed by one with the bytes that its process has in memory.
const write = process.stdout.write.bind(process.stdout);
process.stdout.write = (...args) => {
  write(...args);
  return write(`${JSON.stringify({ event: 'resident', bytes: process.memoryUsage.rss() })}\n`);
};
