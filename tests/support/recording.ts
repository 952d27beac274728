/**
 * Recorded exchanges between lightningd and its hsmd: read as typed events, and
 * played to a hsmd, answer by answer.
 *
 * A recording is one JSON object a line, gzipped. It says what lightningd and
 * its daemons asked on which connection, and what the stock hsmd answered.
 * Requests are sent in the recorded order; a reply is awaited where the
 * recording has it, so what was under way together then is under way together
 * now. Byte strings are decoded, so that a test compares bytes with bytes.
 *
 * @module
 */

import { readdirSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { messageName } from "../../src/wire/hsmd.ts";
import type { NodeId } from "../../src/wire/types.ts";
import type { FrameConn, Standin } from "./standin/standin.ts";

/** A message on its way to the hsmd, or back; connection 0 is lightningd's. */
export interface RecordedMessage {
  readonly kind: "request" | "reply";
  readonly conn: number;
  readonly type: number;
  readonly bytes: Uint8Array;
}

/** A client connection was handed out. */
export interface RecordedOpen {
  readonly kind: "open";
  readonly conn: number;
  readonly peer: NodeId;
  readonly dbid: bigint;
  readonly permissions: number;
}

/** The file `hsm_secret` of the node. */
export interface RecordedSecret {
  readonly kind: "secret";
  readonly file: Uint8Array;
}

/** One line of a recording. */
export type RecordedEvent =
  | RecordedMessage
  | RecordedOpen
  | RecordedSecret
  | {
    readonly kind: "close";
    readonly conn: number;
    readonly by: "node" | "hsmd";
  }
  | { readonly kind: "exit"; readonly code: number };

/** One life of a node, from one start of its hsmd to the end. */
export interface Life {
  readonly events: readonly RecordedEvent[];
  /** Bytes of hsm_secret. */
  readonly secret: Uint8Array;
}

/** A recording: one life or, with restarts, several. */
export interface Recording {
  readonly name: string;
  readonly lives: readonly Life[];
}

/** An answer that was not the recorded one. */
export interface Difference {
  readonly request: string;
  readonly wanted: string;
  readonly found: string;
}

/** What came of a life. */
export interface Outcome {
  requests: number;
  identical: number;
  readonly differences: Difference[];
  /** Milliseconds from request to reply, by message name. */
  readonly latencies: Map<string, number[]>;
}

const INIT = 11;
const DEV_PREINIT = 99;
const CLIENT_HSMFD_REPLY = 109;
const EXTENSION = ".jsonl.gz";

/** Where the recordings stand. */
export const RECORDINGS: URL = new URL(
  "../fixtures/transcripts/",
  import.meta.url,
);

/** Folders of recordings of real nodes. */
export type RecordingFolder = "flows" | "vectors";

/** All recordings of the folders, sorted by name. */
export function recordingsIn(...folders: readonly RecordingFolder[]): URL[] {
  return folders.flatMap((folder) => {
    const url = new URL(`${folder}/`, RECORDINGS);
    return readdirSync(url).filter((name) => name.endsWith(EXTENSION)).sort()
      .map((name) => new URL(name, url));
  });
}

/** Paths of all recorded nodes. */
export function listRecordings(): Promise<URL[]> {
  return Promise.resolve(recordingsIn("flows", "vectors"));
}

/** `pay-node1` of any path of that recording. */
export function recordingName(path: string | URL): string {
  return String(path).replace(/^.*\//, "").replace(EXTENSION, "");
}

/** The events of a recording, in order. */
export function readEvents(path: string | URL): RecordedEvent[] {
  return readLines<Line>(path).map(readEvent);
}

/** Reads a recording as the lives that it is made of. */
export function readRecording(path: string | URL): Promise<Recording> {
  const lives = splitLives(readEvents(path));
  return Promise.resolve({ name: recordingName(path), lives });
}

/** A message between a broker and a device, as it passed on MQTT. */
export interface SessionEvent {
  /** Without the client id. */
  readonly topic: string;
  readonly payload: Uint8Array;
}

/** The recorded session of a VLS signer, in order. */
export function readSignerSession(): SessionEvent[] {
  const url = new URL("sphinx/vls-signer-session.jsonl.gz", RECORDINGS);
  return readLines<{ readonly topic: string; readonly hex: string }>(url)
    .map(({ topic, hex }) => ({
      topic: topic.slice(topic.indexOf("/") + 1),
      payload: Uint8Array.fromHex(hex),
    }));
}

interface Line {
  readonly conn?: number;
  readonly dir?: string;
  readonly type?: number;
  readonly hex?: string;
  readonly open?: {
    readonly peer: string;
    readonly dbid: number;
    readonly perms: number;
  };
  readonly close?: string;
  readonly exit?: number;
  readonly hsm_secret?: string;
}

function readLines<T>(path: string | URL): T[] {
  return gunzipSync(readFileSync(path)).toString("utf8").split("\n")
    .filter((line) => line !== "").map((line): T => JSON.parse(line));
}

function readEvent(line: Line): RecordedEvent {
  const { conn = 0, type = -1 } = line;
  if (line.exit !== undefined) return { kind: "exit", code: line.exit };
  if (line.open !== undefined) {
    const peer = Uint8Array.fromHex(line.open.peer) as Uint8Array as NodeId;
    const { perms: permissions } = line.open;
    const dbid = BigInt(line.open.dbid);
    return { kind: "open", conn, peer, dbid, permissions };
  }
  if (line.close !== undefined) {
    return { kind: "close", conn, by: line.close === ">" ? "node" : "hsmd" };
  }
  if (line.hsm_secret !== undefined) {
    return { kind: "secret", file: Uint8Array.fromHex(line.hsm_secret) };
  }
  if (line.hex === undefined) {
    throw new Error(`Cannot read a recorded line: ${Object.keys(line)}`);
  }
  const bytes = Uint8Array.fromHex(line.hex);
  return { kind: line.dir === ">" ? "request" : "reply", conn, type, bytes };
}

/** Each init begins a life, or the preinit before it; its secret comes after. */
function splitLives(events: readonly RecordedEvent[]): Life[] {
  const lives: { events: RecordedEvent[]; secret: Uint8Array }[] = [];
  let secret: Uint8Array = new Uint8Array();
  let preinit: RecordedEvent | null = null;
  for (const event of events) {
    const type = event.kind === "request" ? event.type : null;
    if (event.kind === "secret") {
      secret = event.file;
      const life = lives.at(-1);
      if (life !== undefined) life.secret = secret;
    } else if (type === DEV_PREINIT) {
      preinit = event;
    } else {
      if (type === INIT) {
        lives.push({ events: preinit === null ? [] : [preinit], secret });
        preinit = null;
      }
      lives.at(-1)?.events.push(event);
    }
  }
  return lives;
}

/** A new, empty outcome; lives can be added up in one. */
export function newOutcome(): Outcome {
  return { requests: 0, identical: 0, differences: [], latencies: new Map() };
}

/** Hears of every request as it is answered. */
export type Observer = (
  request: string,
  isIdentical: boolean,
  milliseconds: number,
) => void;

/** Plays one life on a running hsmd. */
export async function playLife(
  life: Life,
  standin: Standin,
  outcome: Outcome,
  observe: Observer = () => {},
): Promise<void> {
  const connections = new Map<number, FrameConn>([[0, standin.master]]);
  const asked = new Map<number, { type: number; at: number }>();
  const handedOver: FrameConn[] = [];
  for (const event of life.events) {
    switch (event.kind) {
      case "request": {
        const conn = connections.get(event.conn);
        asked.set(event.conn, { type: event.type, at: performance.now() });
        outcome.requests += 1;
        await conn?.write(event.bytes);
        if (event.type === DEV_PREINIT) outcome.identical += 1; // has no reply
        break;
      }
      case "reply": {
        const reply = await connections.get(event.conn)?.read();
        const request = asked.get(event.conn);
        const milliseconds = performance.now() - (request?.at ?? 0);
        const name = messageName(request?.type ?? null);
        const found = reply ? reply.toHex() : "the end of the connection";
        const wanted = event.bytes.toHex();
        const isIdentical = found === wanted;
        if (isIdentical) outcome.identical += 1;
        else outcome.differences.push({ request: name, wanted, found });
        let list = outcome.latencies.get(name);
        if (list === undefined) outcome.latencies.set(name, list = []);
        list.push(milliseconds);
        observe(name, isIdentical, milliseconds);
        if (event.type === CLIENT_HSMFD_REPLY) {
          handedOver.push(await standin.nextClient());
        }
        break;
      }
      case "open": {
        const conn = handedOver.shift();
        if (conn === undefined) {
          throw new Error("A connection was not handed over");
        }
        connections.set(event.conn, conn);
        break;
      }
      case "close": {
        const conn = connections.get(event.conn);
        if (conn === undefined) break; // the other side closed in answer
        if (event.by === "hsmd" && await conn.read() !== null) {
          const text = `Connection ${event.conn} was not closed by the hsmd`;
          throw new Error(text);
        }
        conn.close();
        connections.delete(event.conn);
        break;
      }
      case "secret":
      case "exit":
        break;
    }
  }
}
