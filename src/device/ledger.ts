/**
 * The book of what was signed, refused and decided: what a line holds, how it
 * reads, and whether nobody changed one.
 *
 * ```
 * 2026-11-21 07:42:18  #1234  signed    commitment 812 of 02ab34cd56…/3: …; allowed by the rules
 * ```
 *
 * | kind | what happened |
 * | --- | --- |
 * | signed, revoked | something left with the node's name on it |
 * | approved, declined, asked | a payment or a question, and what became of it |
 * | refused | a request that a rule, or the card's standing, did not let pass |
 * | alarm, chain | what blocks did to a channel, and what to look after |
 * | policy, allowlist, pairing, card, started, stopped | what the owner did |
 * | control | what the owner said by a signed message, or somebody tried to say |
 *
 * The store chains the lines: each hash covers the hash before, the number, the
 * time and the body, so that one changed byte, one line left out or one put in
 * is found from the newest hash alone.
 *
 * An exported book is JSON, one object a line: first where it starts and ends,
 * then the lines. It is checked byte for byte: what is written there must be
 * what the export of its own content writes.
 *
 * What it does not do: know a request (`signer/ledger.ts`), or keep the book
 * (`store/`).
 *
 * @module
 */

import { DecodeError } from "../errors.ts";
import { lineDigest } from "../store/digest.ts";
import type {
  Ledger,
  LedgerLine,
  LedgerMark,
  NewLine,
} from "../store/store.ts";
import { decode, encode, option, struct, u64 } from "../wire/codec.ts";
import { nodeId, octets } from "../wire/types.ts";

/** A line, before it is one. */
export interface LedgerEntry {
  /** One word: see the table of this file. */
  readonly kind: string;
  /** CLN's name of the request. */
  readonly request?: string | undefined;
  /** The peer's node id, in hex. */
  readonly peer?: string | undefined;
  /** The channel's dbid. */
  readonly channel?: bigint | undefined;
  /** One sentence without a full stop. */
  readonly text: string;
  /** By what right, for what was signed. */
  readonly allowedBy?: string | undefined;
}

const FORMAT = 1;
/** Longest text of a line: a line is for people. */
const LONGEST_TEXT = 2000;

const entryRecord = struct("ledger_entry", {
  kind: octets,
  request: option(octets),
  peer: option(nodeId),
  channel: option(u64),
  text: octets,
  allowedBy: option(octets),
});

const utf8 = new TextEncoder();

/**
 * Text that can only be read: what is neither printable ASCII nor our own mark
 * of something cut is written as its code.
 */
export function plainText(text: string): string {
  const plain = text.replace(
    /[^\x20-\x7e…]/gu,
    (letter) => `\\u{${letter.codePointAt(0)?.toString(16)}}`,
  );
  const isLong = plain.length > LONGEST_TEXT;
  return isLong ? `${plain.slice(0, LONGEST_TEXT)}…` : plain;
}

function textBytes(text: string): Uint8Array {
  return utf8.encode(plainText(text));
}

function maybe<A, B>(value: A | undefined, as: (value: A) => B): B | null {
  return value === undefined ? null : as(value);
}

/** An entry as the book keeps it. */
export function encodeEntry(entry: LedgerEntry): Uint8Array {
  const body = encode(entryRecord, {
    kind: textBytes(entry.kind),
    request: maybe(entry.request, textBytes),
    peer: maybe(entry.peer, (hex) => decode(nodeId, Uint8Array.fromHex(hex))),
    channel: maybe(entry.channel, (dbid) => dbid),
    text: textBytes(entry.text),
    allowedBy: maybe(entry.allowedBy, textBytes),
  });
  const bytes = new Uint8Array(1 + body.length);
  bytes[0] = FORMAT;
  bytes.set(body, 1);
  return bytes;
}

/** @throws {DecodeError} for what {@link encodeEntry} does not write */
export function decodeEntry(body: Uint8Array): LedgerEntry {
  if (body[0] !== FORMAT) {
    const format = `format ${body[0] ?? "missing"}, want ${FORMAT}`;
    throw new DecodeError("ledger_entry", "format", 0, format);
  }
  const record = decode(entryRecord, body.subarray(1));
  const { request, peer, channel, allowedBy } = record;
  const given = <T>(name: string, value: T | null) =>
    value === null ? {} : { [name]: value };
  const entry: LedgerEntry = {
    kind: readText(record.kind),
    text: readText(record.text),
    ...given("request", request && readText(request)),
    ...given("peer", peer && peer.toHex()),
    ...given("channel", channel),
    ...given("allowedBy", allowedBy && readText(allowedBy)),
  };
  return entry;
}

