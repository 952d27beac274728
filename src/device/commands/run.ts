/**
 * `softkey run`: opens the card, serves until a signal.
 *
 * What it does not do: touch the card after it said that it stopped.
 *
 * @module
 */

import { publicKey, useFastCurve } from "../../crypto/secp.ts";
import { loadFastCurve } from "../../crypto/secp_wasm.ts";
import { Secret } from "../../crypto/secret.ts";
import { ConfigError, describeError, UsageError } from "../../errors.ts";
import { makeSecretFile } from "../../keyderiv.ts";
import type { Consent } from "../../policy/consent.ts";
import {
  createSigner,
  nodeKeyOf,
  type SignerState,
  step,
} from "../../signer/handle.ts";
import type { SqliteStore } from "../../store/sqlite.ts";
import {
  type Approver,
  CONSENTER,
  REFUSER,
  TerminalApprover,
} from "../approver.ts";
import {
  type Arguments,
  noMore,
  type Options,
  wanted,
  wantedNetwork,
} from "../arguments.ts";
import { Box } from "../box.ts";
import {
  type Card,
  openCard,
  randomBytes,
  readCardSecret,
  writeCardSecret,
} from "../card.ts";
import {
  bindingOf,
  type CardState,
  openCardStore,
  readCardState,
} from "../card_state.ts";
import { Desk } from "../desk.ts";
import { say, typedLines, write } from "../terminal.ts";

/** Bumped with deno.json; the broker shows it. */
const SOFTWARE = "softkey 0.1.0";
/** Longest that a question may wait: lightningd waits for it too. */
const MOST_DEADLINE_S = 3600;
const DEADLINE_S = 60;

/** A service that restarts may still be stopping: its card is waited for. */
const PREDECESSOR_MS = 3_000;

/** Runs until a signal (0), or until the node refuses the card (2). */
export async function run({ options, words }: Arguments): Promise<number> {
  noMore(words);
  const url = checkUrl(wanted(options, "broker"));
  const network = wantedNetwork(options);
  const mode = modeOf(options);
  const deadlineMs = 1000 * deadlineOf(options);
  const stopped = untilSignal();
  useFastCurve(await loadFastCurve());
  const card = await openCard(wanted(options, "card"));
  const secretFile = new Secret(await readSecret(options, card));
  const store = openCardStore(card.folder, PREDECESSOR_MS);
  try {
    if (store.isNew) noteNewMemory(card);
    const state = readCardState(store, network);
    const { memory, policy, allowlist } = state;
    const signer = createSigner({
      secretFile,
      network,
      isDeveloper: options.developer,
      memory,
      policy,
      allowlist,
      consent: { mode, granted: new Set(), declined: new Set() },
    });
    const node = bindCard(state, signer);
    return await serve({
      card,
      url,
      store,
      signer,
      state: { ...state, node },
      approver: approverFor(mode, deadlineMs),
      stopped,
    });
  } finally {
    store.close();
  }
}

interface Parts {
  readonly card: Card;
  readonly url: string;
  readonly store: SqliteStore;
  readonly signer: SignerState;
  readonly state: CardState;
  readonly approver: Approver;
  /** Resolves with the signal that ends it. */
  readonly stopped: Promise<string>;
}

async function serve(parts: Parts): Promise<number> {
  const { card, url, store, signer, state, approver } = parts;
  const { memory, tail, node } = state;
  const now = Date.now;
  const desk = new Desk({
    signer,
    step,
    store,
    memory,
    tail,
    node,
    approver,
    say,
    now,
  });
  const random = Math.random;
  const box = new Box({
    card,
    store,
    desk,
    url,
    software: SOFTWARE,
    say,
    now,
    random,
  });
  const stopped = parts.stopped.then((name) => ({ name, code: 0 }));
  const refused = box.ended.then(() => ({ name: "refused", code: 2 }));
  box.start();
  const { name, code } = await Promise.race([stopped, refused]);
  say(`stopping: ${name}`);
  await box.stop();
  return code;
}

/** Ties the card's memory to the seed, as soon as the seed can be read. */
function bindCard(
  { store, node }: CardState,
  signer: SignerState,
): Uint8Array | null {
  const key = nodeKeyOf(signer);
  if (key === null) return node;
  const nodeId = publicKey(key.reveal());
  say(`node id ${nodeId.toHex()}`);
  const binding = bindingOf(node, nodeId);
  if (binding !== null) store.commit([binding]);
  return nodeId;
}

function noteNewMemory({ folder, isNew }: Card): void {
  say(
    isNew
      ? `made the memory of a new card: ${folder}`
      : `made an empty memory on the card ${folder}: channels that were ` +
        "opened before are unknown to this signer",
  );
}

function modeOf({ yes, approve }: Options): Consent["mode"] {
  if (yes) return "always";
  switch (approve) {
    case undefined:
      return "refuse";
    case "refuse":
    case "ask":
      return approve;
  }
  throw new UsageError(
    `Cannot use --approve ${JSON.stringify(approve)}: want refuse or ask`,
  );
}

function deadlineOf(options: Options): number {
  const text = options["approval-deadline"] ?? String(DEADLINE_S);
  const seconds = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (seconds >= 1 && seconds <= MOST_DEADLINE_S) return seconds;
  throw new UsageError(
    `Cannot use --approval-deadline ${JSON.stringify(text)}: want seconds, ` +
      `1 to ${MOST_DEADLINE_S}`,
  );
}

function approverFor(mode: Consent["mode"], deadlineMs: number): Approver {
  switch (mode) {
    case "refuse":
      return REFUSER;
    case "always":
      return CONSENTER;
    case "ask":
      return new TerminalApprover({
        lines: typedLines(Deno.stdin.readable),
        write: (text) => write(Deno.stdout, text),
        deadlineMs,
      });
  }
}

async function readSecret(options: Options, card: Card): Promise<Uint8Array> {
  const path = options["hsm-secret"];
  if (path !== undefined) return await readSecretFile(path);
  const kept = await readCardSecret(card);
  if (kept !== null) return kept;
  if (!options.yes) {
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
