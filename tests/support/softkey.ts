/**
 * A softkey as a process, for what a softkey inside the test cannot show: being
 * killed, a processor of its own, its own start.
 *
 * @module
 */

import type { Network } from "../../src/bitcoin/networks.ts";
import { CONSENTER } from "../../src/device/approver.ts";
import { Box } from "../../src/device/box.ts";
import { openCard } from "../../src/device/card.ts";
import { openCardStore, readCardState } from "../../src/device/card_state.ts";
import { Desk } from "../../src/device/desk.ts";
import { createSigner, step } from "../../src/signer/handle.ts";
import { fromFileUrl, withDeno } from "./paths.ts";

const ENTRY = fromFileUrl(new URL("../../src/device/main.ts", import.meta.url));
const CONFIG = fromFileUrl(new URL("../../deno.json", import.meta.url));

/** How to start it. */
export interface SoftkeyOptions {
  /** Where its card and its secret are put. */
  readonly folder: string;
  readonly url: string;
  readonly secret: Uint8Array;
  readonly network?: string;
  /** Path of a built softkey; from source when it is not given. */
  readonly program?: string | undefined;
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
  readonly say?: (text: string) => void;
}

/** A softkey inside this process, not started; stop() lets go of its card. */
export async function makeBox(parts: BoxParts): Promise<Box> {
  const { folder, url, secret, network, say = () => {} } = parts;
  const card = await openCard(`${folder}/card`);
  const store = openCardStore(card.folder);
  const { memory, tail, node, policy, allowlist } = readCardState(
    store,
    network,
  );
  const signer = createSigner({
    secretFile: secret,
    network,
    isDeveloper: true,
    memory,
    policy,
    allowlist,
    consent: { mode: "always", granted: new Set(), declined: new Set() },
  });
  const now = Date.now;
  const desk = new Desk({
    signer,
    step,
    store,
    memory,
    tail,
    node,
    approver: CONSENTER,
    say,
    now,
  });
  return new Box({
    card,
    store,
    desk,
    url,
    software: "softkey under test",
    say,
    now,
    random: Math.random,
  });
}

/** Starts `softkey run` with a secret file of its own. */
export async function startSoftkey(
  options: SoftkeyOptions,
): Promise<Deno.ChildProcess> {
  const { folder, url, secret, program, output = "null" } = options;
  const { network = "regtest" } = options;
  const path = `${folder}/hsm_secret`;
  await Deno.writeFile(path, secret, { mode: 0o600 });
  const own = program === undefined
    ? ["run", "-A", "--quiet", "--config", CONFIG, ENTRY]
    : [];
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
