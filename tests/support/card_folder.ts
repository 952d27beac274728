/**
 * A card in a folder, as `softkey init` and some use leave it, and people who
 * type what a test says.
 *
 * @module
 */

import assert from "node:assert/strict";
import { publicKey } from "../../src/crypto/secp.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { type Arguments, readArguments } from "../../src/device/arguments.ts";
import {
  type Card,
  CARD_FILES,
  type CardFolder,
  makeFile,
  openCard,
  writeSealed,
} from "../../src/device/card.ts";
import {
  bindIdentity,
  networkChange,
  openCardStore,
  pairingChange,
} from "../../src/device/card_state.ts";
import { newLine } from "../../src/device/ledger.ts";
import type { Prompter } from "../../src/device/prompt.ts";
import { type SealKey, sealSecret } from "../../src/device/sealed_secret.ts";
import {
  makeSecretFile,
  openSecretFile,
  parseSecretFile,
} from "../../src/keyderiv.ts";
import { deriveNodeKeys } from "../../src/keyderiv/node.ts";
import { encodeWrite, freshChannel } from "../../src/signer/memory.ts";
import type { ChannelRecord } from "../../src/signer/records.ts";

/** The seed of 12 words that these cards have. */
export const SEED: Uint8Array = makeSecretFile(new Uint8Array(16).fill(0x11));
/** Its node id, in hex. */
export const NODE: string = publicKey(
  deriveNodeKeys(openSecretFile(parseSecretFile(SEED))).node.secret.reveal(),
).toHex();
/** When it all happens. */
export const NOW: number = Date.UTC(2026, 0, 31, 12, 30);

/** Puts a seed in clear on a card, as earlier softkeys did. */
export async function writeCardSecret(
  { folder }: CardFolder,
  secret: Uint8Array,
): Promise<void> {
  await makeFile(`${folder}/${CARD_FILES.clear}`, secret, 0o400);
}

/** What is in the folder that {@link withCard} makes. */
export interface CardFixture {
  /** A folder for the test's other files. */
  readonly around: string;
  readonly folder: string;
  readonly card: Card;
  readonly keyFile: string;
  readonly key: SealKey;
}

/** How a card differs from the usual one. */
export interface CardOptions {
  readonly channels?: number;
  readonly network?: string;
  /** Whether the seed is put on it. */
  readonly isSeeded?: boolean;
}

/** Makes a card, lets the test use it, and takes it away. */
export async function withCard(
  use: (fixture: CardFixture) => Promise<void>,
  { channels = 2, network = "regtest", isSeeded = true }: CardOptions = {},
): Promise<void> {
  const around = await Deno.makeTempDir();
  try {
    const folder = `${around}/card`;
    const card = await openCard(folder);
    const keyFile = `${around}/key`;
    const content = new Uint8Array(32).fill(0x22);
    await Deno.writeFile(keyFile, content, { mode: 0o400 });
    const key: SealKey = { kind: "file", bytes: new Secret(content) };
    if (isSeeded) {
      const sealed = sealSecret(SEED, key, Uint8Array.fromHex(NODE));
      await writeSealed(card, sealed);
    }
    fillMemory(card, channels, network);
    await use({ around, folder, card, keyFile, key });
  } finally {
    await Deno.remove(around, { recursive: true });
  }
}

function fillMemory(card: Card, channels: number, network: string): void {
  const store = openCardStore(card.folder);
  bindIdentity(store, card);
  const text = "the card was made";
  store.commit(
    [
      networkChange(network),
      pairingChange({
        brokerKey: Uint8Array.fromHex(NODE),
        url: "mqtt://127.0.0.1:1883",
        pairedAt: BigInt(NOW),
        certHash: null,
      }),
      { key: "card/node", value: Uint8Array.fromHex(NODE) },
      ...Array.from({ length: channels }, (_, i) => channelChange(i + 1)),
    ],
    [newLine({ kind: "card", text }, NOW)],
  );
  store.close();
}

function channelChange(dbid: number) {
  const peerId = Uint8Array.fromHex(NODE) as ChannelRecord["peerId"];
  const id = { peerId, dbid: BigInt(dbid) };
  const record = freshChannel(id);
  return encodeWrite({ kind: "channel", id, record });
}

/** What is said, and by whom it may be answered. */
export interface Said {
  readonly lines: string[];
  readonly prompter: Prompter | null;
  /** Answers that nobody asked for. */
  readonly left: string[];
  readonly print: (text: string) => void;
  readonly printError: (text: string) => void;
  readonly now: () => number;
}

/** A person who types these lines. */
export function typing(...answers: readonly string[]): Said {
  const { lines, left, ...rest } = nobody(answers);
  const answer = (question: string): Promise<string> => {
    lines.push(question);
    const line = left.shift();
    assert.notEqual(line, undefined, `nobody answers ${question}`);
    return Promise.resolve(line ?? "");
  };
  const prompter: Prompter = {
    show: (text) => void lines.push(text),
    ask: answer,
    askHidden: answer,
    showOnce: () => Promise.reject(new Error("nothing to show once")),
  };
  return { ...rest, lines, left, prompter };
}

/** No terminal. */
export function nobody(answers: readonly string[] = []): Said {
  const lines: string[] = [];
  return {
    lines,
    left: [...answers],
    prompter: null,
    print: (text) => void lines.push(text),
    printError: (text) => void lines.push(`error: ${text}`),
    now: () => NOW,
  };
}

/** A command line; `--move` is a word of it like the others. */
export function commandLine(...args: readonly string[]): Arguments {
  const isMove = args.includes("--move");
  const rest = args.filter((arg) => arg !== "--move");
  const { options, words } = readArguments(rest);
  return { options: { ...options, ...(isMove ? { move: true } : {}) }, words };
}
