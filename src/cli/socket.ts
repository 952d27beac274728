/**
 * Asking the broker that runs, from another process of the same owner.
 *
 * The broker listens on `remote_hsmd/broker.sock` beside the node's database. It
 * is looked for where its settings are looked for: in this folder, in the folder
 * of a network below it, and in this folder when it is the broker's own.
 *
 * @module
 */

import http, { type IncomingMessage } from "node:http";
import { describeError, UsageError } from "../errors.ts";
import { FOLDER } from "./folder.ts";

const SOCKET_NAME = "broker.sock";
/** The broker's own socket, relative to where lightningd starts its hsmd. */
export const SOCKET_FILE: string = `${FOLDER}/${SOCKET_NAME}`;

/** What the broker answered. */
export interface BrokerReply {
  readonly status: number;
  readonly body: string;
}

/** Networks that lightningd has a folder for. */
const NETWORKS = ["bitcoin", "testnet", "testnet4", "signet", "regtest"];

/** Where the socket may be, the nearest first. */
export const SOCKET_PLACES: readonly string[] = [
  SOCKET_FILE,
  SOCKET_NAME,
  ...NETWORKS.map((network) => `${network}/${SOCKET_FILE}`),
];

const NOT_RUNNING = "the broker does not run";

/** Where the broker's socket is. @throws {UsageError} when nobody made one */
export function findSocket(): string {
  const [found, ...others] = SOCKET_PLACES.filter(isThere);
  if (found === undefined) {
    const where = "the folder of lightningd's network, where its database is";
    throw new UsageError(
      `Cannot ask the broker: no ${SOCKET_FILE} here; it does not run, ` +
        `or this is not ${where}`,
    );
  }
  // The broker of this folder is meant, whatever else is below it.
  const isBelow = found !== SOCKET_FILE && found !== SOCKET_NAME;
  if (!isBelow || others.length === 0) return found;
  throw new UsageError(
    `Cannot ask the broker: ${[found, ...others].join(" and ")} are here, ` +
      "want the folder of one network",
  );
}

function isThere(path: string): boolean {
  try {
    return Deno.lstatSync(path).isSocket === true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    if (error instanceof Deno.errors.NotADirectory) return false;
    throw error;
  }
}

/**
 * Asks the broker one thing, such as `GET /api/status`.
 *
 * @throws {UsageError} when it does not run
 */
export async function askBroker(
  method: "GET" | "POST",
  path: string,
  body = "",
): Promise<BrokerReply> {
  const response = await openRequest(findSocket(), { method, path, body });
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text += chunk;
  return { status: response.statusCode ?? 0, body: text };
}

/**
 * The data of each server-sent event of a stream of the broker's, until it ends.
 *
 * @throws {UsageError} when it does not run, or leaves
 */
export async function* followBroker(path: string): AsyncGenerator<string> {
  const request = { method: "GET", path, body: "" } as const;
  const response = await openRequest(findSocket(), request);
  if (response.statusCode !== 200) {
    throw new UsageError(`Cannot follow the broker: ${response.statusCode}`);
  }
  let text = "";
  try {
    for await (const chunk of response.setEncoding("utf8")) {
      text += chunk;
      const events = text.split("\n\n");
      text = events.pop() ?? "";
      yield* events.flatMap(dataOf);
    }
  } catch (cause) {
    const why = describeError(cause);
    throw new UsageError(`Cannot follow the broker: it left (${why})`, {
      cause,
    });
  }
}

/** Nothing for a comment. */
function dataOf(event: string): readonly string[] {
  const lines = event.split("\n").filter((line) => line.startsWith("data:"));
  if (lines.length === 0) return [];
  return [lines.map((line) => line.slice("data:".length)).join("\n")];
}

interface BrokerRequest {
  readonly method: string;
  readonly path: string;
  readonly body: string;
}

async function openRequest(
  socketPath: string,
  { method, path, body }: BrokerRequest,
): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<
    IncomingMessage
  >();
  const headers = { host: "localhost", "content-length": utf8Size(body) };
  const request = http.request(
    // No agent: a connection that is kept would keep this process.
    { socketPath, method, path, headers, agent: false },
    resolve,
  );
  request.on("error", reject);
  request.end(body);
  try {
    return await promise;
  } catch (cause) {
    const why = describeError(cause);
    throw new UsageError(
      `Cannot ask the broker at ${socketPath}: ${NOT_RUNNING} (${why})`,
      { cause },
    );
  }
}

function utf8Size(text: string): number {
  return new TextEncoder().encode(text).length;
}
