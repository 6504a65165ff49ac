/**
 * TensorBoard's event files: TFRecords of Event messages (tensorflow/core/util/event.proto, tsl/lib/io/record_writer.h).
 * A record is its length (u64), the masked CRC32C of those eight bytes, the message, and the masked CRC32C of the message;
 * all little-endian. The first event of a file carries only the version. This file works on bytes and opens no file.
 */
import { PbfReader, PbfWriter } from 'pbf';
import { crc32c } from '../core/crc32c.js';
import { FormatError } from '../core/errors.js';

/** One event. Absent fields are not written. */
export interface TfEvent {
  /** Seconds since 1970. */
  readonly wallTime: number;
  readonly step: number;
  readonly fileVersion?: string;
  /** A session starts at `step`: readers drop what an earlier session logged for that step and later ones. */
  readonly sessionStart?: boolean;
  /** Values by tag, each kept as a float32. */
  readonly scalars?: Readonly<Record<string, number>>;
}

/** The first event of every file. */
export const FILE_VERSION = 'brain.Event:2';

// Field numbers of the messages.
const EVENT = { wallTime: 1, step: 2, fileVersion: 3, summary: 5, sessionLog: 7 } as const;
const SUMMARY = { value: 1 } as const;
const VALUE = { tag: 1, simpleValue: 2 } as const;
const SESSION_LOG = { status: 1 } as const;
const SESSION_START = 1;

const HEADER = 12;
const FOOTER = 4;

/** TFRecord masks a CRC that is stored beside its data, because the CRC of data that contains its own CRC is weak. */
function maskedCrc(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** One whole record. */
export function encodeEvent(event: TfEvent): Uint8Array {
  const message = new PbfWriter();
  writeEvent(event, message);
  const data = message.finish();
  const record = new Uint8Array(HEADER + data.length + FOOTER);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, maskedCrc(record.subarray(0, 8)), true);
  record.set(data, HEADER);
  view.setUint32(HEADER + data.length, maskedCrc(data), true);
  return record;
}

function writeEvent({ wallTime, step, fileVersion, sessionStart, scalars }: TfEvent, pbf: PbfWriter): void {
  pbf.writeDoubleField(EVENT.wallTime, wallTime);
  pbf.writeVarintField(EVENT.step, step);
  if (fileVersion !== undefined) pbf.writeStringField(EVENT.fileVersion, fileVersion);
  if (scalars) pbf.writeMessage(EVENT.summary, writeSummary, scalars);
  if (sessionStart)
    pbf.writeMessage(
      EVENT.sessionLog,
      (status, log) => log.writeVarintField(SESSION_LOG.status, status),
      SESSION_START,
    );
}

function writeSummary(scalars: Readonly<Record<string, number>>, pbf: PbfWriter): void {
  for (const entry of Object.entries(scalars))
    pbf.writeMessage(
      SUMMARY.value,
      ([tag, value], field) => {
        field.writeStringField(VALUE.tag, tag);
        field.writeFloatField(VALUE.simpleValue, value);
      },
      entry,
    );
}

/**
 * All events of a file. A FormatError names `file` and the record, counted from 0, that is cut short or whose length,
 * message or checksums are damaged. Fields of Event that TfEvent lacks are skipped.
 */
export function decodeEvents(file: string, bytes: Uint8Array): TfEvent[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const events: TfEvent[] = [];
  for (let at = 0; at < bytes.length; ) {
    const fail = (sentence: string): never => {
      throw new FormatError(file, `record ${events.length} ${sentence}.`);
    };
    const left = bytes.length - at;
    if (left < HEADER) fail(`is cut short: ${left} bytes are left of its header`);
    if (view.getUint32(at + 8, true) !== maskedCrc(bytes.subarray(at, at + 8)))
      fail('has a length whose checksum is wrong');
    const length = Number(view.getBigUint64(at, true));
    if (left < HEADER + length + FOOTER)
      fail(`is cut short: ${left} bytes are left of ${HEADER + length + FOOTER}`);
    const data = bytes.subarray(at + HEADER, at + HEADER + length);
    if (view.getUint32(at + HEADER + length, true) !== maskedCrc(data))
      fail('has data whose checksum is wrong');
    events.push(readEvent(data) ?? fail('is no Event message'));
    at += HEADER + length + FOOTER;
  }
  return events;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function readEvent(data: Uint8Array): TfEvent | null {
  const empty: Mutable<TfEvent> = { wallTime: 0, step: 0 };
  try {
    return new PbfReader(data).readFields((field, event, pbf) => {
      if (field === EVENT.wallTime) event.wallTime = pbf.readDouble();
      else if (field === EVENT.step) event.step = pbf.readVarint(true);
      else if (field === EVENT.fileVersion) event.fileVersion = pbf.readString();
      else if (field === EVENT.summary) event.scalars = pbf.readMessage(readSummary, {});
      else if (field === EVENT.sessionLog)
        event.sessionStart = pbf.readMessage(readStatus, [0])[0] === SESSION_START;
    }, empty);
  } catch {
    return null; // the reader ran out of bytes or met a wire type that does not exist
  }
}

function readStatus(field: number, status: [number], pbf: PbfReader): void {
  if (field === SESSION_LOG.status) status[0] = pbf.readVarint();
}

function readSummary(field: number, scalars: Record<string, number>, pbf: PbfReader): void {
  if (field !== SUMMARY.value) return;
  const entry = { tag: '', value: Number.NaN };
  pbf.readMessage((inner, found, value) => {
    if (inner === VALUE.tag) found.tag = value.readString();
    else if (inner === VALUE.simpleValue) found.value = value.readFloat();
  }, entry);
  scalars[entry.tag] = entry.value;
}