const readText = (bytes: Uint8Array) =>
  plainText(new TextDecoder().decode(bytes));

/** An entry as the store takes it; `now` is Unix time in milliseconds. */
export function newLine(entry: LedgerEntry, now: number): NewLine {
  return { time: BigInt(Math.trunc(now)), body: encodeEntry(entry) };
}

// -------------------------------------------------------------------- people

const KIND_WIDTH = 9;

/** A line of the book as a person reads it. */
export function lineText(line: LedgerLine): string {
  const { kind, text, allowedBy } = entryOf(line);
  const right = allowedBy === undefined ? "" : `; allowed by ${allowedBy}`;
  const start = `${timeText(line.time)}  #${line.number}`;
  return `${start}  ${kind.padEnd(KIND_WIDTH)} ${text}${right}`;
}

/** The same for programs: everything that the line says, in one object. */
export function lineJson(line: LedgerLine): string {
  const { channel, ...entry } = entryOf(line);
  return JSON.stringify({
    number: Number(line.number),
    time: timeText(line.time).replace(" ", "T") + "Z",
    ...entry,
    ...(channel === undefined ? {} : { channel: Number(channel) }),
    hash: line.hash.toHex(),
  });
}

/** What a line says; of a line that cannot be read, that. */
function entryOf({ body }: LedgerLine): LedgerEntry {
  try {
    return decodeEntry(body);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    const text = `cannot be read by this softkey: ${error.message}`;
    return { kind: "unknown", text };
  }
}

/** The largest time that a date can name, in milliseconds. */
const LAST_TIME = 253_402_300_799_999n;

function timeText(time: bigint): string {
  if (time > LAST_TIME) return "a time without a date";
  return new Date(Number(time)).toISOString().slice(0, 19).replace("T", " ");
}

// -------------------------------------------------------------------- filter

/** Which lines are wanted; what is not given is not asked for. */
export interface LedgerFilter {
  readonly kind?: string | undefined;
  /** The start of a peer's node id, in hex. */
  readonly peer?: string | undefined;
  readonly channel?: bigint | undefined;
  /** Unix milliseconds; lines of that time and later. */
  readonly since?: bigint | undefined;
  /** Unix milliseconds; lines before that time. */
  readonly until?: bigint | undefined;
  /** Words that the line has in it. */
  readonly text?: string | undefined;
}

/** Whether a line is one of those that are wanted. */
export function isWanted(filter: LedgerFilter, line: LedgerLine): boolean {
  const { kind, peer, channel, since, until, text } = filter;
  if (since !== undefined && line.time < since) return false;
  if (until !== undefined && line.time >= until) return false;
  const entry = entryOf(line);
  return (kind === undefined || entry.kind === kind) &&
    (peer === undefined ||
      entry.peer?.startsWith(peer.toLowerCase()) === true) &&
    (channel === undefined || entry.channel === channel) &&
    (text === undefined || lineText(line).includes(text));
}

/** The newest lines that are wanted, in order, `last` of them at most. */
export function selectLines(
  lines: Iterable<LedgerLine>,
  filter: LedgerFilter,
  last: number,
): readonly LedgerLine[] {
  const kept: LedgerLine[] = [];
  for (const line of lines) {
    if (!isWanted(filter, line)) continue;
    kept.push(line);
    // Cut now and then, and not for each line.
    if (kept.length >= 2 * last + 64) kept.splice(0, kept.length - last);
  }
  return kept.slice(Math.max(0, kept.length - last));
}

// --------------------------------------------------------------------- chain

/** Where a chain of lines is not what it should be. */
export interface LedgerFault {
  /** The first line that is wrong; of a book cut short, the first missing. */
  readonly number: bigint;
  readonly problem: string;
}

/** A book as it is checked: where it starts, its lines, where it ends. */
export interface Chain {
  readonly anchor: LedgerMark;
  readonly lines: Iterable<LedgerLine>;
  readonly tip: LedgerMark;
}

