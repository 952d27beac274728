/**
 * What a setup tool sends: JSON, read strictly.
 *
 * | field | |
 * | --- | --- |
 * | broker | host:port, or a URL that begins with mqtt, tcp or ws |
 * | network | bitcoin or mainnet, testnet, testnet4, signet, regtest |
 * | pubkey, seed | 66 and 120 hex digits; both, or neither (or null) |
 * | ssid, pass | for the hardware's WiFi: not looked at |
 *
 * The hardware takes any unknown network for regtest, cuts what is too long, and
 * stops at what is too short; all of these are errors here. What is taken holds
 * nothing but letters, digits and marks that a screen shows as they are.
 *
 * What it does not do: open the seed, judge whether one is wanted.
 *
 * @module
 */

import { isNetworkName, type NetworkName } from "../../bitcoin/networks.ts";
import { isPoint } from "../../crypto/secp.ts";
import { TRANSFER_SIZE } from "../../crypto/seed_transfer.ts";

/** What is answered instead of a success. */
export class SetupRefusal extends Error {
  override readonly name = "SetupRefusal";
  /** HTTP status. */
  readonly status: number;

  constructor(status: number, text: string) {
    super(text);
    this.status = status;
  }
}

/** A seed that is still sealed. */
export interface Transfer {
  /** The tool's key: 33 bytes of the curve. */
  readonly point: Uint8Array;
  readonly payload: Uint8Array;
}

/** What was sent. */
export interface Settings {
  /** `mqtt://host:port` */
  readonly broker: string;
  readonly network: NetworkName;
  /** Null when no seed was sent. */
  readonly transfer: Transfer | null;
}

/** Reads the JSON. @throws {SetupRefusal} */
export function readSettings(json: string): Settings {
  const fields = parseObject(json);
  return {
    broker: toBrokerUrl(textOf(fields, "broker")),
    network: toNetwork(textOf(fields, "network")),
    transfer: toTransfer(hexOf(fields, "pubkey"), hexOf(fields, "seed")),
  };
}

/** The part of a text that an error may show. */
const SHOWN = 40;

function refuse(what: string, found: string, wanted: string): never {
  throw new SetupRefusal(400, `Cannot use ${what}: ${found}, want ${wanted}`);
}

function quote(text: string): string {
  const shown = text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
  return JSON.stringify(shown);
}

function parseObject(json: string): object {
  const value = parseJson(json);
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value;
  }
  refuse("the settings", "other JSON", "an object");
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    // The parser's own text would show what was sent: a WiFi password, say.
    refuse("the settings", "no JSON", "an object (+ sent as %2B)");
  }
}

function fieldOf(fields: object, name: string): unknown {
  return Object.hasOwn(fields, name) ? Reflect.get(fields, name) : undefined;
}

function textOf(fields: object, name: string): string {
  const value = fieldOf(fields, name);
  if (typeof value === "string") return value;
  refuse(name, value === undefined ? "missing" : "no text", "a text");
}

/** Null for a field that is missing or null. */
function hexOf(fields: object, name: string): Uint8Array | null {
  const value = fieldOf(fields, name) ?? null;
  if (value === null) return null;
  if (typeof value === "string") {
    try {
      return Uint8Array.fromHex(value);
    } catch {
      // Odd, or no hex: what was sent is not shown, it may be a seed.
    }
  }
  refuse(name, "no hex", "an even number of hex digits");
}

function toTransfer(
  point: Uint8Array | null,
  payload: Uint8Array | null,
): Transfer | null {
  if (point === null && payload === null) return null;
  if (point === null) refuse("seed", "no pubkey", "both");
  if (payload === null) refuse("pubkey", "no seed", "both");
  if (payload.length !== TRANSFER_SIZE) {
    const found = `${payload.length * 2} digits`;
    refuse("seed", found, `${TRANSFER_SIZE * 2}: ciphertext, tag, nonce`);
  }
  if (!isPoint(point)) {
    refuse("pubkey", "no point of the curve", "66 digits, compressed");
  }
  return { point, payload };
}

function toNetwork(name: string): NetworkName {
  // The hardware's other name of it.
  if (name === "mainnet") return "bitcoin";
  if (isNetworkName(name)) return name;
  const names = "bitcoin, testnet, testnet4, signet or regtest";
  refuse("network", quote(name), names);
}

const BROKER =
  /^(?:(mqtt|tcp|ws):\/\/)?([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::(\d{1,5}))?\/?$/;
const MQTT_PORT = "1883";

function toBrokerUrl(broker: string): string {
  const [, scheme, host, port = MQTT_PORT] = BROKER.exec(broker) ?? [];
  const hostname = host === undefined ? null : toHostname(host);
  if (hostname === null || !isPort(Number(port))) {
    refuse("broker", quote(broker), "host:port or mqtt://host:port");
  }
  const kind = scheme === "ws" ? "ws" : "mqtt";
  return `${kind}://${hostname}:${Number(port)}`;
}

function isPort(port: number): boolean {
  return port >= 1 && port <= 0xffff;
}

/** As URLs have it: lower case, one spelling for an address. */
function toHostname(host: string): string | null {
  const url = `http://${host}`;
  return URL.canParse(url) ? new URL(url).hostname : null;
}
