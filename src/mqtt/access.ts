/**
 * How to get at an MQTT server, whoever runs it: TCP or WebSocket, plain or TLS,
 * with its user, password and certificates.
 *
 * | given | the server is taken when |
 * | --- | --- |
 * | nothing | somebody the system trusts signed its certificate for this host |
 * | `ca` | that authority signed its certificate for this host |
 * | `certHash` | its certificate is that one; host and date do not matter |
 *
 * TLS hides who speaks of what from those between; what device and broker say is
 * sealed anyway (sealed.ts). A certificate is looked at before the login leaves:
 * what the library writes is held back until then. That the server has the
 * key of the certificate that it shows is checked by the handshake itself, with
 * a pinned one too.
 *
 * Standards: MQTT 3.1.1, RFC 8446 (TLS 1.3), RFC 6125 (names in certificates).
 *
 * What it does not do: reconnect (device/link.ts, external.ts), or read files.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import net from "node:net";
import type { Duplex } from "node:stream";
import tls from "node:tls";
import { type IClientOptions, MqttClient } from "mqtt";
// @ts-types="npm:@types/ws@8.18.2"
import { createWebSocketStream, WebSocket } from "ws";
import { sha256 } from "../crypto/hash.ts";
import { isEqualConstantTime, type Secret } from "../crypto/secret.ts";
import { certificateIn, pairProblem } from "./pem.ts";

export type { IClientOptions, MqttClient } from "mqtt";

/** What a server wants to see, and what we want to see of it. */
export interface ServerAccess {
  /** In place of the login token, which is for our own servers. */
  readonly user?: string;
  /** UTF-8. */
  readonly password?: Secret;
  /** PEM of whoever signed the server's certificate. */
  readonly ca?: string;
  /** PEM of our own certificate, with {@linkcode key}. */
  readonly cert?: string;
  /** PEM of our own certificate's private key. */
  readonly key?: Secret;
  /** SHA-256 of the server's certificate (DER): this one and no other. */
  readonly certHash?: Uint8Array;
}

/** What cannot be used of this, and why; null when all of it can. */
export function accessProblem(
  { ca, cert, key }: ServerAccess,
): { readonly of: "ca" | "cert" | "key"; readonly found: string } | null {
  if (ca !== undefined && certificateIn(ca) === null) {
    return { of: "ca", found: "no PEM certificate" };
  }
  if (cert === undefined && key === undefined) return null;
  if (cert === undefined) return { of: "cert", found: "none for the key" };
  if (key === undefined) {
    return { of: "key", found: "none for the certificate" };
  }
  return pairProblem(cert, key.reveal());
}

/** What is for TLS alone. */
const FOR_TLS = ["ca", "cert", "key", "certHash"] as const;

/** What of this would go unused, because the URL is not under TLS; or null. */
export function unusedWithoutTls(
  url: string,
  access: ServerAccess,
): (typeof FOR_TLS)[number] | null {
  if (isTlsUrl(url)) return null;
  return FOR_TLS.find((name) => access[name] !== undefined) ?? null;
}

/** What a URL may begin with; the port that it means. */
const PROTOCOLS = {
  "mqtt:": { port: 1883, isTls: false, isWeb: false },
  "mqtts:": { port: 8883, isTls: true, isWeb: false },
  "ws:": { port: 80, isTls: false, isWeb: true },
  "wss:": { port: 443, isTls: true, isWeb: true },
} as const;

/** A server's address. */
interface Place {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  readonly isTls: boolean;
  readonly isWeb: boolean;
}

/** Whether a connection to this URL is under TLS. */
export function isTlsUrl(url: string): boolean {
  return placeIn(url).isTls;
}

