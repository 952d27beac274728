/**
 * A softkey as a process, for what a softkey inside the test cannot show: being
 * killed, a processor of its own, its own start.
 *
 * @module
 */

import { isNetworkName, type Network } from "../../src/bitcoin/networks.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { CONSENTER } from "../../src/device/approver.ts";
import { assemble } from "../../src/device/assemble.ts";
import type { Box, LinkKind } from "../../src/device/box.ts";
import { openCard } from "../../src/device/card.ts";
import { openCardStore, readCardState } from "../../src/device/card_state.ts";
import type { ServerAccess } from "../../src/mqtt/access.ts";
import { believing, makeBelievingCard } from "./believed.ts";
import { fromFileUrl, withDeno } from "./paths.ts";
import { DrivenTerminal } from "./terminal.ts";

const ENTRY = fromFileUrl(new URL("../../src/device/main.ts", import.meta.url));
const CONFIG = fromFileUrl(new URL("../../deno.json", import.meta.url));

/** What a `deno` is told to run a softkey from source. */
const FROM_SOURCE = ["run", "-A", "--quiet", "--config", CONFIG, ENTRY];

/** How to start it. */
export interface SoftkeyOptions {
  /** Where its card and its secret are put. */
  readonly folder: string;
  readonly url: string;
  readonly secret: Uint8Array;
  readonly network?: string;
  /** Path of a built softkey; from source when it is not given. */
  readonly program?: string | undefined;
  /** Further options. */
  readonly args?: readonly string[];
  /** What becomes of its lines; by default nothing. */
  readonly output?: "inherit" | "piped" | "null";
}

/** What a softkey inside the test is made of. */
export interface BoxParts {
  /** Where its card is put. */
  readonly folder: string;
  readonly url: string;
  readonly secret: Uint8Array;
  readonly network: Network;
  /** What an MQTT server that is not the broker's wants to see. */
  readonly access?: ServerAccess;
  /** Sealed unless it is said otherwise. */
  readonly link?: LinkKind;
  readonly say?: (text: string) => void;
}

/** A softkey inside this process, not started; stop() lets go of its card. */
export async function makeBox(parts: BoxParts): Promise<Box> {
  const { folder, url, secret, network, access = {}, say = () => {} } = parts;
  const { link = "sealed" } = parts;
  const card = await openCard(`${folder}/card`);
  const store = openCardStore(card.folder);
  const state = readCardState(store, network);
  const { box } = assemble({
    card,
    store,
    state: { ...state, policy: believing(state.policy) },
    secretFile: new Secret(secret),
    network,
    isDeveloper: true,
    mode: "always",
    approver: CONSENTER,
    gate: { pinned: null, mayMeetAnother: () => true, meet: () => {} },
    url,
    access,
    link,
    software: "softkey under test",
    say,
  });
  return box;
}

/** Starts `softkey run` with a secret file of its own. */
export async function startSoftkey(
  options: SoftkeyOptions,
): Promise<Deno.ChildProcess> {
  const { folder, url, secret, program, output = "null" } = options;
  const { network = "regtest" } = options;
  if (isNetworkName(network)) {
    await makeBelievingCard(`${folder}/card`, network);
  }
  const path = `${folder}/hsm_secret`;
  await Deno.writeFile(path, secret, { mode: 0o600 });
  const own = program === undefined ? FROM_SOURCE : [];
  const args = [
    ...own,
    "run",
    "--broker",
    url,
    "--card",
    `${folder}/card`,
    "--network",
    network,
    "--hsm-secret",
    path,
    "--yes",
    ...options.args ?? [],
  ];
  return new Deno.Command(program ?? Deno.execPath(), {
    args,
    env: withDeno(),
    stdin: "null",
    stdout: output,
    stderr: output === "inherit" ? "inherit" : "null",
  }).spawn();
}

/** Reads a softkey's piped lines until one says this; reads on by itself. */
export async function untilSaid(
  softkey: Deno.ChildProcess,
  text: string,
): Promise<void> {
  const lines = softkey.stdout.pipeThrough(new TextDecoderStream());
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  (async () => {
    let said = "";
    for await (const part of lines) {
      if (said.includes(text)) continue;
      said += part;
      if (said.includes(text)) resolve();
    }
    reject(new Error(`The softkey ended before it said ${text}: ${said}`));
  })().catch(reject);
  await promise;
}

/** What a softkey's command said and how it ended. */
export interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** A softkey that runs where nobody is. */
export interface RunningSoftkey {
  /** What it said, when it has ended. */
  readonly result: Promise<Result>;
  /** Asks it to stop, as a service manager does. */
  stop(): Promise<Result>;
  /** Ends it without a word. */
  kill(): void;
}

/** Starts a command of the softkey where nobody is. */
export function spawnSoftkey(...args: readonly string[]): RunningSoftkey {
  const child = new Deno.Command(Deno.execPath(), {
    args: [...FROM_SOURCE, ...args],
    env: withDeno(),
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const text = new TextDecoder();
  const result = child.output().then(({ code, stdout, stderr }) => ({
    code,
    out: text.decode(stdout),
    err: text.decode(stderr),
  }));
  return {
    result,
    stop: () => {
      child.kill("SIGTERM");
      return result;
    },
    kill: () => child.kill("SIGKILL"),
  };
}

/** Runs a command of the softkey where nobody is, to its end. */
export function runSoftkey(...args: readonly string[]): Promise<Result> {
  return spawnSoftkey(...args).result;
}

/** Runs a command of the softkey in a terminal. */
export function driveSoftkey(...args: readonly string[]): DrivenTerminal {
  const command = Deno.execPath();
  return new DrivenTerminal({ command, args: [...FROM_SOURCE, ...args] });
}

/** Reads the words from the screen that shows them, and puts them away. */
export async function readWords(
  terminal: DrivenTerminal,
): Promise<readonly string[]> {
  const shown = await terminal.says("Press Enter to take this away");
  const words: string[] = [];
  const table = shown.slice(shown.lastIndexOf("words of this seed"));
  for (const [, number, word = ""] of table.matchAll(/ (\d+) {2}([a-z]+)/g)) {
    words[Number(number) - 1] = word;
  }
  await terminal.press("\r");
  return words;
}

/** Types the words that are asked for. */
export async function typeBack(
  terminal: DrivenTerminal,
  words: readonly string[],
): Promise<void> {
  for (let i = 0; i < 3; i++) {
    const asked = await terminal.says(/Word \d+ from your paper[^:]*: /);
    const [, number] = /Word (\d+) from/.exec(asked) ?? [];
    await terminal.types(words[Number(number) - 1] ?? "");
  }
}

/** Chooses a passphrase for the seal. */
export async function typeNewPassphrase(
  terminal: DrivenTerminal,
  passphrase: string,
): Promise<void> {
  await terminal.says("or more): ");
  await terminal.types(passphrase);
  await terminal.says("again: ");
  await terminal.types(passphrase);
}

/** Uses a folder that is gone afterwards. */
export async function inFolder(
  use: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Files below a folder that hold one of these secrets, by name and secret. */
export async function secretsLeftIn(
  folder: string,
  secrets: Readonly<Record<string, Uint8Array>>,
): Promise<readonly string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory, isFile } of Deno.readDir(folder)) {
    const path = `${folder}/${name}`;
    if (isDirectory) found.push(...await secretsLeftIn(path, secrets));
    if (!isFile) continue;
    const content = (await Deno.readFile(path)).toHex();
    for (const [what, secret] of Object.entries(secrets)) {
      if (content.includes(secret.toHex())) found.push(`${path}: ${what}`);
    }
  }
  return found;
}
