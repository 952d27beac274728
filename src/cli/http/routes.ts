/**
 * What can be asked over HTTP, one row each.
 *
 * | route | answer |
 * | --- | --- |
 * | GET / | the status page |
 * | GET /health | 200 after a signature of the node's key, else 503 with why |
 * | GET /metrics | figures for Prometheus |
 * | GET /api/status | everything that the page shows, as JSON |
 * | GET /api/events | the same whenever it changed, as server-sent events |
 * | GET /api/clients | `{"pubkey":…,"clients":{cid:synced},"current":…}` |
 * | POST /api/control?msg&cid | passes a signed message (hex) on; its answer in hex; without cid to the one that signs |
 * | GET /api/errors | errors of devices, as server-sent events |
 * | POST /api/use?cid | makes a device the active one; `force=1` as the owner |
 *
 * `/api/clients`, `/api/control` and `/api/errors` are those of the Sphinx
 * broker, forms and statuses included, for the tools that use them. What is
 * otherwise: a client id that is not connected is 404 at once (theirs holds up
 * the node for 10 s), no header lets every web page in, a message may be the
 * body where it is long for a URL, and one that fails says why.
 *
 * @module
 */

import type { ServerResponse } from "node:http";
import type {
  BrokerFace,
  ControlOutcome,
  UseOutcome,
} from "../../broker/face.ts";
import type { StatusSnapshot } from "../../broker/status.ts";
import { METRICS_TYPE, metricsText } from "../../metrics/text.ts";
import { PAGE_POLICY, pageOf } from "./page.ts";
import type { Streams } from "./streams.ts";

/** A request that may be answered. */
export interface Asked {
  readonly face: BrokerFace;
  readonly streams: Streams;
  readonly query: URLSearchParams;
  /** Text of the body; empty for none. */
  readonly body: string;
  /** Whether it is as good as the owner's own. */
  readonly isOwner: boolean;
}

/** An answer that is whole. */
export interface Reply {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An answer that goes on: is given the response, its head written. */
export type Stream = (response: ServerResponse) => void;

/** One thing that can be asked. */
export interface Route {
  readonly method: "GET" | "POST";
  /** Whether the token may stand in the query: a browser has no other place. */
  readonly takesQueryToken?: true;
  readonly answer: (
    asked: Asked,
  ) => Reply | Stream | Promise<Reply | Stream>;
}

/** Types of what is answered. */
const TEXT = "text/plain; charset=utf-8";
const JSON_TYPE = "application/json";
const HTML_TYPE = "text/html; charset=utf-8";
/** Type of a stream. */
export const STREAM_TYPE = "text/event-stream";

/** The shortest control message: one signature, and nothing signed. */
const SHORTEST_CONTROL = 65;

/** Every route, by its path. */
export const ROUTES: Readonly<Record<string, Route>> = {
  "/": {
    method: "GET",
    takesQueryToken: true,
    answer: ({ face }) => ({
      status: 200,
      type: HTML_TYPE,
      body: pageOf(face.snapshot()),
      headers: { "content-security-policy": PAGE_POLICY },
    }),
  },
  "/health": { method: "GET", answer: answerHealth },
  "/metrics": {
    method: "GET",
    answer: ({ face }) => ({
      status: 200,
      type: METRICS_TYPE,
      body: metricsText(face.metrics),
    }),
  },
  "/api/status": {
    method: "GET",
    answer: ({ face }) => jsonReply(200, face.snapshot()),
  },
  "/api/events": {
    method: "GET",
    takesQueryToken: true,
    answer: ({ streams, query }) => {
      const form = query.get("as") === "html" ? "html" : "json";
      return streams.hasRoom
        ? (response) => streams.openStatus(response, form)
        : TOO_MANY;
    },
  },
  "/api/clients": {
    method: "GET",
    answer: ({ face }) => textReply(200, clientsText(face.snapshot())),
  },
  "/api/errors": {
    method: "GET",
    answer: ({ streams }) =>
      streams.hasRoom ? (response) => streams.openErrors(response) : TOO_MANY,
  },
  "/api/control": { method: "POST", answer: answerControl },
  "/api/use": { method: "POST", answer: answerUse },
};

/** The route of a path; null for none. */
export function routeOf(path: string): Route | null {
  return Object.hasOwn(ROUTES, path) ? ROUTES[path] ?? null : null;
}

/** A reply of one line. */
export function textReply(status: number, text: string): Reply {
  return { status, type: TEXT, body: text };
}

const TOO_MANY = textReply(503, "too many streams are open");

function jsonReply(status: number, value: unknown): Reply {
  return { status, type: JSON_TYPE, body: JSON.stringify(value) };
}

async function answerHealth({ face }: Asked): Promise<Reply> {
  const { isHealthy, ...rest } = await face.challenge();
  return jsonReply(isHealthy ? 200 : 503, { healthy: isHealthy, ...rest });
}

/** The client id of the device that signs. */
function activeIn({ devices }: StatusSnapshot): string | null {
  return devices.find(({ role }) => role === "active")?.cid ?? null;
}

/** As the Sphinx broker writes it: JSON, and called plain text. */
function clientsText(status: StatusSnapshot): string {
  const { node, devices } = status;
  const isSynced = new Set(["active", "warm"]);
  return JSON.stringify({
    pubkey: node.nodeId,
    clients: Object.fromEntries(
      devices.map(({ cid, role }) => [cid, isSynced.has(role)]),
    ),
    current: activeIn(status),
  });
}

async function answerControl({ face, query, body }: Asked): Promise<Reply> {
  // The project's own web page names no device: it means the one that signs.
  const cid = query.get("cid") ?? activeIn(face.snapshot());
  const hex = query.get("msg") ?? body.trim();
  if (hex === "") return textReply(422, "want msg");
  if (cid === null) return textReply(404, "no device signs now, want a cid");
  const envelope = hexOf(hex);
  if (envelope === null || envelope.length < SHORTEST_CONTROL) {
    const wanted = `hex of at least ${SHORTEST_CONTROL} bytes`;
    return textReply(500, `msg cannot be used: want ${wanted}`);
  }
  return controlReply(await face.control(cid, envelope));
}

function hexOf(text: string): Uint8Array | null {
  try {
    return Uint8Array.fromHex(text);
  } catch (_error) {
    return null;
  }
}

function controlReply(outcome: ControlOutcome): Reply {
  switch (outcome.kind) {
    case "answered":
      return textReply(200, outcome.reply.toHex());
    case "unknown":
      return textReply(404, "no device of this cid is connected");
    case "failed":
      return textReply(500, outcome.reason);
  }
}

async function answerUse({ face, query, isOwner }: Asked): Promise<Reply> {
  const cid = query.get("cid");
  if (cid === null) return textReply(422, "want cid");
  const isForced = query.get("force") === "1";
  // An old state that signs can cost a channel: not for every local program.
  if (isForced && !isOwner) {
    const where = "remote_hsmd_mqtt use, or with http_token";
    return textReply(403, `only the owner may force a device: ${where}`);
  }
  return useReply(await face.use(cid, { isForced }));
}

function useReply(outcome: UseOutcome): Reply {
  switch (outcome.kind) {
    case "done":
      return textReply(200, outcome.text);
    case "unknown":
      return textReply(404, "no device of this cid is known");
    case "refused":
      return textReply(409, outcome.reason);
  }
}
