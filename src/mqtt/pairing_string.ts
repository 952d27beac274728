/**
 * The pairing string: all that a device needs to find a node, to know it, and to
 * be let in once.
 *
 *     RHS1…  what follows is bech32m (BIP 350), written in capitals
 *
 * | field | bytes |
 * | --- | --- |
 * | version | u8 = 1 |
 * | network | u8, a row of NETWORK_NUMBERS |
 * | url | u16 + ASCII: `mqtt`, `mqtts`, `ws` or `wss`, host, port, topic prefix |
 * | broker key | 33: the node's link key, which the device expects there |
 * | code | 16: good once, for ten minutes |
 * | certificate | u8 = 0, or 1 and SHA-256 of the server's certificate, 32 |
 *
 * Capitals and digits are what a QR code holds with the fewest squares, and no
 * two letters of bech32 look alike. Its checksum finds every one to three wrong
 * letters; a single slip is then looked for, so that its place can be named. The
 * bound of 90 letters (BIP 173) is for addresses and is not kept.
 *
 * What it does not do: connect, or ask anybody.
 *
 * @module
 */

import {
  decodeBech32,
  encodeBech32,
  toBytes,
  toWords,
} from "../bitcoin/bech32.ts";
import type { NetworkName } from "../bitcoin/networks.ts";
import { isPoint } from "../crypto/secp.ts";
import { Secret } from "../crypto/secret.ts";
import { DecodeError, UsageError } from "../errors.ts";
import {
  choice,
  decode,
  encode,
  fixed,
  option,
  struct,
  u8,
  varBytes,
} from "../wire/codec.ts";
import { pubkey } from "../wire/types.ts";

/** What a pairing string says. */
export interface PairingInvitation {
  /** Where the node meets devices; a path is the prefix of its topics. */
  readonly url: string;
  readonly network: NetworkName;
  /** The node's link key, 33 bytes. */
  readonly brokerKey: Uint8Array;
  /** The one-time code, 16 bytes. */
  readonly code: Secret;
  /** SHA-256 of the server's certificate (DER); null: trusted some other way. */
  readonly certHash: Uint8Array | null;
}

const PREFIX = "rhs";
const START = "RHS1";
const VERSION = 1;
const CODE_SIZE = 16;
/** Longest string that is looked at; ours have about 130 letters. */
const LONGEST = 800;
const LONGEST_URL = 300;
/** A slip is looked for in what has a usual length: it takes a while. */
const LONGEST_SEARCHED = 300;
const UNEXPLAINED = "its checksum is wrong: characters are missing or mistyped";
const LETTERS = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L";

/** Numbers of networks in the string; they never change. */
const NETWORK_NUMBERS = {
  bitcoin: 0,
  testnet: 1,
  testnet4: 2,
  signet: 3,
  regtest: 4,
} as const satisfies Record<NetworkName, number>;

const NETWORK_NAMES = ["bitcoin", "testnet", "testnet4", "signet", "regtest"]
  .filter((name): name is NetworkName => Object.hasOwn(NETWORK_NUMBERS, name));

const SCHEMES: readonly string[] = ["mqtt:", "mqtts:", "ws:", "wss:"];

const invitation = struct("pairing_string", {
  version: u8,
  network: choice("network", Object.values(NETWORK_NUMBERS)),
  url: varBytes("url", 16),
  brokerKey: pubkey,
  code: fixed("code", CODE_SIZE),
  certHash: option(fixed("certificate", 32)),
});

/** Why a URL cannot be one of a pairing; null when it can. */
export function urlProblem(text: string): string | null {
  if (text.length > LONGEST_URL || !/^[\x21-\x7e]+$/.test(text)) {
    return "it is too long, or not ASCII";
  }
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !SCHEMES.includes(url.protocol) || url.hostname === "") {
    return "want mqtt, mqtts, ws or wss://HOST:PORT";
  }
  const isPlain = url.username === "" && url.password === "" &&
    url.search === "" && url.hash === "";
  if (!isPlain) return "want no user, password, query or fragment";
  return url.port === "0" ? "want a port" : null;
}

