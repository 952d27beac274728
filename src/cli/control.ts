/**
 * `remote_hsmd_mqtt control`: signed messages of its owner to a device.
 *
 *     control [WHICH KEY] [--device CID] [--json] COMMAND…
 *     control --hex ENVELOPE [--device CID] [--json]
 *
 * | which key | |
 * | --- | --- |
 * | --key FILE | 64 hex characters: a softkey's control key (softkey control-key) |
 * | --words | the 12 words of a Sphinx signer, typed; its node key is made of them |
 * | --hex ENVELOPE | none: it was signed elsewhere |
 *
 * It asks for the last number, signs under the next, and passes it to the broker
 * that runs in this folder. A key is safest where the node is not: --url
 * http://HOST:PORT (the broker's `http_listen`) and --token-file FILE do the same
 * over the network, and nothing but signed messages and the token leaves this machine.
 *
 * The device that is meant is the active one, unless --device names another. What
 * it answers comes by way of the node: who runs the node can tell you something
 * else. `softkey policy show` at the device is the last word.
 *
 * Words of a Sphinx signer: sphinx-rs signer/src/derive.rs (16 bytes, BIP 39 with
 * no passphrase, the first 32 bytes of the seed, CLN's node key).
 *
 * Exit codes: 0 done, 1 the device or the broker refuses, 2 usage.
 *
 * What it does not do: take a key from an argument or the environment.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { isPrivateKey } from "../crypto/secp.ts";
import { Secret } from "../crypto/secret.ts";
import { describeError, UsageError } from "../errors.ts";
import { openTypedWords, SecretFileError } from "../keyderiv.ts";
import { deriveNodeKeys } from "../keyderiv/node.ts";
import {
  type ControlResponse,
  formatControlResponse,
} from "../wire/control_message.ts";
import { describeAnswer } from "./control/answer_text.ts";
import {
  CONTROL_USAGE,
  type ControlCommand,
  parseControlCommand,
} from "./control/commands.ts";
import {
  ControlRefusal,
  ControlSession,
  readAnswer,
  type SendControl,
} from "./control/session.ts";
import { askBroker, type BrokerReply } from "./socket.ts";
import { askHidden, say } from "./terminal.ts";

/** What the world gives a command; tests give something else. */
export interface ControlWorld {
  /** Asks the broker one thing. */
  readonly ask: AskBroker;
  readonly askHidden: (question: string) => Promise<string>;
  readonly print: (text: string) => void;
  readonly printError: (text: string) => void;
}

/** Asks a broker one thing; the way to it is the asker's. */
export type AskBroker = (
  method: "GET" | "POST",
  path: string,
  body?: string,
) => Promise<BrokerReply>;

const REAL_WORLD: ControlWorld = {
  ask: askBroker,
  askHidden,
  print: (text) => say(`${text}\n`),
  printError: (text) =>
    Deno.stderr.writeSync(new TextEncoder().encode(`remote_hsmd: ${text}\n`)),
};

const OPTIONS = {
  device: { type: "string" },
  key: { type: "string" },
  words: { type: "boolean", default: false },
  hex: { type: "string" },
  url: { type: "string" },
  "token-file": { type: "string" },
  json: { type: "boolean", default: false },
  yes: { type: "boolean", default: false },
} as const;

type Options = ReturnType<typeof readArguments>["values"];

const USAGE = `control [--key FILE | --words] COMMAND…, or --hex ENVELOPE; ` +
  `a COMMAND is ${CONTROL_USAGE.join(", or ")}`;

/** Runs `control`; returns the exit code. @throws {UsageError} */
export async function control(
  args: readonly string[],
  world: ControlWorld = REAL_WORLD,
): Promise<number> {
  const { values, positionals } = readArguments(args);
  try {
    const answer = values.hex === undefined
      ? await runCommand(values, positionals, world)
      : await sendSigned(values.hex, values, positionals, world);
    return report(answer, values, world);
  } catch (error) {
    if (!(error instanceof ControlRefusal)) throw error;
    world.printError(error.message);
    return 1;
  }
}

function readArguments(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: OPTIONS,
    });
  } catch (cause) {
    const text = `Cannot read the command line: ${describeError(cause)}`;
    throw new UsageError(text, { cause });
  }
}

function report(
  answer: ControlResponse,
  { json }: Options,
  { print, printError }: ControlWorld,
): number {
  const isRefused = answer.kind === "Error";
  if (json) print(formatControlResponse(answer));
  else {for (const line of describeAnswer(answer)) {
      (isRefused ? printError : print)(line);
    }}
  return isRefused ? 1 : 0;
}

async function runCommand(
  values: Options,
  words: readonly string[],
  world: ControlWorld,
): Promise<ControlResponse> {
  if (words.length === 0) {
    throw new UsageError(`Missing command: want ${USAGE}`);
  }
  const command: ControlCommand = parseControlCommand(words, values.yes);
  const key = await readKey(values, world);
  try {
    const send = await senderTo(values, world);
    return await command(new ControlSession(key, send));
  } finally {
    key.wipe();
  }
}

