/**
 * The broker over HTTP: on a socket of its own always, on a TCP address where
 * one is set.
 *
 *     remote_hsmd/broker.sock (0600)  --+
 *                                       +-- gate.ts -- routes.ts -- BrokerFace
 *     http_listen (off by default)    --+
 *
 * The socket appears under its name when it is ready and is nobody else's: it is
 * made in a folder of mode 0700 beside that name, given mode 0600, and moved. A
 * socket that is there already and does not answer belonged to a broker that is
 * gone and is replaced; one that answers is left alone.
 *
 * | limit | |
 * | --- | --- |
 * | connections | 64 on each listener, of those 16 streams |
 * | head of a request | 16 KiB, within 10 s |
 * | body | 64 KiB, within 20 s of the request's begin |
 * | answers for one request | one, then the connection may be used again for 5 s |
 *
 * Standards: RFC 9110, RFC 9112.
 *
 * What it does not do: TLS. Where others are on the way, a proxy that has a
 * certificate belongs in front.
 *
 * @module
 */

import http, { type IncomingMessage, type ServerResponse } from "node:http";
import net from "node:net";
import { dirname } from "node:path";
import type { BrokerFace } from "../broker/face.ts";
import { ConfigError, describeError } from "../errors.ts";
import type { ListenAddress } from "../mqtt/embedded.ts";
import type { LogLevel } from "../wire/status.ts";
import { setGaugesOf } from "./http/gauges.ts";
import { type Gate, gateOf, OWN_GATE, problemWith } from "./http/gate.ts";
import {
  type Reply,
  type Route,
  routeOf,
  type Stream,
  STREAM_TYPE,
  textReply,
} from "./http/routes.ts";
import { Streams } from "./http/streams.ts";

/** What the HTTP side needs. */
export interface HttpOptions {
  readonly face: BrokerFace;
  /** Where the socket is to appear. */
  readonly socketPath: string;
  /** Setting `http_listen`. */
  readonly listen: ListenAddress | null;
  /** Setting `http_token`; empty for none. */
  readonly token: string;
  readonly log: (level: LogLevel, text: string) => void;
}

/** HTTP at work. */
export interface HttpServers {
  /** The TCP address, with the port that the kernel chose; null for none. */
  readonly address: ListenAddress | null;
  /** Ends all connections and removes the socket. */
  close(): Promise<void>;
}

const LIMITS = {
  connections: 64,
  head: 16 * 1024,
  headMs: 10_000,
  body: 64 * 1024,
  requestMs: 20_000,
  idleMs: 5_000,
  checkMs: 2_000,
} as const;

const SOCKET_MODE = 0o600;

/**
 * Opens both listeners.
 *
 * @throws {ConfigError} for an address that needs a token or cannot be had
 */
export async function startHttp(options: HttpOptions): Promise<HttpServers> {
  const { listen, token, socketPath } = options;
  // A setting that cannot be is found before anything is opened.
  const gate = listen === null ? null : gateOf(listen.hostname, token);
  setGaugesOf(options.face);
  const own = new Listener(options, OWN_GATE);
  const inode = await own.listenAt(socketPath);
  if (listen === null || gate === null) {
    return { address: null, close: () => closeAll([own], socketPath, inode) };
  }
  const tcp = new Listener(options, gate);
  try {
    const address = await tcp.listenOn(listen);
    return { address, close: () => closeAll([own, tcp], socketPath, inode) };
  } catch (error) {
    await closeAll([own], socketPath, inode);
    throw error;
  }
}

async function closeAll(
  listeners: readonly Listener[],
  socketPath: string,
  inode: number | null,
): Promise<void> {
  // Somebody else's socket may be there by now.
  if (inodeAt(socketPath) === inode) await removeIfThere(socketPath);
  await Promise.all(listeners.map((listener) => listener.close()));
}

/** One place to listen at, with its gate and its open streams. */
class Listener {
  readonly #options: HttpOptions;
  readonly #gate: Gate;
  readonly #streams: Streams;
  readonly #server: http.Server;

