/**
 * The broker at work: puts lightningd's side, the MQTT side and the broker
 * between them together, and stays until lightningd leaves.
 *
 * @module
 */

import type net from "node:net";
import { Broker } from "../broker.ts";
import { type NodeSelf, openNodeSelf } from "../broker/node_self.ts";
import {
  FilePairingBook,
  OpenPairingBook,
  type PairingBook,
} from "../broker/pairing.ts";
import { type BitcoindLogin, ChainFollower } from "../chain.ts";
import { ConfigError, describeError, UsageError } from "../errors.ts";
import { type Handover, startHandover } from "../fdpass/spawn.ts";
import { EmbeddedServer, type ServerEvents } from "../mqtt/embedded.ts";
import {
  EXIT_FAILURE,
  openDescriptor,
  StatusStream,
  UnixFd,
} from "../unixfd.ts";
import { type Config, parseVersion, showAddress } from "./config.ts";
import {
  FOLDER,
  LINK_KEY_FILE,
  NODE_DATABASE,
  PAIRING_FILE,
} from "./folder.ts";
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
    return await serve({ config, isDeveloper, master, status });
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
}

async function serve(parts: Parts): Promise<number> {
  const { config, isDeveloper, master, status } = parts;
  await Deno.mkdir(FOLDER, { recursive: true, mode: 0o700 });
  const book = await openBook(config);
  const self = await openNodeSelf({
    keyFile: LINK_KEY_FILE,
    database: NODE_DATABASE,
  });
  await using handover = await startHelper();
  const { server, broker } = await openServer({
    config,
    isDeveloper,
    status,
    book,
    self,
  });
  const chain = followChain(config, status, broker);
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
    await chain?.stop();
    broker.close();
    await server[Symbol.asyncDispose]();
  }
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

async function openBook(config: Config): Promise<PairingBook> {
  return config.pairing.value === "open"
    ? new OpenPairingBook()
    : await FilePairingBook.open(PAIRING_FILE);
}

interface ServerParts extends Omit<Parts, "master"> {
  readonly book: PairingBook;
  readonly self: NodeSelf;
}

async function openServer(
  { config, isDeveloper, status, book, self }: ServerParts,
): Promise<{ server: EmbeddedServer; broker: Broker }> {
  // The server and the broker know each other; the broker comes second.
  let broker: Broker | null = null;
  let address = showAddress(config.mqtt_listen.value);
  const events: ServerEvents = {
    login: (attempt) =>
      broker?.login(attempt) ?? { refusal: "the broker is starting" },
    message: (session, name, payload) =>
      broker?.message(session, name, payload),
    gone: (session) => broker?.gone(session),
    refused: (from, reason) => broker?.refused(from, reason),
  };
  const server = await EmbeddedServer.start(events);
  broker = new Broker(server, {
    book,
    self,
    isDeveloper,
    log: (level, text, peer) => status.log(level, text, peer ?? null),
    tell,
    now: Date.now,
    tokenWindow: config.token_window.value,
    address: () => `mqtt://${address}`,
  });
  const bound = await server.listenTcp(config.mqtt_listen.value);
  address = showAddress(bound);
  status.log("info", `listening for devices on mqtt://${address}`);
  if (config.ws_listen.value !== null) {
    const ws = await server.listenWebSocket(config.ws_listen.value);
    status.log("info", `listening for devices on ws://${showAddress(ws)}`);
  }
  return { server, broker };
}

/** Emergency text: lightningd's standard error, which nobody parses. */
function tell(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`remote_hsmd: ${text}\n`));
}