async function sendSigned(
  hex: string,
  values: Options,
  words: readonly string[],
  world: ControlWorld,
): Promise<ControlResponse> {
  const isAlone = words.length === 0 && values.key === undefined &&
    !values.words;
  if (!isAlone || !/^([0-9a-f]{2})+$/i.test(hex)) {
    throw new UsageError(
      "Cannot send --hex: want one envelope in hex, and neither key nor command",
    );
  }
  const send = await senderTo(values, world);
  return readAnswer(await send(Uint8Array.fromHex(hex)));
}

// ------------------------------------------------------------------------ key

async function readKey(
  { key: path, words }: Options,
  { askHidden }: ControlWorld,
): Promise<Secret> {
  if ((path === undefined) !== words) {
    throw new UsageError("Cannot sign: want one of --key FILE and --words");
  }
  return path === undefined
    ? keyOfWords(await askHidden("The 12 words of the signer: "))
    : await keyInFile(path);
}

async function keyInFile(path: string): Promise<Secret> {
  const text = await readText(path, "--key");
  const bytes = /^[0-9a-f]{64}$/i.test(text) ? Uint8Array.fromHex(text) : null;
  if (bytes === null || !isPrivateKey(bytes)) {
    throw new UsageError(
      `Cannot use --key ${path}: want a file of 64 hex characters, as softkey ` +
        "control-key writes it",
    );
  }
  const key = new Secret(bytes);
  bytes.fill(0);
  return key;
}

async function readText(path: string, option: string): Promise<string> {
  try {
    return (await Deno.readTextFile(path)).trim();
  } catch (cause) {
    const why = describeError(cause);
    throw new UsageError(`Cannot read ${option} ${path}: ${why}`, { cause });
  }
}

const SPHINX_WORDS = 12;
const SPHINX_SEED = 32;

/** The text is never part of an error: it may be right but for a word. */
function keyOfWords(typed: string): Secret {
  const words = typed.trim().toLowerCase().split(/\s+/);
  try {
    if (words.length !== SPHINX_WORDS) {
      throw new SecretFileError("invalidMnemonic");
    }
    const { seed } = openTypedWords(words.join(" "), new Uint8Array());
    const first = new Secret(seed.reveal().subarray(0, SPHINX_SEED));
    return deriveNodeKeys({ kind: "plain", seed: first }).node.secret;
  } catch (cause) {
    if (!(cause instanceof SecretFileError)) throw cause;
    throw new UsageError(
      `Cannot use the words: want ${SPHINX_WORDS} with a right checksum`,
    );
  }
}

// ------------------------------------------------------------------ transport

const LONGEST_IN_QUERY = 4096;

/** The way to the device that is meant. */
async function senderTo(
  values: Options,
  world: ControlWorld,
): Promise<SendControl> {
  const ask = values.url === undefined
    ? world.ask
    : await askerOver(values.url, values["token-file"]);
  const cid = values.device ?? await findActive(ask);
  return async (envelope) => {
    const msg = envelope.toHex();
    // As Sphinx brokers want it; a long one has no place in an address.
    const isShort = msg.length <= LONGEST_IN_QUERY;
    const query = new URLSearchParams(isShort ? { cid, msg } : { cid });
    const path = `/api/control?${query}`;
    const { status, body } = await ask("POST", path, isShort ? "" : msg);
    const hex = body.trim();
    if (status === 200 && /^([0-9a-f]{2})+$/i.test(hex)) {
      return Uint8Array.fromHex(hex);
    }
    throw refusalOf(status, hex);
  };
}

function refusalOf(status: number, body: string): ControlRefusal {
  const text = body.replace(/[^\x20-\x7e]/g, "?").slice(0, 500);
  return new ControlRefusal(`The broker answers ${status}: ${text}`);
}

/** The device that serves the node now. */
async function findActive(ask: AskBroker): Promise<string> {
  const { status, body } = await ask("GET", "/api/clients");
  if (status !== 200) throw refusalOf(status, body);
  const current = currentOf(body);
  if (current !== null) return current;
  throw new ControlRefusal(
    "No device is active: want --device CID of one that is connected",
  );
}

function currentOf(json: string): string | null {
  try {
    const value: unknown = JSON.parse(json);
    const current = typeof value === "object" && value !== null &&
      "current" in value && value.current;
    return typeof current === "string" ? current : null;
  } catch (_error) {
    return null;
  }
}

async function askerOver(
  url: string,
  tokenFile: string | undefined,
): Promise<AskBroker> {
  const base = URL.canParse(url) ? new URL(url) : null;
  if (base === null || !["http:", "https:"].includes(base.protocol)) {
    throw new UsageError(
      `Cannot use --url ${JSON.stringify(url)}: want http://HOST:PORT`,
    );
  }
  const headers: Record<string, string> = tokenFile === undefined ? {} : {
    authorization: `Bearer ${await readText(tokenFile, "--token-file")}`,
  };
  return async (method, path, body) => {
    const target = new URL(path, base);
    const sent = body === undefined ? {} : { body };
    try {
      // The token is for this broker alone.
      const init = { method, headers, redirect: "error", ...sent } as const;
      const response = await fetch(target, init);
      return { status: response.status, body: await response.text() };
    } catch (cause) {
      const text = `Cannot ask the broker at ${base.origin}: ` +
        describeError(cause);
      throw new UsageError(text, { cause });
    }
  };
}
