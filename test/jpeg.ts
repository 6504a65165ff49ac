/**
 * Writes JPEG files that available encoders do not: four components, with or without Adobe's segment. Baseline, sequential,
 * Huffman-coded (ITU-T T.81). Every block is a plain colour, with only a DC coefficient, so its pixels are exact.
 */

/** The code of DC category n (0 to 11) is n in four bits. The only AC code, one bit, ends a block. */
const DC_BITS = 4;
const CATEGORIES = 12;

const segment = (marker: number, ...bytes: number[]): number[] => [
  0xff,
  marker,
  (bytes.length + 2) >> 8,
  (bytes.length + 2) & 255,
  ...bytes,
];

/** Adobe's transform: 0 if the samples are CMYK, 2 if they are YCCK. */
const adobe = (transform: number): number[] =>
  segment(0xee, ...[...'Adobe'].map((letter) => letter.charCodeAt(0)), 0, 100, 0, 0, 0, 0, transform);

/** EXIF with one entry, the orientation (tag 0x112, a short), in big-endian TIFF. */
const exif = (orientation: number): number[] =>
  segment(
    0xe1,
    ...[...'Exif\0\0MM\0*'].map((letter) => letter.charCodeAt(0)),
    ...[0, 0, 0, 8, 0, 1],
    ...[0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0],
    ...[0, 0, 0, 0],
  );

/** Packs bits, most significant first, and adds a zero byte after each byte 0xff. */
class Bits {
  readonly bytes: number[] = [];
  private byte = 0;
  private count = 0;

  add(value: number, length: number): void {
    for (let i = length - 1; i >= 0; i--) {
      this.byte = (this.byte << 1) | ((value >> i) & 1);
      if (++this.count < 8) continue;
      this.bytes.push(this.byte, ...(this.byte === 255 ? [0] : []));
      [this.byte, this.count] = [0, 0];
    }
  }

  end(): number[] {
    while (this.count > 0) this.add(1, 1);
    return this.bytes;
  }
}

/**
 * A row of blocks of 8 x 8 pixels, one for each of `colours`: the samples (0 to 255) of its components as they are in the
 * file. `transform` is Adobe's, `orientation` EXIF's; without them there are no such segments.
 */
export function jpegOf(
  colours: readonly (readonly number[])[],
  { transform, orientation }: { transform?: number | undefined; orientation?: number } = {},
): Uint8Array {
  const components = Array.from({ length: colours[0]?.length ?? 0 }, (_, i) => i + 1);
  const bits = new Bits();
  const before = components.map(() => 0);
  for (const colour of colours)
    for (const [i, sample] of colour.entries()) {
      // The DC coefficient is 8 · (sample − 128), and is quantised by 8.
      const difference = sample - 128 - (before[i] as number);
      before[i] = sample - 128;
      const category = difference === 0 ? 0 : Math.floor(Math.log2(Math.abs(difference))) + 1;
      bits.add(category, DC_BITS);
      bits.add(difference < 0 ? difference + (1 << category) - 1 : difference, category);
      bits.add(0, 1);
    }
  const width = 8 * colours.length;
  const lengths = (length: number, count: number) =>
    Array.from({ length: 16 }, (_, i) => (i + 1 === length ? count : 0));
  return Uint8Array.from([
    ...[0xff, 0xd8],
    ...(orientation === undefined ? [] : exif(orientation)),
    ...(transform === undefined ? [] : adobe(transform)),
    ...segment(0xdb, 0, ...Array.from({ length: 64 }, () => 8)),
    ...segment(
      0xc0,
      ...[8, 0, 8, width >> 8, width & 255, components.length],
      ...components.flatMap((component) => [component, 0x11, 0]),
    ),
    ...segment(
      0xc4,
      0x00,
      ...lengths(DC_BITS, CATEGORIES),
      ...Array.from({ length: CATEGORIES }, (_, i) => i),
    ),
    ...segment(0xc4, 0x10, ...lengths(1, 1), 0),
    ...segment(
      0xda,
      components.length,
      ...components.flatMap((component) => [component, 0x00]),
      ...[0, 63, 0],
    ),
    ...bits.end(),
    ...[0xff, 0xd9],
  ]);
}
