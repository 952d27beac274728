/**
 * What is checked about a request before anyone looks at what it says.
 *
 * | what | limit | status |
 * | --- | --- | --- |
 * | Host | an address that the pages listen at | 403 |
 * | Origin, Sec-Fetch-Site | none: no web page has business here | 403 |
 * | URL | 4,096 characters | 414 |
 * | headers | 64, of 8,192 characters together | 431 |
 * | body | 4,096 bytes, within 10 s | 413, 408 |
 *
 * What it does not do: close a connection that never asks anything. The server
 * under it has no limit for those; they hold a descriptor until the pages close.
 *
 * @module
 */

import { SetupRefusal } from "./settings.ts";

const LIMITS = {
  url: 4_096,
  headers: 64,
  headerCharacters: 8_192,
  body: 4_096,
  /** What is read of a longer one, so that its sender hears the answer. */
  drained: 256 * 1024,
  bodyMs: 10_000,
} as const;

/** @throws {SetupRefusal} for what a setup tool would not send */
export function checkRequest(
  { url, headers }: Request,
  hosts: ReadonlySet<string>,
): void {
  if (!hosts.has(headers.get("host")?.toLowerCase() ?? "")) {
    const text =
      "Cannot serve this host: another name, want the address that " +
      "the device shows";
    throw new SetupRefusal(403, text);
  }
  const site = headers.get("sec-fetch-site") ?? "none";
  if (headers.has("origin") || site !== "none") {
    const text = "Cannot serve a web page: a browser sent this, want a setup " +
      "tool";
    throw new SetupRefusal(403, text);
  }
  if (url.length > LIMITS.url) {
    throw tooLong(414, "URL", `${LIMITS.url} characters`);
  }
  const lines = [...headers];
  const characters = lines.flat().join("").length;
  if (
    lines.length > LIMITS.headers || characters > LIMITS.headerCharacters
  ) {
    const most = `${LIMITS.headers}, ${LIMITS.headerCharacters} characters`;
    throw tooLong(431, "headers", most);
  }
}

function tooLong(status: number, what: string, most: string): SetupRefusal {
  return new SetupRefusal(
    status,
    `Cannot read the ${what}: too long, want at most ${most}`,
  );
}

/** The path and the query. @throws {SetupRefusal} */
export function urlOf({ url }: Request): URL {
  if (URL.canParse(url)) return new URL(url);
  throw new SetupRefusal(400, "Cannot read the URL: no URL, want a path");
}

/** The JSON: in the query, as the hardware wants it, or as the body. */
export async function readJson(request: Request): Promise<string> {
  const [json, ...more] = urlOf(request).searchParams.getAll("config");
  if (more.length > 0) {
    const text = "Cannot use config: given more than once, want one";
    throw new SetupRefusal(400, text);
  }
  return json ?? await readBody(request);
}

async function readBody({ body }: Request): Promise<string> {
  const bytes = body === null ? new Uint8Array(0) : await collect(body);
  if (bytes.length === 0) {
    const text = "Cannot set up: no settings, want POST /config?config= with " +
      "percent-encoded JSON, or JSON as the body";
    throw new SetupRefusal(400, text);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new SetupRefusal(400, "Cannot read the body: no UTF-8, want JSON");
  }
}

/**
 * Reads what nobody has looked at, within bounds. A connection that is closed
 * with something unread is reset, and the answer is lost with it.
 */
export async function drain({ body, bodyUsed }: Request): Promise<void> {
  if (body === null || bodyUsed) return;
  try {
    await collect(body);
  } catch (error) {
    // There is an answer already, which is told instead.
    if (!(error instanceof SetupRefusal)) throw error;
  }
}

/** All of a body that is neither too long nor too slow. */
async function collect(body: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const reader = body.getReader();
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    reader.cancel().catch(() => {});
  }, LIMITS.bodyMs);
  try {
    const bytes = await readAll(reader);
    if (!isLate) return bytes;
  } finally {
    clearTimeout(timer);
  }
  const text = `Cannot read the body: too slow, want ${LIMITS.bodyMs} ms`;
  throw new SetupRefusal(408, text);
}

async function readAll(
  reader: ReadableStreamDefaultReader<Uint8Array>,
): Promise<Uint8Array> {
  const kept: number[] = [];
  let length = 0;
  while (length <= LIMITS.drained) {
    const { value, done } = await reader.read().catch(breakOff);
    if (done) break;
    length += value.length;
    if (length <= LIMITS.body) kept.push(...value);
  }
  if (length <= LIMITS.body) return Uint8Array.from(kept);
  reader.cancel().catch(() => {});
  throw tooLong(413, "body", `${LIMITS.body} bytes`);
}

function breakOff(): never {
  throw new SetupRefusal(400, "Cannot read the body: it broke off, want all");
}
