/**
 * Who may ask over HTTP.
 *
 * | listener | wants |
 * | --- | --- |
 * | the broker's own socket | nothing: its file is the owner's alone |
 * | loopback, no token | a loopback name in `Host` |
 * | anything, with a token | the token, in each request |
 * | another address, no token | is not opened at all |
 *
 * Against web pages that a browser on the same machine shows:
 *
 * | a page that | is stopped by |
 * | --- | --- |
 * | has its name point to 127.0.0.1 (DNS rebinding) | `Host`: its own name |
 * | posts to us | `Origin`: its own, want ours; `Sec-Fetch-Site` |
 * | reads us from elsewhere | no CORS header of ours allows it |
 * | has us in a frame | `frame-ancestors 'none'` (page.ts) |
 *
 * The token is compared by its hash, in a time that does not depend on it. It may
 * stand in the query where a browser can put it nowhere else: the page, and the
 * stream that the page opens.
 *
 * @module
 */

import { sha256 } from "../../crypto/hash.ts";
import { isEqualConstantTime } from "../../crypto/secret.ts";
import { ConfigError } from "../../errors.ts";

/** Header fields by lower-case name, as `node:http` has them. */
export type Headers = Readonly<Record<string, string | undefined>>;

/** What a request says of itself. */
export interface Visitor {
  readonly method: string;
  readonly headers: Headers;
  /** `token` of the query, where this route takes one there. */
  readonly queryToken: string | null;
}

/** What one listener asks of everybody. */
export interface Gate {
  /** SHA-256 of the token; null where none is wanted. */
  readonly tokenHash: Uint8Array | null;
  /** Whether `Host` has to be this machine's own name. */
  readonly isLoopback: boolean;
  /** Whether requests on it are as good as the owner's own. */
  readonly isOwner: boolean;
}

/** A refusal. */
export interface Turned {
  readonly status: 401 | 403;
  readonly reason: string;
}

/** The gate of the broker's own socket. */
export const OWN_GATE: Gate = {
  tokenHash: null,
  isLoopback: false,
  isOwner: true,
};

/** The gate of a TCP address. @throws {ConfigError} where it needs a token */
export function gateOf(hostname: string, token: string): Gate {
  const isLocal = isLoopbackName(hostname);
  if (token !== "") {
    const tokenHash = hashOf(token);
    return { tokenHash, isLoopback: false, isOwner: true };
  }
  if (isLocal) return { tokenHash: null, isLoopback: true, isOwner: false };
  throw new ConfigError(
    "http_listen",
    "the settings",
    `${hostname}, which others reach, without http_token`,
    "an address of 127.0.0.1 or ::1, or http_token as well",
  );
}

/** Whether a host name, without its port, is this machine by itself. */
export function isLoopbackName(hostname: string): boolean {
  const name = hostname.replace(/^\[(.*)\]$/, "$1").toLowerCase();
  return name === "localhost" || name === "::1" ||
    /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(name);
}

/** Why a request is turned away; null when it may pass. */
export function problemWith(gate: Gate, visitor: Visitor): Turned | null {
  return problemWithHost(gate, visitor.headers) ??
    problemWithToken(gate, visitor) ??
    problemWithSite(visitor);
}

function problemWithHost(
  { isLoopback }: Gate,
  { host }: Headers,
): Turned | null {
  if (!isLoopback || isLoopbackName(hostnameOf(host ?? ""))) return null;
  const reason = "this address serves its own machine only, under the name " +
    "localhost or 127.0.0.1; with http_token it serves any name";
  return { status: 403, reason };
}

/** `Host` without the port. */
function hostnameOf(host: string): string {
  return /^(\[[^\]]*\]|[^:]*)(?::\d*)?$/.exec(host)?.[1] ?? "";
}

function problemWithToken(
  { tokenHash }: Gate,
  { headers: { authorization }, queryToken }: Visitor,
): Turned | null {
  if (tokenHash === null) return null;
  const bearer = /^bearer +(.+)$/i.exec(authorization ?? "")?.[1];
  const shown = bearer ?? queryToken;
  const isRight = shown !== null && shown !== undefined &&
    isEqualConstantTime(hashOf(shown), tokenHash);
  if (isRight) return null;
  return { status: 401, reason: "want http_token, as Authorization: Bearer" };
}

function problemWithSite({ method, headers }: Visitor): Turned | null {
  const { host, origin } = headers;
  const site = headers["sec-fetch-site"] ?? "none";
  const isSafe = method === "GET" || method === "HEAD";
  // Whoever follows a link to the page comes from elsewhere, and may.
  const isLed = isSafe && headers["sec-fetch-mode"] === "navigate";
  const isForeign = site !== "none" && site !== "same-origin" && !isLed;
  const isOwn = origin === undefined || isSafe || isOriginOf(origin, host);
  if (isOwn && !isForeign) return null;
  return { status: 403, reason: "another site's page may not ask this" };
}

function isOriginOf(origin: string, host: string | undefined): boolean {
  // A proxy in front may have made https of it.
  return host !== undefined &&
    (origin === `http://${host}` || origin === `https://${host}`);
}

function hashOf(token: string): Uint8Array {
  return sha256(new TextEncoder().encode(token));
}