/** Follows the chain; null when every line is the one that was written. */
export function findFault({ anchor, lines, tip }: Chain): LedgerFault | null {
  let at = anchor;
  for (const line of lines) {
    const problem = problemOf(at, line);
    if (problem !== null) return { number: at.number + 1n, problem };
    at = line;
  }
  const isEnd = at.number === tip.number && isSame(at.hash, tip.hash);
  if (isEnd) return null;
  const problem = at.number === tip.number
    ? "the newest line is another than the book's end names"
    : `the book's end names line ${tip.number}, found ${at.number}`;
  const number = at.number < tip.number ? at.number + 1n : at.number;
  return { number, problem };
}

function problemOf(at: LedgerMark, line: LedgerLine): string | null {
  if (line.number !== at.number + 1n) {
    return `line ${line.number} follows line ${at.number}`;
  }
  return isSame(lineDigest(at.hash, line), line.hash)
    ? null
    : "its hash is not that of its content and of the line before";
}

const isSame = (a: Uint8Array, b: Uint8Array) => a.toHex() === b.toHex();

// -------------------------------------------------------------------- export

type Mark = readonly [number: string, hash: string];

const markOf = ({ number, hash }: LedgerMark): Mark => [
  `${number}`,
  hash.toHex(),
];

/** The whole book as text, a line at a time, each with its end of line. */
export function* exportLines(ledger: Ledger): Generator<string> {
  const { anchor, tip } = ledger;
  yield headText({ anchor, tip });
  for (const line of ledger.lines()) yield exportText(line);
}

function headText({ anchor, tip }: Omit<Chain, "lines">): string {
  const head = { ledger: FORMAT, after: markOf(anchor), last: markOf(tip) };
  return `${JSON.stringify(head)}\n`;
}

function exportText(line: LedgerLine): string {
  const { channel, ...entry } = entryOf(line);
  return `${
    JSON.stringify({
      number: `${line.number}`,
      time: `${line.time}`,
      hash: line.hash.toHex(),
      body: line.body.toHex(),
      says: {
        ...entry,
        ...(channel === undefined ? {} : { channel: `${channel}` }),
      },
    })
  }\n`;
}

/** What was found in an exported book. */
export interface ExportCheck {
  readonly lines: number;
  /** The newest line; null when the first row cannot be read. */
  readonly tip: LedgerMark | null;
  readonly fault: LedgerFault | null;
}

/** Checks an exported book as a whole, to the byte. */
export function checkExport(text: string): ExportCheck {
  const rows = text.split(/(?<=\n)/);
  const [first = "", ...rest] = rows;
  const head = readHead(first);
  if (head === null) {
    const problem = "the first row does not say where the book starts and ends";
    return { lines: rest.length, tip: null, fault: { number: 0n, problem } };
  }
  const { anchor, tip } = head;
  const lines: LedgerLine[] = [];
  for (const row of rest) {
    const line = readRow(row);
    if (line === null) break;
    lines.push(line);
  }
  const fault = findFault({ anchor, lines, tip });
  const isCut = lines.length < rest.length;
  const number = anchor.number + BigInt(lines.length) + 1n;
  return {
    lines: rest.length,
    tip,
    fault: isCut && (fault === null || fault.number >= number)
      ? { number, problem: "it is not written as an export writes it" }
      : fault,
  };
}

function readHead(row: string): Omit<Chain, "lines"> | null {
  const match =
    /^\{"ledger":1,"after":\["(\d{1,20})","([0-9a-f]{64})"\],"last":\["(\d{1,20})","([0-9a-f]{64})"\]\}\n$/
      .exec(row);
  if (match === null) return null;
  const [, first = "", after = "", last = "", end = ""] = match;
  const anchor = { number: BigInt(first), hash: Uint8Array.fromHex(after) };
  const tip = { number: BigInt(last), hash: Uint8Array.fromHex(end) };
  return headText({ anchor, tip }) === row ? { anchor, tip } : null;
}

const U64_END = 1n << 64n;

/** A row, if it is just what the export of its content would be. */
function readRow(row: string): LedgerLine | null {
  const match =
    /^\{"number":"(\d{1,20})","time":"(\d{1,20})","hash":"([0-9a-f]{64})","body":"((?:[0-9a-f]{2})*)",/
      .exec(row);
  if (match === null) return null;
  const [, number = "", time = "", hash = "", body = ""] = match;
  const line = {
    number: BigInt(number),
    time: BigInt(time),
    hash: Uint8Array.fromHex(hash),
    body: Uint8Array.fromHex(body),
  };
  const isInRange = line.number < U64_END && line.time < U64_END;
  return isInRange && exportText(line) === row ? line : null;
}
