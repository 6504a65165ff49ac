/**
 * CRC32C (Castagnoli, RFC 3720 appendix B.4; reflected polynomial 0x82F63B78): the checksum of TensorBoard's records
 * and of our checkpoints. Each iteration takes eight bytes through eight tables (Kounavis and Berry, "Novel Table Lookup-Based
 * Algorithms for High-Performance CRC Generation", 2008), because a checkpoint is hundreds of megabytes.
 */

/** `tables[256 * k + b]` is the CRC of byte b followed by k zero bytes. */
const tables = new Uint32Array(8 * 256);
for (let b = 0; b < 256; b++) {
  let crc = b;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  tables[b] = crc;
}
for (let i = 256; i < tables.length; i++) {
  const shorter = tables[i - 256] as number;
  tables[i] = (shorter >>> 8) ^ (tables[shorter & 255] as number);
}

/** The checksum of `bytes`. With `crc`, the checksum of the bytes before them, it is the checksum of all. */
export function crc32c(bytes: Uint8Array, crc = 0): number {
  const t = tables;
  const b = bytes;
  let c = ~crc;
  let i = 0;
  for (const end = bytes.length - 7; i < end; i += 8) {
    c ^= b[i]! | (b[i + 1]! << 8) | (b[i + 2]! << 16) | (b[i + 3]! << 24);
    c =
      t[1792 + (c & 255)]! ^
      t[1536 + ((c >>> 8) & 255)]! ^
      t[1280 + ((c >>> 16) & 255)]! ^
      t[1024 + (c >>> 24)]! ^
      t[768 + b[i + 4]!]! ^
      t[512 + b[i + 5]!]! ^
      t[256 + b[i + 6]!]! ^
      t[b[i + 7]!]!;
  }
  for (; i < bytes.length; i++) c = (c >>> 8) ^ t[(c ^ b[i]!) & 255]!;
  return ~c >>> 0;
}
