/**
 * HTTP at work with a fake broker behind it, and requests of any kind to it.
 *
 * @module
 */

import http, { type IncomingMessage } from "node:http";
import net from "node:net";
import { startHttp } from "../../../src/cli/http.ts";
import { FakeFace } from "./fake_face.ts";

/** What a test opens. */
export interface Site {
  readonly face: FakeFace;
  readonly port: number;
  readonly socketPath: string;
  readonly log: readonly string[];
}

/** How a site is set up. */
export interface SiteOptions {
  readonly token?: string;
  readonly hostname?: string;
}

/** Opens a site for as long as a test runs. */
export async function withSite(
  test: (site: Site) => Promise<void>,
  { token = "", hostname = "127.0.0.1" }: SiteOptions = {},
): Promise<void> {
  const folder = await Deno.makeTempDir();
  const socketPath = `${folder}/broker.sock`;
  const face = new FakeFace();
  const log: string[] = [];
  const servers = await startHttp({
    face,
    socketPath,
    listen: { hostname, port: 0 },
    token,
    log: (_level, text) => void log.push(text),
  });
  try {
    await test({ face, port: servers.address?.port ?? 0, socketPath, log });
  } finally {
    await servers.close();
    await Deno.remove(folder, { recursive: true });
  }
}

/** A request. */
export interface Visit {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** What came of it. */
export interface Visited {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

/** Where a request goes: a port here, or a socket. */
export type Place = number | string;

/** Begins a request; the answer's head. */
export function open(
  place: Place,
  { method = "GET", path, headers = {}, body = "" }: Visit,
): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<
    IncomingMessage
  >();
  const where = typeof place === "number"
    ? { host: "127.0.0.1", port: place }
    : { socketPath: place };
  const request = http.request(
    { ...where, method, path, headers, agent: false },
    resolve,
  );
  request.on("error", reject);
  request.end(body);
  return promise;
}

/** Asks, and reads the whole answer. */
export async function visit(place: Place, what: Visit): Promise<Visited> {
  const response = await open(place, what);
  let body = "";
  for await (const chunk of response.setEncoding("utf8")) body += chunk;
  const { statusCode: status = 0, headers } = response;
  return { status, headers, body };
}

/**
 * Sends bytes as they are, says that they are all if they are; gives what comes
 * back until the other side ends it.
 */
export async function sendRaw(
  port: number,
  text: string,
  { isAll = false }: { readonly isAll?: boolean } = {},
): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const socket = net.connect(port, "127.0.0.1");
  let answer = "";
  socket.on("data", (chunk: Uint8Array) => {
    answer += new TextDecoder().decode(chunk);
  });
  socket.on("error", () => {});
  socket.on("close", () => resolve());
  socket.write(text);
  if (isAll) socket.end();
  await promise;
  return answer;
}

/** Events of a stream as they come, comments as empty texts. */
export async function* eventsOf(
  response: IncomingMessage,
): AsyncGenerator<string> {
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) {
    text += chunk;
    // Looking for an end in all of it at each chunk takes long.
    if (!/\n\n|^\n|\n$/.test(chunk)) continue;
    const events = text.split("\n\n");
    text = events.pop() ?? "";
    yield* events;
  }
}
