/**
 * Where the broker meets devices: our own MQTT server, or one that is there
 * already, and the seal that goes through either.
 *
 *     broker  <->  SealedSessions  <->  EmbeddedServer | ExternalServer
 *
 * What it does not do: decide who is served.
 *
 * @module
 */

import { Broker, type BrokerOptions } from "../broker.ts";
import type { DeviceBook } from "../broker/devices.ts";
import type { OwnNodeSelf } from "../broker/node_self.ts";
import { replaceFile } from "../broker/replace_file.ts";
import { Secret } from "../crypto/secret.ts";
import { ConfigError, describeError } from "../errors.ts";
import type { Metrics } from "../metrics/metrics.ts";
import {
  accessProblem,
  type ServerAccess,
  unusedWithoutTls,
} from "../mqtt/access.ts";
import { EmbeddedServer, type ServerEvents } from "../mqtt/embedded.ts";
import { ExternalServer } from "../mqtt/external.ts";
import { type SealCount, SealedSessions } from "../mqtt/sealed_sessions.ts";
import type { DeviceLink, LinkListener } from "../mqtt/session.ts";
import {
  ownCertificate,
  readCertificate,
  type ServerCertificate,
} from "../mqtt/tls.ts";
import type { LogLevel } from "../wire/status.ts";
import { type Config, showAddress } from "./config.ts";
import { FOLDER } from "./folder.ts";
import { isLoopbackName } from "./http/gate.ts";
import { LISTENING_FILE } from "./pairing_files.ts";

/** What a meeting place is made of. */
export interface MeetingOptions {
  readonly config: Config;
  readonly self: OwnNodeSelf;
  readonly devices: DeviceBook;
  readonly log: (level: LogLevel, text: string) => void;
  /** What the broker is made of, besides where it meets devices. */
  readonly broker: Omit<BrokerOptions, "address">;
}

/** A broker that devices can reach. */
export interface Meeting {
  readonly broker: Broker;
  /** Other devices are paired now. */
  changed(): void;
  close(): Promise<void>;
}

/** Something that carries messages, and can be closed. */
type Server = DeviceLink & AsyncDisposable;

/** Where devices dial, once that is known. */
interface Place {
  address: string;
}

/**
 * Opens it.
 *
 * @throws {ConfigError} for an address, a certificate or a server that cannot be
 */
export async function openMeeting(options: MeetingOptions): Promise<Meeting> {
  const { config, self } = options;
  checkPairing(config);
  const place: Place = {
    address: config.mqtt_url.value ?? showAddress(config.mqtt_listen.value),
  };
  // Each knows the next only once that is there.
  let sealed: SealedSessions | null = null;
  let broker: Broker | null = null;
  const events: ServerEvents = {
    login(attempt) {
      const login = broker?.login(attempt) ??
        { refusal: "the broker is starting" };
      // A token can be replayed: it earns a stranger's packets and no more.
      return "key" in login ? { ...login, isPending: true } : login;
    },
    message: (...args) => sealed?.message(...args),
    gone: (session) => sealed?.gone(session),
    refused: (from, reason) => sealed?.refused(from, reason),
  };
  const listener: LinkListener = {
    message: (...args) => broker?.message(...args),
    gone: (session) => broker?.gone(session),
    refused: (from, reason) => broker?.refused(from, reason),
  };
  const server = await makeServer(options, events);
  sealed = new SealedSessions({
    link: server,
    listener,
    key: self.privateKey,
    isShared: config.mqtt_url.value !== null,
    random: (length) => crypto.getRandomValues(new Uint8Array(length)),
    count: (what) => countSeal(options.broker.metrics, what),
  });
  const met = { ...options.broker, address: () => place.address };
  broker = new Broker(sealed, met);
  const [opened, closing, seal] = [broker, server, sealed];
  await begin(options, server, place);
  return {
    broker: opened,
    changed() {
      opened.dropUnpaired();
      greet(options, closing);
    },
    async close() {
      opened.close();
      seal[Symbol.dispose]();
      await closing[Symbol.asyncDispose]();
    },
  };
}

/** Puts what the seal tells into the figures. */
export function countSeal(metrics: Metrics | undefined, what: SealCount): void {
  const handshakes = "remote_hsmd_seal_handshakes_total";
  switch (what) {
    case "handshake ok":
      return metrics?.add(handshakes, ["ok"]);
    case "handshake failed":
      return metrics?.add(handshakes, ["failed"]);
    case "record refused":
      return metrics?.add("remote_hsmd_records_refused_total", []);
  }
}

/** First come, first served is for one machine. */
function checkPairing({ pairing, mqtt_listen, ws_listen, mqtt_url }: Config) {
  if (pairing.value !== "first") return;
  const wanted = "code, or listeners on this machine alone (127.0.0.1)";
  const refuse = (found: string): never => {
    throw new ConfigError("pairing", pairing.source, found, wanted);
  };
  if (mqtt_url.value !== null) refuse(`first, with mqtt_url`);
  for (const { value, text } of [mqtt_listen, ws_listen]) {
    if (value === null || isLoopbackName(value.hostname)) continue;
    refuse(`first, with a listener on ${text}`);
  }
}

