/**
 * Settings of the broker: one row each, and every value knows where it is from.
 *
 * Order, later ones win: the default; `remote_hsmd.toml` in lightningd's
 * directory for the network or in the one above it; the environment,
 * `REMOTE_HSMD_<KEY>`. There are no command-line flags, because lightningd gives
 * its hsmd no arguments of ours.
 *
 * @module
 */

import { parse as parseToml, TomlError } from "smol-toml";
import { ConfigError } from "../errors.ts";
import type { ListenAddress } from "../mqtt/embedded.ts";
import { LOG_LEVELS, type LogLevel } from "../wire/status.ts";

/** One setting: what it is for, its default as text, and what text means. */
interface Setting<T> {
  readonly about: string;
  readonly fallback: string;
  /** What a value should look like, for people. */
  readonly wanted: string;
  /** The value, or undefined when the text is none. */
  readonly parse: (text: string) => T | undefined;
  /** Shown to nobody. */
  readonly isSecret?: boolean;
}

function setting<T>(row: Setting<T>): Setting<T> {
  return row;
}

/** How a device becomes the node's. */
export type PairingMode = "code" | "first" | "open";

const LOG_LEVEL_NAMES: readonly string[] = Object.keys(LOG_LEVELS);

/** Every setting. */
export const SETTINGS = {
  mqtt_listen: setting<ListenAddress>({
    about: "where devices connect by MQTT over TCP",
    fallback: "127.0.0.1:1883",
    wanted: "ADDRESS:PORT, port 0 lets the kernel choose",
    parse: parseAddress,
  }),
  ws_listen: setting<ListenAddress | null>({
    about: "where devices connect by MQTT over WebSocket",
    fallback: "off",
    wanted: "ADDRESS:PORT or off",
    parse: (text) => text === "off" ? null : parseAddress(text),
  }),
  tls_cert: setting<string | null>({
    about: "TLS 1.3 for both listeners: a certificate file (PEM), or one " +
      "that the broker makes for itself",
    fallback: "off",
    wanted: "a file, self-signed, or off",
    parse: parseOptional,
  }),
  tls_key: setting<string | null>({
    about: "the private key file (PEM) of that certificate",
    fallback: "off",
    wanted: "a file, or off",
    parse: parseOptional,
  }),
  public_address: setting<ListenAddress | null>({
    about: "what devices dial, where that is not the address listened on",
    fallback: "off",
    wanted: "ADDRESS:PORT or off",
    parse: (text) => text === "off" ? null : parseAddress(text),
  }),
  mqtt_url: setting<string | null>({
    about: "an MQTT server to meet devices on, in place of our own",
    fallback: "off",
    wanted: "mqtt://HOST:PORT/PREFIX or mqtts://HOST:PORT/PREFIX, or off",
    parse: (text) => text === "off" ? null : parseMqttUrl(text),
  }),
  mqtt_user: setting<string | null>({
    about: "the name to log in to that server with",
    fallback: "off",
    wanted: "a name, or off",
    parse: parseOptional,
  }),
  mqtt_password: setting<string>({
    about: "the password of that name",
    fallback: "",
    wanted: "a password",
    parse: (text) => text,
    isSecret: true,
  }),
  mqtt_ca: setting<string | null>({
    about: "the certificate file (PEM) of whoever signed that server's",
    fallback: "off",
    wanted: "a file, or off for those that the system trusts",
    parse: parseOptional,
  }),
  mqtt_cert: setting<string | null>({
    about: "the client certificate file (PEM) to show to that server",
    fallback: "off",
    wanted: "a file, or off",
    parse: parseOptional,
  }),
  mqtt_key: setting<string | null>({
    about: "the private key file (PEM) of the client certificate",
    fallback: "off",
    wanted: "a file, or off",
    parse: parseOptional,
  }),
  pairing: setting<PairingMode>({
    about: "code: devices are paired by remote_hsmd_mqtt pair; " +
      "first: the first device on this machine is the node's from then on; " +
      "open: any device serves, for tests only",
    fallback: "code",
    wanted: "code, first or open",
    parse: (text) => isPairingMode(text) ? text : undefined,
  }),
  token_window: setting<number>({
    about:
      "how far a login token's time may be off, in seconds; 0 takes any age",
    fallback: "300",
    wanted: "a whole number of seconds, 0 to 86400",
    parse: (text) => parseCount(text, 86_400),
  }),
  cln_version: setting<string | null>({
    about: "lightningd's version, where it cannot be found out",
    fallback: "auto",
    wanted: "a version such as v26.06.6, or auto",
    parse: (text) => text === "auto" ? null : parseVersion(text),
  }),
  log_level: setting<LogLevel>({
    about: "the least important lines that reach lightningd's log",
    fallback: "debug",
    wanted: LOG_LEVEL_NAMES.join(", "),
    parse: (text) => isLogLevel(text) ? text : undefined,
  }),
  handshake_rate: setting<number>({
    about: "handshakes of other nodes that the signer answers a second",
    fallback: "100",
    wanted: "a whole number, 1 to 1000",
    parse: (text) => parseCount(text, 1_000) || undefined,
  }),
  lss_url: setting<string | null>({
    about: "a Lightning Storage Server for the devices' state, in place of " +
      "the broker's own storage",
    fallback: "off",
    wanted: "http://ADDRESS:PORT or off",
    parse: (text) => text === "off" ? null : parseHttpUrl(text),
  }),
  http_listen: setting<ListenAddress | null>({
    about: "where the status page, its API and the metrics are",
    fallback: "off",
    wanted: "ADDRESS:PORT or off",
    parse: (text) => text === "off" ? null : parseAddress(text),
  }),
  http_token: setting<string>({
    about: "what a request to that address must carry; needed where it is " +
      "not on this machine",
    fallback: "",
    wanted: "at least 16 characters, or nothing",
    parse: (text) => text === "" || text.length >= 16 ? text : undefined,
    isSecret: true,
  }),
  bitcoind_url: setting<string | null>({
    about: "bitcoind, which shows the device the chain and what fees are",
    fallback: "off",
    wanted: "http://ADDRESS:PORT or off",
    parse: (text) => text === "off" ? null : parseHttpUrl(text),
  }),
  bitcoind_cookie: setting<string | null>({
    about: "the cookie file to log in to bitcoind with",
    fallback: "off",
    wanted: "the path of a file, or off",
    parse: (text) => text === "off" ? null : text || undefined,
  }),
  bitcoind_user: setting<string | null>({
    about: "the name to log in to bitcoind with, where there is no cookie",
    fallback: "off",
    wanted: "a name without a colon, or off",
    parse: (text) => text === "off" ? null : parseUser(text),
  }),
  bitcoind_password: setting<string>({
    about: "the password of that name",
    fallback: "",
    wanted: "a password",
    parse: (text) => text,
    isSecret: true,
  }),
} as const;