/** Writes a pairing string. @throws {RangeError} for a URL that is none */
export function formatPairingString(pairing: PairingInvitation): string {
  const { network, url, brokerKey, code, certHash } = pairing;
  const problem = urlProblem(url);
  if (problem !== null) {
    throw new RangeError(`Cannot pair by a URL: ${problem}`);
  }
  const bytes = encode(invitation, {
    version: VERSION,
    network: NETWORK_NUMBERS[network],
    url: new TextEncoder().encode(url),
    brokerKey: decode(pubkey, brokerKey),
    code: code.reveal(),
    certHash,
  });
  return encodeBech32(PREFIX, toWords(bytes), "bech32m").toUpperCase();
}

/**
 * Reads a pairing string as it was typed: spaces, line ends and the case of
 * letters do not matter.
 *
 * @throws {UsageError} naming what is wrong, and never the code
 */
export function parsePairingString(typed: string): PairingInvitation {
  if (typed.length > 2 * LONGEST) throw wrong("it is far too long");
  const text = typed.replace(/\s+/g, "").toUpperCase();
  checkLetters(text);
  const bytes = bytesIn(text);
  if (bytes === null) throw wrong(slipIn(text));
  return read(bytes);
}

function wrong(found: string): UsageError {
  return new UsageError(
    `Cannot read the pairing string: ${found}, want all of it as ` +
      "remote_hsmd_mqtt pair shows it",
  );
}

function checkLetters(text: string): void {
  if (!text.startsWith(START)) throw wrong(`it does not begin with ${START}`);
  if (text.length > LONGEST) throw wrong("it is too long");
  const at = [...text].findIndex((letter, i) =>
    i >= START.length && !LETTERS.includes(letter)
  );
  if (at < 0) return;
  const isLookAlike = /^[B1IO]$/.test(text.charAt(at));
  throw wrong(
    `character ${at + 1} is none that it can have` +
      (isLookAlike ? " (no B, I, O or 1 follows RHS1)" : ""),
  );
}

/** What a text carries when its checksum is right; null when it is not. */
function bytesIn(text: string): Uint8Array | null {
  const decoded = decodeBech32(text);
  const isOurs = decoded?.kind === "bech32m" && decoded.prefix === PREFIX;
  return isOurs ? toBytes(decoded.words) : null;
}

/** The one slip that would explain a wrong checksum, if there is one. */
function slipIn(text: string): string {
  if (text.length > LONGEST_SEARCHED) return UNEXPLAINED;
  for (let i = START.length; i < text.length; i++) {
    const [before, after] = [text.slice(0, i), text.slice(i)];
    const swapped = after.charAt(1) + after.charAt(0) + after.slice(2);
    if (bytesIn(before + swapped) !== null) {
      return `characters ${i + 1} and ${i + 2} are swapped`;
    }
    if (bytesIn(before + after.slice(1)) !== null) {
      return `character ${i + 1} is one too many`;
    }
    for (const letter of LETTERS) {
      if (bytesIn(before + letter + after.slice(1)) !== null) {
        return `character ${i + 1} is wrong`;
      }
      if (bytesIn(before + letter + after) !== null) {
        return `a character is missing at ${i + 1}`;
      }
    }
  }
  return UNEXPLAINED;
}

function read(bytes: Uint8Array): PairingInvitation {
  if (bytes[0] !== VERSION) {
    throw wrong(
      `it is of version ${bytes[0] ?? "none"}, this is for version 1`,
    );
  }
  try {
    const { network, url, brokerKey, code, certHash } = decode(
      invitation,
      bytes,
    );
    const text = new TextDecoder().decode(url);
    const problem = urlProblem(text);
    if (problem !== null) throw wrong(`its address cannot be used: ${problem}`);
    const name = NETWORK_NAMES.find((name) =>
      NETWORK_NUMBERS[name] === network
    );
    if (name === undefined) throw wrong("it is for an unknown network");
    if (!isPoint(brokerKey)) throw wrong("its key is none");
    return {
      url: text,
      network: name,
      brokerKey,
      code: new Secret(code),
      certHash,
    };
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    throw wrong("its content is none of a pairing");
  }
}
