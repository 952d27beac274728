/**
 * The broker at work: puts lightningd's side, the MQTT side and the broker
 * between them together, and stays until lightningd leaves.
 *
 * @module
 */

import type net from "node:net";
import type { Broker, BrokerOptions } from "../broker.ts";
import { ActiveBook } from "../broker/active.ts";
import { DeviceBook } from "../broker/devices.ts";
import { openNodeSelf } from "../broker/node_self.ts";
import { OpenPairingBook } from "../broker/pairing.ts";
import { PairingCodes } from "../broker/pairing_codes.ts";
import { PairingDesk } from "../broker/pairing_desk.ts";
import type { Storage } from "../broker/storage.ts";
import { measureStorage } from "../broker/storage_metrics.ts";
import { type BitcoindLogin, ChainFollower } from "../chain.ts";
import { ConfigError, describeError, UsageError } from "../errors.ts";
import { Metrics } from "../metrics/metrics.ts";
import { type Handover, startHandover } from "../fdpass/spawn.ts";
import {
  EXIT_FAILURE,
  openDescriptor,
  StatusStream,
  UnixFd,
} from "../unixfd.ts";
import { chainNewsFor } from "./chain_news.ts";
import { type Config, parseVersion } from "./config.ts";
import {
  ACTIVE_FILE,
  FOLDER,
  LINK_KEY_FILE,
  NODE_DATABASE,
  STORAGE_FILE,
  STORAGE_KEY_FILE,
} from "./folder.ts";
import { startHttp } from "./http.ts";
import { openMeeting } from "./meeting.ts";
import { openPairingFiles, type PairingFiles } from "./pairing_files.ts";
import { SOCKET_FILE } from "./socket.ts";
import { readConfig } from "./sources.ts";

/** Signals that a terminal or a service manager sends to the whole group. */
const GROUP_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Serves lightningd on fd 0 and fd 3; returns the exit code. */
export async function runDaemon(
  { isDeveloper }: { readonly isDeveloper: boolean },
): Promise<number> {
  const master = openMaster();
  // lightningd ends us by closing fd 3. Until then it needs us, whatever
  // signals the group gets: an hsmd that ends early takes the node with it.
  for (const signal of GROUP_SIGNALS) {
    Deno.addSignalListener(signal, () => {});
  }
  const config = readConfig();
  const socket = openDescriptor(0, { isWriteOnly: true });
  const status = new StatusStream(socket, config.log_level.value);
  const version = parseVersion(Deno.env.get("LIGHTNINGD_VERSION") ?? "");
  if (version !== undefined) status.version(version);
  try {
    return await serve({ config, isDeveloper, master, status, version });
  } catch (error) {
    tell(describeError(error));
    await status.fail("internalError", describeError(error));
    return EXIT_FAILURE;
  }
}

interface Parts {
  readonly config: Config;
  readonly isDeveloper: boolean;
  readonly master: net.Socket;
  readonly status: StatusStream;
  /** lightningd's, where it is known. */
  readonly version: string | undefined;
}

async function serve(parts: Parts): Promise<number> {
  const { config, status, master } = parts;
  await Deno.mkdir(FOLDER, { recursive: true, mode: 0o700 });
  const self = await openNodeSelf({
    keyFile: LINK_KEY_FILE,
    database: NODE_DATABASE,
  });
  const books = await openBooks(config);
  await using handover = await startHelper();
  const metrics = new Metrics();
  const storage = measureStorage(await openStorage(config), metrics);
  const meeting = await openMeeting({
    config,
    self,
    devices: books.devices,
    log: (level, text) => status.log(level, text),
    broker: { ...brokerParts(parts, books), self, storage, metrics },
  });
  const { broker } = meeting;
  const http = await startHttp({
    face: broker,
    socketPath: SOCKET_FILE,
    listen: config.http_listen.value,
    token: config.http_token.value,
    log: (level, text) => status.log(level, text),
  });
  const chain = followChain(config, status, broker);
  const watch = books.watch(() => meeting.changed());
  try {
    const lightningd = new UnixFd({
      master,
      status,
      handover,
      answer: (request) => broker.ask(request),
    });
    const { code } = await lightningd.ending;
    return code;
  } finally {
    watch.close();
    await chain?.stop();
    await http.close();
    await meeting.close();
    storage.close();
  }
}