  constructor(options: HttpOptions, gate: Gate) {
    this.#options = options;
    this.#gate = gate;
    this.#streams = new Streams(options.face);
    this.#server = http.createServer({
      maxHeaderSize: LIMITS.head,
      headersTimeout: LIMITS.headMs,
      requestTimeout: LIMITS.requestMs,
      keepAliveTimeout: LIMITS.idleMs,
      connectionsCheckingInterval: LIMITS.checkMs,
    }, (request, response) => void this.#take(request, response));
    this.#server.maxConnections = LIMITS.connections;
  }

  /** Listens on a TCP address; gives it with its port. */
  async listenOn({ hostname, port }: ListenAddress): Promise<ListenAddress> {
    try {
      await listening(this.#server, () => this.#server.listen(port, hostname));
    } catch (cause) {
      const found = describeError(cause);
      const wanted = "an address of this machine that is free";
      throw new ConfigError("http_listen", "the settings", found, wanted);
    }
    const bound = this.#server.address();
    return {
      hostname,
      port: typeof bound === "object" && bound !== null ? bound.port : port,
    };
  }

  /** Listens on a socket that appears at this path; gives its inode. */
  async listenAt(path: string): Promise<number | null> {
    if (await isAnswered(path)) {
      const wanted = "no other broker in this folder";
      throw new ConfigError("(none)", path, "a broker that answers", wanted);
    }
    const folder = await Deno.makeTempDir({
      dir: dirname(path),
      prefix: ".socket-",
    });
    try {
      const made = `${folder}/s`;
      await listening(this.#server, () => this.#server.listen(made));
      await Deno.chmod(made, SOCKET_MODE);
      await Deno.rename(made, path);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
    return inodeAt(path);
  }

  async close(): Promise<void> {
    this.#streams.close();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeAllConnections();
    await promise;
  }

  /** Never throws: a request that fails here is answered so, and the log hears. */
  async #take(
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    response.on("error", () => {});
    try {
      const answer = await this.#answer(request);
      if (typeof answer === "function") writeStream(response, answer);
      else writeReply(response, answer, request.method === "HEAD");
    } catch (error) {
      const text = `HTTP ${request.method}: ${describeError(error)}`;
      this.#options.log("broken", text);
      if (response.headersSent) response.destroy();
      else writeReply(response, textReply(500, "the broker failed"), false);
    }
  }

  async #answer(request: IncomingMessage): Promise<Reply | Stream> {
    const url = urlOf(request.url ?? "");
    const route = url && routeOf(url.pathname);
    const turned = problemWith(this.#gate, {
      method: request.method ?? "",
      headers: headersOf(request),
      queryToken: route?.takesQueryToken === true
        ? url?.searchParams.get("token") ?? null
        : null,
    });
    if (turned !== null) return turn(turned.status, turned.reason);
    if (url === null || route === null) return textReply(404, "no such page");
    if (!isAskedRight(route, request.method)) {
      return {
        ...textReply(405, `want ${route.method}`),
        headers: { allow: route.method },
      };
    }
    const body = await bodyOf(request);
    if (body === null) {
      return textReply(413, `want at most ${LIMITS.body} bytes`);
    }
    const { face } = this.#options;
    const { isOwner } = this.#gate;
    const [streams, query] = [this.#streams, url.searchParams];
    return route.answer({ face, streams, query, body, isOwner });
  }
}

function turn(status: number, reason: string): Reply {
  const reply = textReply(status, reason);
  return status === 401
    ? { ...reply, headers: { "www-authenticate": "Bearer" } }
    : reply;
}

/** HEAD is GET without a body; a stream has no end that HEAD could stand for. */
function isAskedRight(route: Route, method: string | undefined): boolean {
  return method === route.method ||
    (method === "HEAD" && route.method === "GET");
}

function urlOf(target: string): URL | null {
  // Only what begins with a slash has no host of its own in it.
  const isPath = target.startsWith("/") && !target.startsWith("//");
  const base = "http://localhost";
  return isPath && URL.canParse(target, base) ? new URL(target, base) : null;
}

function headersOf(
  { headers }: IncomingMessage,
): Readonly<Record<string, string | undefined>> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.join(", ") : value,
    ]),
  );
}

/** Text of the body; null when it is too long. */
async function bodyOf(request: IncomingMessage): Promise<string | null> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request) {
    if (!(chunk instanceof Uint8Array)) continue;
    size += chunk.length;
    if (size > LIMITS.body) return null;
    chunks.push(chunk);
  }
  return await new Blob(chunks.map((chunk) => new Uint8Array(chunk))).text();
}

/** What every answer carries. */
const HEADERS = {
  "cache-control": "no-store, no-transform",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
} as const;

function writeReply(
  response: ServerResponse,
  { status, type, body, headers }: Reply,
  isHead: boolean,
): void {
  const bytes = new TextEncoder().encode(body);
  response.writeHead(status, {
    ...HEADERS,
    "content-type": type,
    "content-length": bytes.length,
    // What was not read of a request must not be taken for the next one.
    ...status === 413 ? { connection: "close" } : {},
    ...headers,
  });
  response.end(isHead ? undefined : bytes);
}

function writeStream(response: ServerResponse, open: Stream): void {
  response.writeHead(200, {
    ...HEADERS,
    "content-type": STREAM_TYPE,
    // Proxies hold back what they think is a file.
    "x-accel-buffering": "no",
  });
  response.flushHeaders();
  open(response);
}

async function listening(
  server: http.Server,
  listen: () => void,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.once("listening", resolve);
  listen();
  await promise;
  server.off("error", reject);
  // An accept that fails for want of descriptors ends nothing.
  server.on("error", () => {});
}

/** Whether somebody accepts connections at this socket. */
async function isAnswered(path: string): Promise<boolean> {
  if (inodeAt(path) === null) return false;
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = net.connect(path);
  socket.once("connect", () => resolve(true));
  socket.once("error", () => resolve(false));
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}

function inodeAt(path: string): number | null {
  try {
    return Deno.lstatSync(path).ino;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

async function removeIfThere(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
