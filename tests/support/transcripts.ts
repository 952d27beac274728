/**
 * Recorded exchanges between lightningd and its hsmd, as typed events.
 *
 * One JSON object a line, gzipped; the form is described in tests/README.md.
 * Byte strings are decoded, so that a test compares bytes with bytes.
 *
 * @module
 */

import { readdirSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

/** A frame's payload on its way to the hsmd, or back. */
export interface FrameEvent {
  readonly kind: "request" | "reply";
  readonly seconds: number;
  /** 0 is lightningd's own stream. */
  readonly connection: number;
  readonly type: number;
  readonly bytes: Uint8Array;
}

/** A client connection was handed out. */
export interface OpenEvent {
  readonly kind: "open";
  readonly connection: number;
  readonly peer: Uint8Array;
  readonly dbid: bigint;
  readonly permissions: number;
}

/** A connection ended; `by` says who closed it. */
export interface CloseEvent {
  readonly kind: "close";
  readonly connection: number;
  readonly by: "node" | "hsmd";
}

/** The file `hsm_secret`, and the passphrase that opens it. */
export interface SecretEvent {
  readonly kind: "secret";
  readonly file: Uint8Array;
  readonly passphrase: string | undefined;
}

/** The hsmd ended. */
export interface ExitEvent {
  readonly kind: "exit";
  readonly code: number;
}

/** One line of a transcript. */
export type TranscriptEvent =
  | FrameEvent
  | OpenEvent
  | CloseEvent
  | SecretEvent
  | ExitEvent;

/** A transcript file. */
export interface Transcript {
  /** Folder and file, without the extensions. */
  readonly name: string;
  readonly url: URL;
}

const FIXTURES = new URL("../fixtures/transcripts/", import.meta.url);
const EXTENSION = ".jsonl.gz";

/** The transcripts of a folder, sorted by name. */
export function listTranscripts(folder: "flows" | "vectors"): Transcript[] {
  return readdirSync(new URL(`${folder}/`, FIXTURES))
    .filter((file) => file.endsWith(EXTENSION))
    .sort()
    .map((file) => ({
      name: `${folder}/${file.slice(0, -EXTENSION.length)}`,
      url: new URL(`${folder}/${file}`, FIXTURES),
    }));
}

/** A line as it stands in the file. */
interface Line {
  readonly t?: number;
  readonly conn?: number;
  readonly dir?: ">" | "<";
  readonly type?: number;
  readonly hex?: string;
  readonly open?: {
    readonly peer: string;
    readonly dbid: number;
    readonly perms: number;
  };
  readonly close?: ">" | "<";
  readonly hsm_secret?: string;
  readonly passphrase?: string;
  readonly exit?: number;
}

/** The events of a transcript, in order. */
export function* readTranscript(
  { name, url }: Transcript,
): Generator<TranscriptEvent> {
  const text = gunzipSync(readFileSync(url)).toString("utf8");
  for (const [i, line] of text.split("\n").entries()) {
    if (line === "") continue;
    const event = toEvent(JSON.parse(line) as Line);
    if (event === null) throw new Error(`Cannot read ${name} line ${i + 1}`);
    yield event;
  }
}

function toEvent(line: Line): TranscriptEvent | null {
  const { conn: connection = 0, t: seconds = 0 } = line;
  if (line.dir !== undefined && line.hex !== undefined) {
    const bytes = Uint8Array.fromHex(line.hex);
    const kind = line.dir === ">" ? "request" : "reply";
    return { kind, seconds, connection, type: line.type ?? -1, bytes };
  }
  if (line.open !== undefined) {
    const peer = Uint8Array.fromHex(line.open.peer);
    const { perms: permissions } = line.open;
    const dbid = BigInt(line.open.dbid);
    return { kind: "open", connection, peer, dbid, permissions };
  }
  if (line.close !== undefined) {
    const by = line.close === ">" ? "node" : "hsmd";
    return { kind: "close", connection, by };
  }
  if (line.hsm_secret !== undefined) {
    const file = Uint8Array.fromHex(line.hsm_secret);
    return { kind: "secret", file, passphrase: line.passphrase };
  }
  return line.exit === undefined ? null : { kind: "exit", code: line.exit };
}
