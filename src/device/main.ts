/**
 * `softkey`: the signer device in software, a program of its own.
 *
 * It holds the seed and signs; the node's program never contains it.
 *
 *     softkey run --broker mqtt://HOST:PORT --card DIR --network NET
 *                 [--hsm-secret FILE] [--yes]
 *
 * Exit codes: 0 stopped by a signal, 2 usage or a file that cannot be used, 70 a
 * bug of ours.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { isNetworkName, NETWORKS } from "../bitcoin/networks.ts";
import { publicKey } from "../crypto/secp.ts";
import { Secret } from "../crypto/secret.ts";
import { ConfigError, describeError, UsageError } from "../errors.ts";
import { makeSecretFile } from "../keyderiv.ts";
import { createSigner, nodeKeyOf, type SignerState } from "../signer/handle.ts";
import { Box } from "./box.ts";
import {
  type Card,
  openCard,
  randomBytes,
  readCardSecret,
  writeCardSecret,
} from "./card.ts";

/** Bumped with deno.json; the broker shows it. */
const SOFTWARE = "softkey 0.1.0";

const HELP = `softkey: a signer device for a Core Lightning node, in software.

  softkey run --broker URL --card DIR --network NET [--hsm-secret FILE] [--yes]

  --broker URL       where the node's broker listens: mqtt://HOST:PORT or
                     ws://HOST:PORT
  --card DIR         the folder that is this device's storage card
  --network NET      ${Object.keys(NETWORKS).join(", ")}
  --hsm-secret FILE  serve this secret, a Core Lightning hsm_secret of any kind,
                     and not the one on the card
  --yes              consent to everything an owner can consent to: with an empty
                     card, to a new seed
  --developer        honour dev_force fields on mainnet too
`;

async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = readArguments(args);
  const [command] = positionals;
  if (values.help || command === undefined || command === "help") {
    write(Deno.stdout, HELP);
    return command === undefined && !values.help ? 2 : 0;
  }
  if (command !== "run") {
    throw new UsageError(
      `Unknown command ${JSON.stringify(command)}: want run, try --help`,
    );
  }
  return await run({
    broker: wanted(values.broker, "--broker"),
    card: wanted(values.card, "--card"),
    network: wanted(values.network, "--network"),
    secretPath: values["hsm-secret"],
    isConsented: values.yes,
    isDeveloper: values.developer,
  });
}

function readArguments(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        broker: { type: "string" },
        card: { type: "string" },
        network: { type: "string" },
        "hsm-secret": { type: "string" },
        yes: { type: "boolean", default: false },
        developer: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (cause) {
    throw new UsageError(
      `Cannot read the command line: ${describeError(cause)}`,
      {
        cause,
      },
    );
  }
}

function wanted(value: string | undefined, option: string): string {
  if (value !== undefined) return value;
  throw new UsageError(`Missing ${option}: try softkey --help`);
}

interface RunOptions {
  readonly broker: string;
  readonly card: string;
  readonly network: string;
  readonly secretPath: string | undefined;
  readonly isConsented: boolean;
  readonly isDeveloper: boolean;
}

async function run(options: RunOptions): Promise<number> {
  const card = await openCard(options.card);
  const signer = await openSigner(options, card);
  const nodeKey = nodeKeyOf(signer);
  if (nodeKey !== null) {
    say(`node id ${publicKey(nodeKey.reveal()).toHex()}`);
  }
  const box = new Box({
    card,
    signer,
    url: checkUrl(options.broker),
    software: SOFTWARE,
    say,
    now: Date.now,
    random: Math.random,
  });
  const stopped = untilSignal();
  box.start();
  say(`stopping: ${await stopped}`);
  await box.stop();
  return 0;
}

async function openSigner(
  options: RunOptions,
  card: Card,
): Promise<SignerState> {
  const { network, isDeveloper } = options;
  if (!isNetworkName(network)) {
    const names = Object.keys(NETWORKS).join(", ");
    throw new UsageError(
      `Unknown network ${JSON.stringify(network)}: want ${names}`,
    );
  }
  const secret = await readSecret(options, card);
  return createSigner({
    secretFile: new Secret(secret),
    network: NETWORKS[network],
    isDeveloper,
  });
}

async function readSecret(
  { secretPath, isConsented }: RunOptions,
  card: Card,
): Promise<Uint8Array> {
  if (secretPath !== undefined) return await readSecretFile(secretPath);
  const kept = await readCardSecret(card);
  if (kept !== null) return kept;
  if (!isConsented) {
    throw new UsageError(
      `No seed on the card ${card.folder}: name one with --hsm-secret, ` +
        "or have a new one made with --yes",
    );
  }
  const made = makeSecretFile(randomBytes(16));
  await writeCardSecret(card, made);
  say(`made a new seed of 12 words: ${card.folder}/hsm_secret; back it up`);
  return made;
}

async function readSecretFile(path: string): Promise<Uint8Array> {
  try {
    return await Deno.readFile(path);
  } catch (cause) {
    throw new ConfigError(
      "--hsm-secret",
      path,
      describeError(cause),
      "a readable hsm_secret file",
    );
  }
}

function checkUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  const isMqtt = url !== null && ["mqtt:", "ws:"].includes(url.protocol);
  if (isMqtt && url.hostname !== "") return text;
  throw new UsageError(
    `Cannot use --broker ${JSON.stringify(text)}: want mqtt://HOST:PORT`,
  );
}

function untilSignal(): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    Deno.addSignalListener(signal, () => resolve(signal));
  }
  return promise;
}

function say(text: string): void {
  const time = new Date().toISOString().slice(0, 19).replace("T", " ");
  write(Deno.stdout, `${time} ${text}\n`);
}

function write(stream: { writeSync(bytes: Uint8Array): number }, text: string) {
  stream.writeSync(new TextEncoder().encode(text));
}

function complain(error: unknown): number {
  const isTold = error instanceof UsageError || error instanceof ConfigError;
  const text = !isTold && error instanceof Error
    ? error.stack ?? error.message
    : describeError(error);
  write(Deno.stderr, `softkey: ${text}\n`);
  return isTold ? 2 : 70;
}

if (import.meta.main) Deno.exit(await main(Deno.args).catch(complain));
