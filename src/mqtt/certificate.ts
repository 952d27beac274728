/**
 * Makes a certificate that nobody else signs, for a server whose devices know it
 * by its hash.
 *
 * Standards: RFC 5280 (X.509 v3), RFC 5480 and RFC 5758 (ECDSA on P-256 with
 * SHA-256), X.690 (DER).
 *
 * | field | value |
 * | --- | --- |
 * | serial number | 16 random bytes |
 * | issuer, subject | CN=remote-hsmd |
 * | validity | from a day ago to the end of 9999 (RFC 5280 4.1.2.5) |
 * | extensions | subjectAltName, basicConstraints: no authority |
 *
 * What it does not do: read certificates; the runtime can.
 *
 * @module
 */

import net from "node:net";

/** A key pair's certificate. */
export interface MadeCertificate {
  /** PEM. */
  readonly cert: string;
  /** PEM of the private key, PKCS #8. */
  readonly key: string;
}

/** Tags of X.690 that occur here. */
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const OBJECT_ID = 0x06;
const UTF8_STRING = 0x0c;
const GENERALIZED_TIME = 0x18;
const SEQUENCE = 0x30;
const SET = 0x31;
/** [0] and [3] of TBSCertificate; [2] and [7] of GeneralName. */
const VERSION = 0xa0;
const EXTENSIONS = 0xa3;
const DNS_NAME = 0x82;
const IP_ADDRESS = 0x87;

/** Object ids, as their content bytes. */
const ECDSA_WITH_SHA256 = "2a8648ce3d040302";
const COMMON_NAME = "550403";
const SUBJECT_ALT_NAME = "551d11";
const BASIC_CONSTRAINTS = "551d13";

const CURVE = { name: "ECDSA", namedCurve: "P-256" } as const;
const DAY_MS = 86_400_000;
const NO_END = "99991231235959Z";

/** Makes a key pair and its certificate for these host names and addresses. */
export async function makeCertificate(
  hosts: readonly string[],
  now: number,
): Promise<MadeCertificate> {
  const pair = await crypto.subtle.generateKey(CURVE, true, ["sign", "verify"]);
  const spki = await crypto.subtle.exportKey("spki", pair.publicKey);
  const pkcs8 = await crypto.subtle.exportKey("pkcs8", pair.privateKey);
  const body = toBeSigned(new Uint8Array(spki), hosts, now);
  const signature = new Uint8Array(
    await crypto.subtle.sign(
      { name: "ECDSA", hash: "SHA-256" },
      pair.privateKey,
      body,
    ),
  );
  const certificate = der(
    SEQUENCE,
    body,
    algorithm(),
    bits(derSignature(signature)),
  );
  return {
    cert: pem("CERTIFICATE", certificate),
    key: pem("PRIVATE KEY", new Uint8Array(pkcs8)),
  };
}

/** TBSCertificate, RFC 5280 4.1. */
function toBeSigned(
  spki: Uint8Array,
  hosts: readonly string[],
  now: number,
): Uint8Array<ArrayBuffer> {
  const name = der(
    SEQUENCE,
    der(
      SET,
      der(SEQUENCE, objectId(COMMON_NAME), text(UTF8_STRING, "remote-hsmd")),
    ),
  );
  return der(
    SEQUENCE,
    der(VERSION, integer(Uint8Array.of(2))),
    integer(crypto.getRandomValues(new Uint8Array(16))),
    algorithm(),
    name,
    der(SEQUENCE, time(now - DAY_MS), text(GENERALIZED_TIME, NO_END)),
    name,
    spki,
    der(EXTENSIONS, der(SEQUENCE, constraints(), altNames(hosts))),
  );
}

/** RFC 5280 4.2.1.9: critical, and an empty sequence: no authority. */
function constraints(): Uint8Array {
  const critical = Uint8Array.of(0x01, 0x01, 0xff);
  const value = der(OCTET_STRING, der(SEQUENCE));
  return der(SEQUENCE, objectId(BASIC_CONSTRAINTS), critical, value);
}

/** RFC 5280 4.2.1.6. */
function altNames(hosts: readonly string[]): Uint8Array {
  const names = der(SEQUENCE, ...hosts.map(generalName));
  return der(SEQUENCE, objectId(SUBJECT_ALT_NAME), der(OCTET_STRING, names));
}

function generalName(host: string): Uint8Array {
  return net.isIP(host) === 0
    ? text(DNS_NAME, host)
    : der(IP_ADDRESS, addressBytes(host));
}

/** 4 bytes, or 16. */
function addressBytes(host: string): Uint8Array {
  if (net.isIPv4(host)) return Uint8Array.from(host.split("."), Number);
  // The URL parser writes IPv4 parts and zeroes the way that is easy to split.
  const plain = new URL(`http://[${host}]`).hostname.slice(1, -1);
  const [head = "", tail] = plain.split("::");
  const groups = (part: string) => part === "" ? [] : part.split(":");
  const front = groups(head);
  const back = groups(tail ?? "");
  const gap = Array<string>(8 - front.length - back.length).fill("0");
  return Uint8Array.from(
    [...front, ...gap, ...back].flatMap((group) => {
      const value = Number.parseInt(group, 16);
      return [value >> 8, value & 0xff];
    }),
  );
}

function algorithm(): Uint8Array {
  return der(SEQUENCE, objectId(ECDSA_WITH_SHA256));
}

/** ECDSA-Sig-Value of r and s, 32 bytes each. */
function derSignature(raw: Uint8Array): Uint8Array {
  return der(SEQUENCE, integer(raw.slice(0, 32)), integer(raw.slice(32)));
}

/** A number that is not negative, without needless zeroes. */
function integer(bytes: Uint8Array): Uint8Array {
  const first = bytes.findIndex((byte) => byte !== 0);
  const rest = first < 0 ? Uint8Array.of(0) : bytes.slice(first);
  const isNegative = (rest[0] ?? 0) >= 0x80;
  return der(INTEGER, Uint8Array.of(...(isNegative ? [0] : []), ...rest));
}

function objectId(hex: string): Uint8Array {
  return der(OBJECT_ID, Uint8Array.fromHex(hex));
}

/** A bit string of whole bytes. */
function bits(bytes: Uint8Array): Uint8Array {
  return der(BIT_STRING, Uint8Array.of(0), bytes);
}

function text(tag: number, value: string): Uint8Array {
  return der(tag, new TextEncoder().encode(value));
}

/** GeneralizedTime, whole seconds. */
function time(at: number): Uint8Array {
  const digits = new Date(at).toISOString().replace(/[-:T]|\..*$/g, "");
  return text(GENERALIZED_TIME, `${digits}Z`);
}

/** One value: tag, length, content (X.690 8.1). */
function der(
  tag: number,
  ...parts: readonly Uint8Array[]
): Uint8Array<ArrayBuffer> {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const size = length < 0x80
    ? [length]
    : length < 0x100
    ? [0x81, length]
    : [0x82, length >> 8, length & 0xff];
  return Uint8Array.of(tag, ...size, ...parts.flatMap((part) => [...part]));
}

function pem(label: string, bytes: Uint8Array): string {
  const lines = bytes.toBase64().match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""]
    .join("\n");
}