async function makeServer(
  { config, self, log }: MeetingOptions,
  events: ServerEvents,
): Promise<Server> {
  const url = config.mqtt_url.value;
  if (url === null) return await EmbeddedServer.start(events);
  return new ExternalServer({
    url,
    access: await accessOf(config, url),
    linkKey: self.linkKey,
    listener: events,
    connected: () => log("info", `meeting devices on ${url}`),
    disconnected: (reason) =>
      log("unusual", `no connection to ${url}: ${reason}`),
    random: Math.random,
  });
}

/** Opens listeners, or connects. */
async function begin(
  { config, devices, log }: MeetingOptions,
  server: Server,
  place: Place,
): Promise<void> {
  if (server instanceof ExternalServer) {
    greet({ devices }, server);
    return server.start();
  }
  if (!(server instanceof EmbeddedServer)) return;
  const certificate = await certificateOf(config);
  const bound = await server.listenTcp(config.mqtt_listen.value, certificate);
  place.address = showAddress(bound);
  const s = certificate === null ? "" : "s";
  log("info", `listening for devices on mqtt${s}://${place.address}`);
  if (config.ws_listen.value !== null) {
    const ws = await server.listenWebSocket(
      config.ws_listen.value,
      certificate,
    );
    log("info", `listening for devices on ws${s}://${showAddress(ws)}`);
  }
  await noteListening(place.address, certificate);
}

/** On a server that is not ours nobody notices that we were away. */
function greet(
  { devices }: Pick<MeetingOptions, "devices">,
  server: Server,
): void {
  if (server instanceof ExternalServer) server.greet(cidsOf(devices));
}

function cidsOf(devices: DeviceBook): readonly string[] {
  return devices.devices.flatMap((device) =>
    device.kind === "native" && device.cid !== "" ? [device.cid] : []
  );
}

/** For `pair`, which runs beside us. */
async function noteListening(
  mqtt: string,
  certificate: ServerCertificate | null,
): Promise<void> {
  const certHash = certificate?.isSelfSigned ? certificate.hash.toHex() : null;
  const record = JSON.stringify({ mqtt, certHash }) + "\n";
  await replaceFile(LISTENING_FILE, new TextEncoder().encode(record));
}

async function certificateOf(
  { tls_cert, tls_key, mqtt_listen, ws_listen, public_address }: Config,
): Promise<ServerCertificate | null> {
  if (tls_cert.value === null) return null;
  if (tls_cert.value === "self-signed") {
    const hosts = [mqtt_listen, ws_listen, public_address]
      .flatMap(({ value }) => value === null ? [] : [value.hostname]);
    const write = (path: string, content: Uint8Array) =>
      replaceFile(path, Uint8Array.from(content));
    const now = Date.now();
    return await ownCertificate({ folder: FOLDER, hosts, write, now });
  }
  if (tls_key.value === null) {
    throw new ConfigError(
      "tls_key",
      tls_key.source,
      "off",
      "the key of the certificate in tls_cert",
    );
  }
  const [certFile, keyFile] = [tls_cert.value, tls_key.value];
  return await readCertificate({ certFile, keyFile });
}

/** What the server of mqtt_url wants to see. @throws {ConfigError} */
export async function accessOf(
  config: Config,
  url: string,
): Promise<ServerAccess> {
  const { mqtt_user, mqtt_password } = config;
  const utf8 = new TextEncoder();
  const [ca, cert, key] = await Promise.all([
    readPem(config, "mqtt_ca"),
    readPem(config, "mqtt_cert"),
    readPem(config, "mqtt_key"),
  ]);
  const access: ServerAccess = {
    ...(mqtt_user.value === null ? {} : {
      user: mqtt_user.value,
      password: new Secret(utf8.encode(mqtt_password.value)),
    }),
    ...(ca === null ? {} : { ca }),
    ...(cert === null ? {} : { cert }),
    ...(key === null ? {} : { key: new Secret(utf8.encode(key)) }),
  };
  checkUnderTls(config, url, access);
  const problem = accessProblem(access);
  if (problem === null) return access;
  const name = `mqtt_${problem.of}` as const;
  const wanted = "PEM files that belong together";
  throw new ConfigError(name, config[name].source, problem.found, wanted);
}

/** Who sets a certificate means it to be used. */
function checkUnderTls(config: Config, url: string, access: ServerAccess) {
  const unused = unusedWithoutTls(url, access);
  if (unused === null || unused === "certHash") return;
  const name = `mqtt_${unused}` as const;
  throw new ConfigError(
    name,
    config[name].source,
    "a file for TLS, with an mqtt_url that is not under TLS",
    "an mqtt_url that begins with mqtts or wss",
  );
}

async function readPem(
  config: Config,
  name: "mqtt_ca" | "mqtt_cert" | "mqtt_key",
): Promise<string | null> {
  const path = config[name].value;
  if (path === null) return null;
  try {
    return await Deno.readTextFile(path);
  } catch (cause) {
    const source = config[name].source;
    throw new ConfigError(
      name,
      source,
      `${path}: ${describeError(cause)}`,
      "a readable file",
    );
  }
}
