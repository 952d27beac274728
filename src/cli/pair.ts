/**
 * `remote_hsmd_mqtt pair`: shows the one string that a device needs, and says
 * what becomes of it.
 *
 * Works while the node runs and while it does not: the code is noted in a file
 * that the broker reads when a device shows it. The command follows that file
 * until the device is paired or ten minutes are over.
 *
 * A Sphinx signer has no use for a string: `--device` names its node id, and the
 * command says what to set on it.
 *
 * What it does not do: talk to a device.
 *
 * @module
 */

import { parseArgs } from "node:util";
import type { PairingBook } from "../broker/pairing.ts";
import { type NodeSelf, openNodeSelf } from "../broker/node_self.ts";
import {
  type CodeState,
  type PairingCode,
  type PairingCodes,
} from "../broker/pairing_codes.ts";
import { isPoint } from "../crypto/secp.ts";
import { Secret } from "../crypto/secret.ts";
import { describeError, UsageError } from "../errors.ts";
import { pairingFingerprint } from "../mqtt/fingerprint.ts";
import { formatPairingString } from "../mqtt/pairing_string.ts";
import { type Dial, dialOf } from "./dial.ts";
import { LINK_KEY_FILE, NODE_DATABASE } from "./folder.ts";
import {
  checkNodeFolder,
  networkNamed,
  openPairingFiles,
  type PairingFiles,
  readListening,
} from "./pairing_files.ts";
import { qrLines } from "./qr.ts";
import { readConfig } from "./sources.ts";
import { say } from "./terminal.ts";

const CODE_SIZE = 16;
/** Exit codes. */
const PAIRED = 0;
const EXPIRED = 1;
const INTERRUPTED = 130;

/** Runs `pair`; returns the exit code. */
export async function pair(args: readonly string[]): Promise<number> {
  const { device, network, isPatient } = readOptions(args);
  checkNodeFolder();
  const config = readConfig();
  const dial = dialOf(config, readListening());
  const files = await openPairingFiles();
  const places = { keyFile: LINK_KEY_FILE, database: NODE_DATABASE };
  const self = await openNodeSelf(places);
  if (device !== undefined) return await pairSphinx(device, dial, files, self);
  if (config.pairing.value === "open") {
    throw new UsageError(
      "Cannot pair: pairing is open, which serves any device, want code",
    );
  }
  const code = crypto.getRandomValues(new Uint8Array(CODE_SIZE));
  const text = formatPairingString({
    ...dial,
    network: networkNamed(network),
    brokerKey: self.linkKey,
    code: new Secret(code),
  });
  return await follow(files.codes, code, self, isPatient, (made) => {
    showString(text, made, dial);
  });
}

interface PairOptions {
  readonly device: string | undefined;
  readonly network: string | undefined;
  readonly isPatient: boolean;
}

function readOptions(args: readonly string[]): PairOptions {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        device: { type: "string" },
        network: { type: "string" },
        "no-wait": { type: "boolean", default: false },
      },
    });
    const { device, network } = values;
    return { device, network, isPatient: !values["no-wait"] };
  } catch (cause) {
    throw new UsageError(
      `Cannot read the command line: ${describeError(cause)}`,
      { cause },
    );
  }
}

/** Notes the code, shows the string, and says what comes of it. */
async function follow(
  codes: PairingCodes,
  code: Uint8Array,
  { linkKey }: NodeSelf,
  isPatient: boolean,
  show: (made: PairingCode) => void,
): Promise<number> {
  const ended = Promise.withResolvers<number>();
  let hash = "";
  let last: CodeState["kind"] = "open";
  const look = () => {
    const state = codes.find(hash)?.state;
    if (state === undefined) return;
    say(pairingNews(last, state, linkKey));
    if (state.kind === "paired") ended.resolve(PAIRED);
    last = state.kind;
  };
  const watcher = isPatient ? codes.watch(look) : null;
  // Before there is a code that Ctrl-C would have to take back.
  const onSignal = () => ended.resolve(INTERRUPTED);
  if (isPatient) Deno.addSignalListener("SIGINT", onSignal);
  const made = await codes.make(code);
  hash = made.hash;
  show(made);
  if (watcher === null) return PAIRED;
  say("Waiting for the device. Ctrl-C ends this, and the string with it.\n");
  look();
  const timer = setTimeout(
    () => ended.resolve(EXPIRED),
    made.expiresAt - Date.now(),
  );
  const exit = await ended.promise;
  clearTimeout(timer);
  Deno.removeSignalListener("SIGINT", onSignal);
  watcher.close();
  if (exit === PAIRED) return exit;
  await codes.forget(hash);
  say(
    exit === EXPIRED
      ? "The string has expired, and nothing was paired.\n"
      : "\nStopped: the string is of no use any more.\n",
  );
  return exit;
}

/**
 * What is new about a code that was open, asked for or paired before, in lines.
 * The file may be looked at more often than it says something else.
 */
export function pairingNews(
  before: CodeState["kind"],
  state: CodeState,
  linkKey: Uint8Array,
): string {
  if (state.kind === before || state.kind === "open") return "";
  const { cid } = state.by;
  const asked = before !== "open"
    ? ""
    : `Device ${cid} asks to be paired: fingerprint ` +
      `${pairingFingerprint(linkKey, cid)}, the same on the device's screen.\n`;
  const paired = state.kind === "paired" ? `Paired with device ${cid}.\n` : "";
  return asked + paired;
}

function showString(text: string, made: PairingCode, dial: Dial): void {
  const hasColour = Deno.stdout.isTerminal();
  const until = new Date(made.expiresAt).toTimeString().slice(0, 5);
  say([
    ...qrLines(text, { hasColour }),
    `Type this on the device; it is good once, until ${until}:`,
    "",
    `  softkey pair '${text}'`,
    "",
    ...(dial.isNearby ? [nearbyNote(dial)] : []),
    "",
  ].join("\n"));
}

function nearbyNote({ url }: Dial): string {
  return `Only a device on this machine reaches ${url}: for another one set ` +
    "mqtt_listen, and public_address.";
}

/** A Sphinx signer is let in by its node id; it takes no string. */
async function pairSphinx(
  text: string,
  dial: Dial,
  { book, devices }: PairingFiles,
  self: NodeSelf,
): Promise<number> {
  const nodeKey = text.toLowerCase();
  const isKey = /^[0-9a-f]{66}$/.test(nodeKey) &&
    isPoint(Uint8Array.fromHex(nodeKey));
  if (!isKey) {
    throw new UsageError(
      `Cannot use --device ${JSON.stringify(text)}: want the signer's node ` +
        "id, 66 hex characters",
    );
  }
  checkSameNode(nodeKey, book, self);
  await devices.add({ kind: "sphinx", nodeKey, pairedAt: Date.now() });
  const { host } = new URL(dial.url);
  say([
    `Paired with the Sphinx signer ${nodeKey}.`,
    "",
    `Set on the signer:  broker ${host}`,
    ...(dial.isNearby ? [nearbyNote(dial)] : []),
    "What it says is not sealed, unlike a softkey's: use a network of your own.",
    "",
  ].join("\n"));
  return PAIRED;
}

function checkSameNode(
  nodeKey: string,
  { current }: PairingBook,
  { nodeId }: NodeSelf,
): void {
  const own = current?.identity.nodeId ?? nodeId;
  if (own === null || own.toHex() === nodeKey) return;
  throw new UsageError(
    `Cannot pair with ${nodeKey}: this node is ${own.toHex()}, want a signer ` +
      "with that node id",
  );
}