/** The name of a setting. */
export type SettingName = keyof typeof SETTINGS;

/** A value and where it came from. */
export interface Sourced<T> {
  readonly value: T;
  /** As it was written. */
  readonly text: string;
  /** `default`, a file's path, or an environment variable. */
  readonly source: string;
}

type ValueOf<S> = S extends Setting<infer T> ? T : never;

/** All settings, with their sources. */
export type Config = {
  readonly [K in SettingName]: Sourced<ValueOf<(typeof SETTINGS)[K]>>;
};

/** Text of a setting and its source, before anybody looked at it. */
export interface RawSetting {
  readonly text: string;
  readonly source: string;
}

/** Where settings can be written. */
export interface ConfigSources {
  /** Content of a file, or null when there is none. */
  readonly readFile: (path: string) => string | null;
  readonly environment: (name: string) => string | undefined;
}

/** Files that are looked at, the first that exists counts. */
export const CONFIG_FILES: readonly string[] = [
  "remote_hsmd.toml",
  "../remote_hsmd.toml",
];

/** The environment variable of a setting. */
export function environmentName(name: SettingName): string {
  return `REMOTE_HSMD_${name.toUpperCase()}`;
}

/** Names of all settings, in their order. */
export const SETTING_NAMES: readonly SettingName[] = [
  "mqtt_listen",
  "ws_listen",
  "tls_cert",
  "tls_key",
  "public_address",
  "mqtt_url",
  "mqtt_user",
  "mqtt_password",
  "mqtt_ca",
  "mqtt_cert",
  "mqtt_key",
  "pairing",
  "token_window",
  "cln_version",
  "log_level",
  "handshake_rate",
  "lss_url",
  "http_listen",
  "http_token",
  "bitcoind_url",
  "bitcoind_cookie",
  "bitcoind_user",
  "bitcoind_password",
];

/**
 * Reads all settings.
 *
 * @throws {ConfigError} for the first that cannot be used
 */
