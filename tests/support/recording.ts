/**
 * Plays a recorded node to a hsmd, answer by answer.
 *
 * The recording says what lightningd and its daemons asked on which connection,
 * and what the stock hsmd answered. Requests are sent in the recorded order; a
 * reply is awaited where the recording has it, so what was under way together
 * then is under way together now.
 *
 * @module
 */

import { gunzipSync } from "node:zlib";
import { messageName } from "../../src/wire/hsmd.ts";
import type { FrameConn, Standin } from "./standin/standin.ts";

/** One line of a recording. */
export type RecordedEvent =
  | { kind: "request"; conn: number; type: number; bytes: Uint8Array }
  | { kind: "reply"; conn: number; type: number; bytes: Uint8Array }
  | { kind: "open"; conn: number }
  | { kind: "close"; conn: number; by: "node" | "hsmd" }
  | { kind: "exit"; code: number };

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
const CLIENT_HSMFD_REPLY = 109;

interface Line {
  readonly conn?: number;
  readonly dir?: string;
  readonly type?: number;
  readonly hex?: string;
  readonly open?: unknown;
  readonly close?: string;
  readonly exit?: number;
  readonly hsm_secret?: string;
}

/** Reads a `.jsonl.gz` recording. */
export async function readRecording(path: string | URL): Promise<Recording> {
  const text = new TextDecoder().decode(gunzipSync(await Deno.readFile(path)));
  const lines = text.split("\n").filter((line) => line !== "")
    .map((line): Line => JSON.parse(line));
  const lives: { events: RecordedEvent[]; secret: Uint8Array }[] = [];
  let secret: Uint8Array = new Uint8Array();
  let preinit: RecordedEvent | null = null;
  for (const line of lines) {
    if (line.hsm_secret !== undefined) {
      secret = Uint8Array.fromHex(line.hsm_secret);
      const life = lives.at(-1);
      if (life !== undefined) life.secret = secret;
      continue;
    }
    const event = readEvent(line);
    if (event.kind === "request" && event.type === 99) {
      preinit = event;
      continue;
    }
    if (event.kind === "request" && event.type === INIT) {
      lives.push({ events: preinit === null ? [] : [preinit], secret });
      preinit = null;
    }
    lives.at(-1)?.events.push(event);
  }
  return { name: String(path).replace(/^.*\/|\.jsonl\.gz$/g, ""), lives };
}

function readEvent(line: Line): RecordedEvent {
  const { conn = 0, type = -1 } = line;
  if (line.exit !== undefined) return { kind: "exit", code: line.exit };
  if (line.open !== undefined) return { kind: "open", conn };
  if (line.close !== undefined) {
    return { kind: "close", conn, by: line.close === ">" ? "node" : "hsmd" };
  }
  const bytes = Uint8Array.fromHex(line.hex ?? "");
  return { kind: line.dir === ">" ? "request" : "reply", conn, type, bytes };
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
        if (event.type === 99) outcome.identical += 1; // has no reply
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
      case "exit":
        break;
    }
  }
}

/** Where the recordings stand. */
export const RECORDINGS: URL = new URL(
  "../fixtures/transcripts/",
  import.meta.url,
);

/** Paths of all recorded nodes. */
export async function listRecordings(): Promise<URL[]> {
  const paths: URL[] = [];
  for (const folder of ["flows/", "vectors/"]) {
    for await (const entry of Deno.readDir(new URL(folder, RECORDINGS))) {
      paths.push(new URL(`${folder}${entry.name}`, RECORDINGS));
    }
  }
  return paths.sort((a, b) => a.href < b.href ? -1 : 1);
}