/** What the broker remembers, as the setting `pairing` says. */
async function openBooks(config: Config): Promise<Books> {
  const isOpen = config.pairing.value === "open";
  if (isOpen) {
    return {
      book: new OpenPairingBook(),
      devices: DeviceBook.inMemory(),
      codes: PairingCodes.inMemory(Date.now),
      active: ActiveBook.inMemory(),
      watch: () => ({ close: () => {} }),
    };
  }
  const files = await openPairingFiles();
  return {
    ...files,
    active: await ActiveBook.open(ACTIVE_FILE),
    watch: (changed) => files.devices.watch(changed),
  };
}

interface Books extends PairingFiles {
  readonly active: ActiveBook;
  /** Calls when a command changed which devices are paired. */
  readonly watch: (changed: () => void) => { close(): void };
}

function brokerParts(
  { config, isDeveloper, status, version }: Parts,
  { book, devices, codes, active }: Books,
): Omit<BrokerOptions, "address" | "self" | "storage"> {
  const now = Date.now;
  const desk = new PairingDesk({
    mode: config.pairing.value,
    book,
    devices,
    codes,
    now,
    problem: (text) => status.log("unusual", text),
  });
  return {
    book,
    desk,
    active,
    isDeveloper,
    ...(version === undefined ? {} : { lightningd: version }),
    pairing: config.pairing.value,
    tokenWindow: config.token_window.value,
    handshakeRate: config.handshake_rate.value,
    log: (level, text, peer) => status.log(level, text, peer),
    tell,
    now,
  };
}

/** Where the state of shared devices is. */
async function openStorage({ lss_url }: Config): Promise<Storage> {
  if (lss_url.value === null) {
    const { openSqliteStorage } = await import("../broker/storage/sqlite.ts");
    return openSqliteStorage({
      database: STORAGE_FILE,
      keyFile: STORAGE_KEY_FILE,
    });
  }
  const { connectGrpcStorage } = await import("../broker/storage/grpc.ts");
  return connectGrpcStorage(lss_url.value);
}

function openMaster(): net.Socket {
  try {
    return openDescriptor(3);
  } catch (cause) {
    throw new UsageError(
      "No lightningd on fd 3: it starts this program itself, try --help",
      { cause },
    );
  }
}

/** Follows bitcoind, where one is named; nothing waits for it. */
function followChain(
  config: Config,
  status: StatusStream,
  broker: Broker,
): ChainFollower | null {
  const url = config.bitcoind_url.value;
  if (url === null) return null;
  return new ChainFollower({
    bitcoind: { url, login: loginOf(config) },
    network: broker.network,
    devices: broker.chain,
    news: chainNewsFor(broker, Date.now),
    feeReference: (reference) => broker.takeFeeReference(reference),
    log: (level, text) => status.log(level, text),
    now: Date.now,
  });
}

function loginOf(config: Config): BitcoindLogin {
  const { bitcoind_cookie, bitcoind_user, bitcoind_password } = config;
  if (bitcoind_cookie.value !== null) {
    return { kind: "cookie", path: bitcoind_cookie.value };
  }
  if (bitcoind_user.value === null) {
    throw new ConfigError(
      "bitcoind_url",
      config.bitcoind_url.source,
      "no login",
      "bitcoind_cookie or bitcoind_user as well",
    );
  }
  const password = bitcoind_password.value;
  return { kind: "password", user: bitcoind_user.value, password };
}

/** Starts the helper; nothing else is ever started, so the right is given up. */
async function startHelper(): Promise<Handover> {
  const directories = [
    FOLDER,
    Deno.env.get("XDG_RUNTIME_DIR"),
    "/dev/shm",
    "/tmp",
  ];
  const handover = await startHandover({
    directories: directories.filter((path) => path !== undefined),
  });
  await Deno.permissions.revoke({ name: "run" });
  return handover;
}

/** Emergency text: lightningd's standard error, which nobody parses. */
function tell(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`remote_hsmd: ${text}\n`));
}