export function loadConfig(sources: ConfigSources): Config {
  const file = readFirstFile(sources);
  const raw = (name: SettingName): RawSetting => {
    const variable = environmentName(name);
    const text = sources.environment(variable);
    if (text !== undefined) return { text, source: variable };
    const written = file.get(name);
    return written ?? { text: SETTINGS[name].fallback, source: "default" };
  };
  const read = <T>(name: SettingName, row: Setting<T>): Sourced<T> => {
    const { text, source } = raw(name);
    const value = row.parse(text);
    if (value !== undefined) return { value, text, source };
    throw new ConfigError(name, source, showText(row, text), row.wanted);
  };
  return {
    mqtt_listen: read("mqtt_listen", SETTINGS.mqtt_listen),
    ws_listen: read("ws_listen", SETTINGS.ws_listen),
    tls_cert: read("tls_cert", SETTINGS.tls_cert),
    tls_key: read("tls_key", SETTINGS.tls_key),
    public_address: read("public_address", SETTINGS.public_address),
    mqtt_url: read("mqtt_url", SETTINGS.mqtt_url),
    mqtt_user: read("mqtt_user", SETTINGS.mqtt_user),
    mqtt_password: read("mqtt_password", SETTINGS.mqtt_password),
    mqtt_ca: read("mqtt_ca", SETTINGS.mqtt_ca),
    mqtt_cert: read("mqtt_cert", SETTINGS.mqtt_cert),
    mqtt_key: read("mqtt_key", SETTINGS.mqtt_key),
    pairing: read("pairing", SETTINGS.pairing),
    token_window: read("token_window", SETTINGS.token_window),
    cln_version: read("cln_version", SETTINGS.cln_version),
    log_level: read("log_level", SETTINGS.log_level),
    handshake_rate: read("handshake_rate", SETTINGS.handshake_rate),
    lss_url: read("lss_url", SETTINGS.lss_url),
    http_listen: read("http_listen", SETTINGS.http_listen),
    http_token: read("http_token", SETTINGS.http_token),
    bitcoind_url: read("bitcoind_url", SETTINGS.bitcoind_url),
    bitcoind_cookie: read("bitcoind_cookie", SETTINGS.bitcoind_cookie),
    bitcoind_user: read("bitcoind_user", SETTINGS.bitcoind_user),
    bitcoind_password: read("bitcoind_password", SETTINGS.bitcoind_password),
  };
}

/** A value as it may be shown. */
export function showText(
  { isSecret = false }: { readonly isSecret?: boolean },
  text: string,
): string {
  return isSecret && text !== "" ? "(not shown)" : JSON.stringify(text);
}

function readFirstFile(
  { readFile }: ConfigSources,
): ReadonlyMap<string, RawSetting> {
  for (const source of CONFIG_FILES) {
    const text = readFile(source);
    if (text === null) continue;
    return new Map(
      Object.entries(parseFile(text, source)).map(([name, value]) => [
        checkName(name, source),
        { text: String(value), source },
      ]),
    );
  }
  return new Map();
}

function parseFile(text: string, source: string): Record<string, unknown> {
  try {
    return parseToml(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [what = error.message] = error.message.split("\n");
    const found = `${what} in line ${error.line}`;
    throw new ConfigError("(any)", source, found, 'TOML: key = "value"');
  }
}

function checkName(name: string, source: string): SettingName {
  const known = SETTING_NAMES.find((candidate) => candidate === name);
  if (known !== undefined) return known;
  const wanted = `one of ${SETTING_NAMES.join(", ")}`;
  throw new ConfigError(name, source, "an unknown key", wanted);
}

function parseAddress(text: string): ListenAddress | undefined {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:[\]\s]+)):(\d{1,5})$/i.exec(text);
  const port = parseCount(match?.[3] ?? "", 65_535);
  const hostname = match?.[1] ?? match?.[2];
  if (hostname === undefined || port === undefined) return undefined;
  return { hostname, port };
}

function parseHttpUrl(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : null;
  const isHttp = url !== null && ["http:", "https:"].includes(url.protocol);
  // A password would end up in the log with the address.
  return isHttp && url.username === "" && url.password === ""
    ? text
    : undefined;
}

function parseMqttUrl(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !["mqtt:", "mqtts:"].includes(url.protocol)) {
    return undefined;
  }
  // A password would end up in the log with the address.
  const isPlain = url.username === "" && url.password === "" &&
    url.search === "" && url.hash === "" && url.hostname !== "";
  return isPlain ? text : undefined;
}

function parseOptional(text: string): string | null | undefined {
  return text === "off" ? null : text || undefined;
}

function isPairingMode(text: string): text is PairingMode {
  return ["code", "first", "open"].includes(text);
}

function parseUser(text: string): string | undefined {
  return text === "" || text.includes(":") ? undefined : text;
}

function parseCount(text: string, most: number): number | undefined {
  if (!/^\d+$/.test(text)) return undefined;
  const count = Number(text);
  return count <= most ? count : undefined;
}

/** A version as lightningd prints it; undefined for anything else. */
export function parseVersion(text: string): string | undefined {
  return /^v?\d[\w.+-]{0,100}$/.test(text) ? text : undefined;
}

function isLogLevel(text: string): text is LogLevel {
  return LOG_LEVEL_NAMES.includes(text);
}

/** An address as a person writes it. */
export function showAddress({ hostname, port }: ListenAddress): string {
  return hostname.includes(":")
    ? `[${hostname}]:${port}`
    : `${hostname}:${port}`;
}