/** A server in a log line: `host:port`. */
export function serverName(url: string): string {
  const { host, port } = placeIn(url);
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * What goes before every topic on this server: the path of an `mqtt` URL, with
 * a slash at its end, or nothing. The path of a WebSocket URL is the server's.
 */
export function topicPrefix(url: string): string {
  if (placeIn(url).isWeb) return "";
  const path = decodeURIComponent(new URL(url).pathname);
  const inner = path.replace(/^\/+|\/+$/g, "");
  return inner === "" ? "" : `${inner}/`;
}

/**
 * Each connection is a new client, which repeats nothing of the one before. The
 * other side drops us after one and a half keep-alives without a word.
 */
const EVERY_CLIENT: IClientOptions = {
  protocolVersion: 4,
  clean: true,
  keepalive: 10,
  connectTimeout: 10_000,
  reconnectPeriod: 0,
  queueQoSZero: false,
  resubscribe: false,
};

/** Starts a connection; what becomes of it the client tells by its events. */
export function connectMqtt(
  url: string,
  access: ServerAccess,
  options: IClientOptions,
): MqttClient {
  const place = placeIn(url);
  const client = new MqttClient(() => {
    const line = openLine(place, access);
    line.on("error", explain); // before the library's own listener tells it
    return line;
  }, { ...EVERY_CLIENT, ...options, ...loginOf(access), protocol: "mqtt" });
  client.on("error", () => {}); // there may be nobody who asks
  return client;
}

function placeIn(url: string): Place {
  const { protocol, hostname, port } = new URL(url);
  if (!isProtocol(protocol)) {
    throw new TypeError(
      `Cannot connect to ${url}: want mqtt, mqtts, ws or wss`,
    );
  }
  const row = PROTOCOLS[protocol];
  return {
    url,
    host: hostname.replace(/^\[|\]$/g, ""),
    port: port === "" ? row.port : Number(port),
    isTls: row.isTls,
    isWeb: row.isWeb,
  };
}

function isProtocol(text: string): text is keyof typeof PROTOCOLS {
  return Object.hasOwn(PROTOCOLS, text);
}

function loginOf({ user, password }: ServerAccess): IClientOptions {
  return {
    ...(user === undefined ? {} : { username: user }),
    ...(password === undefined
      ? {}
      : { password: Buffer.from(password.reveal()) }),
  };
}

function openLine(place: Place, access: ServerAccess): Duplex {
  if (place.isWeb) return openWeb(place, access);
  const socket = place.isTls ? openTls(place, access) : net.connect(place);
  // A small answer must not wait for the acknowledgement of the last one.
  socket.once("connect", () => socket.setNoDelay(true));
  return socket;
}

function openTls(place: Place, access: ServerAccess): net.Socket {
  const socket = tls.connect({ ...place, ...tlsOptions(place, access) });
  if (access.certHash === undefined) return socket;
  socket.cork(); // the login waits for the look at the certificate
  socket.once("secureConnect", () => {
    const problem = pinProblem(socket, access);
    if (problem === null) socket.uncork();
    else socket.destroy(problem);
  });
  return socket;
}

/** WebSocket; only after its handshake does the first byte of MQTT leave. */
function openWeb(place: Place, access: ServerAccess): Duplex {
  const options = place.isTls ? tlsOptions(place, access) : {};
  const socket = new WebSocket(place.url, ["mqtt"], options);
  const stream = createWebSocketStream(socket);
  if (!place.isTls || access.certHash === undefined) return stream;
  socket.once("upgrade", (response) => {
    const problem = pinProblem(response.socket, access);
    if (problem === null) return;
    // The library has its own word for a handshake that is broken off.
    stream.prependOnceListener("error", (error) => {
      Object.assign(error, { message: problem.message, code: PIN_CODE });
    });
    socket.terminate();
  });
  return stream;
}

/** What node:tls is told of a server. */
function tlsOptions(
  { host }: Place,
  { ca, cert, key, certHash }: ServerAccess,
): tls.ConnectionOptions {
  return {
    minVersion: "TLSv1.2",
    // Names only: an address is not sent (RFC 6066 3).
    ...(net.isIP(host) === 0 ? { servername: host } : {}),
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key: Buffer.from(key.reveal()) }),
    // A pinned certificate may be signed by nobody else, and for another host.
    ...(certHash === undefined || ca !== undefined
      ? {}
      : { rejectUnauthorized: false }),
  };
}

/** A code of our own, beside those of the library. */
const PIN_CODE = "ERR_TLS_CERT_PIN";

function pinProblem(
  socket: net.Socket,
  { certHash }: ServerAccess,
): Error | null {
  const raw = socket instanceof tls.TLSSocket
    ? socket.getPeerCertificate().raw
    : undefined;
  const found = raw === undefined ? new Uint8Array(0) : sha256(raw);
  if (certHash !== undefined && isEqualConstantTime(found, certHash)) {
    return null;
  }
  const shown = found.length === 0
    ? "it shows no certificate"
    : `its certificate is ${found.toHex().slice(0, 16)}…`;
  const wanted = certHash?.toHex().slice(0, 16) ?? "none";
  const text = `Cannot trust the server: ${shown}, want ${wanted}…`;
  return Object.assign(new Error(text), { code: PIN_CODE });
}

const UNKNOWN_SIGNER = "Cannot trust the server: its certificate is signed " +
  "by nobody that we know, want the certificate file of its authority";
const WRONG_CLIENT = "Cannot log in to the server: it does not take our " +
  "client certificate, want one that its authority signed";

/** What node:tls calls a problem, and what an owner calls it. */
const PROBLEMS: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: UNKNOWN_SIGNER,
  SELF_SIGNED_CERT_IN_CHAIN: UNKNOWN_SIGNER,
  UNABLE_TO_GET_ISSUER_CERT: UNKNOWN_SIGNER,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNKNOWN_SIGNER,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNKNOWN_SIGNER,
  ERR_TLS_CERT_ALTNAME_INVALID:
    "Cannot trust the server: its certificate is for another host",
  CERT_HAS_EXPIRED: "Cannot trust the server: its certificate has expired",
  CERT_NOT_YET_VALID:
    "Cannot trust the server: its certificate is not valid yet",
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    "Cannot log in to the server: it wants a client certificate",
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: WRONG_CLIENT,
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: WRONG_CLIENT,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    "Cannot log in to the server: our client certificate has expired",
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: WRONG_CLIENT,
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION:
    "Cannot agree on TLS with the server: want 1.2 or 1.3",
};

/** Puts what an owner can read in the place of a TLS library's words. */
function explain(error: Error): void {
  const code: unknown = Reflect.get(error, "code");
  if (typeof code !== "string" || code === PIN_CODE) return;
  const text = Object.hasOwn(PROBLEMS, code) ? PROBLEMS[code] : undefined;
  if (text !== undefined) error.message = text;
  else if (/^ERR_(SSL|TLS)/.test(code)) {
    error.message = `Cannot speak TLS with the server: ${error.message}`;
  }
}
