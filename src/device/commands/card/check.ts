/**
 * `softkey card check`: whether a card is whole, what is on it, and who else can
 * read it.
 *
 * | file | by what a changed byte is found |
 * | --- | --- |
 * | id, card_key | their hash in the memory (card/identity) |
 * | seed.sealed | the SHA-256 at its end |
 * | hsm_secret | the node id that it makes, where it opens without a passphrase |
 * | state.db | pages, rows, the sum over all rows, every record, the book's chain; after a clean stop the SHA-256 in state.db.sum |
 * | state.db.sum | itself against state.db |
 *
 * Exit code 1 for a damaged card, with the file and what to do.
 *
 * What it does not do: repair. Nobody can make up what was not signed.
 *
 * @module
 */

import { NETWORKS } from "../../../bitcoin/networks.ts";
import { Secret } from "../../../crypto/secret.ts";
import { ConfigError, DecodeError, StoreError } from "../../../errors.ts";
import { SecretFileError } from "../../../keyderiv.ts";
import type { Options } from "../../arguments.ts";
import {
  asideOf,
  CARD_FILES,
  findCard,
  isThere,
  readCardSecret,
  readSealed,
} from "../../card.ts";
import {
  type CardPairing,
  type CardState,
  identityOf,
  readCardIdentity,
  readCardState,
} from "../../card_state.ts";
import { describeChain } from "../../chain_words.ts";
import type { CardAccess } from "../../owner/access.ts";
import type { Prompter } from "../../prompt.ts";
import { namesSealKey, unseal } from "../../seal_key.ts";
import { checkSealed, sealedKind, sealedNodeId } from "../../sealed_secret.ts";
import { isPaired } from "../../setup/pairing.ts";
import { describeStanding } from "../../standing.ts";
import { isBusy, nodeIdIfAny, nodeIdOfSeed, nodeOnSeed } from "./folder.ts";
import { describeSharing } from "./share.ts";

/** What this command needs of an open card. */
export type CheckAccess = Pick<
  CardAccess,
  "store" | "folder" | "network" | "print" | "printError"
>;

/** What was found: problems are damage, warnings are not. */
interface Findings {
  readonly problems: string[];
  readonly warnings: string[];
}

/** Checks an open card; 1 when it is damaged. */
export async function checkCard(
  access: CheckAccess,
  options: Options,
  prompter: Prompter | null = null,
): Promise<number> {
  const found: Findings = { problems: [], warnings: [] };
  const { print, printError } = access;
  try {
    const state = reportMemory(access, await nodeOnSeed(access.folder));
    await checkIdentity(access, found);
    await checkSeed(access.folder, state, found);
    await openSeed(access, { options, prompter, state }, found);
  } catch (error) {
    noteProblem(error, found);
  }
  await checkModes(access.folder, found);
  for (const text of found.warnings) print(`warning: ${text}`);
  for (const text of found.problems) printError(`softkey: ${text}`);
  if (found.problems.length === 0) print("The card is whole");
  return found.problems.length === 0 ? 0 : 1;
}

/**
 * Checks what can be checked of a card whose memory does not open; the error says
 * why it does not.
 */
export async function checkFilesOnly(
  access: Omit<CheckAccess, "store" | "network">,
  error: unknown,
): Promise<number> {
  const found: Findings = { problems: [], warnings: [] };
  noteProblem(error, found);
  await checkSeed(access.folder, null, found);
  await checkModes(access.folder, found);
  for (const text of found.warnings) access.print(`warning: ${text}`);
  for (const text of found.problems) access.printError(`softkey: ${text}`);
  return 1;
}

/** What is damage is noted; what is not is for the program's end. */
function noteProblem(error: unknown, { problems }: Findings): void {
  const isDamage = (error instanceof StoreError && !isBusy(error)) ||
    error instanceof ConfigError || error instanceof DecodeError;
  if (!isDamage) throw error;
  problems.push(error.message);
}

function reportMemory(
  { store, network, print }: CheckAccess,
  labelled: string | null,
): CardState {
  const { head, values, deleted, lines, isSummed } = store.check();
  const state = readCardState(store, network ?? NETWORKS.bitcoin);
  const { memory, tail, allowed, node, pairing, sharing } = state;
  const rows = {
    card: store.path,
    node: node?.toHex() ?? labelled ?? "none yet",
    network: state.network ?? "not known yet",
    standing: describeStanding(state.standing),
    ...(sharing === null ? {} : { cards: describeSharing(sharing.serverKey) }),
    ...(network === null ? {} : { chain: describeChain(state, network) }),
    "paired with": describePairing(pairing),
    generation: head.generation,
    head: head.hash.toHex(),
    values: `${values}, and ${deleted} deleted`,
    channels: memory.channelCount,
    payments: [...memory.payments()].length,
    answers: tail.size,
    allowlist: allowed.length,
    ledger: `${lines} ${lines === 1 ? "line" : "lines"}, the chain is whole`,
    nonce: state.nonce,
    "last stop": isSummed
      ? "clean: every byte was compared"
      : "not clean: compared by what is inside",
  };
  for (const [name, value] of Object.entries(rows)) {
    print(`${name.padEnd(12)}${value}`);
  }
  return state;
}

async function checkIdentity(
  { store, folder }: CheckAccess,
  { problems, warnings }: Findings,
): Promise<void> {
  const known = readCardIdentity(store);
  const card = await findCardOr(folder, problems);
  if (card === undefined) return;
  const name = `${CARD_FILES.id} or ${CARD_FILES.key}`;
  if (known === null) {
    warnings.push(
      `${name} are not tied to the memory yet: the next start is it`,
    );
  } else if (card === null) {
    problems.push(
      `${folder}: ${name} is missing: put it back, want the files ` +
        "that this memory was made with",
    );
  } else if (identityOf(card).toHex() !== known.toHex()) {
    problems.push(
      `${folder}: ${name} is damaged or of another card: put back ` +
        "the files that this memory was made with",
    );
  }
}

/** Undefined when what is there is no card's, which is noted. */
async function findCardOr(folder: string, problems: string[]) {
  try {
    return await findCard(folder);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    problems.push(error.message);
    return undefined;
  }
}

async function checkSeed(
  folder: string,
  state: CardState | null,
  { problems, warnings }: Findings,
): Promise<void> {
  const sealed = await readSealed({ folder });
  if (sealed !== null) {
    const problem = sealedProblem(sealed, state?.node ?? null);
    if (problem !== null) {
      problems.push(
        `${folder}/${CARD_FILES.sealed}: ${problem}; restore it ` +
          "from a backup or from the words",
      );
    }
  }
  const clear = await readCardSecret({ folder });
  if (clear !== null) {
    warnings.push("the seed is in clear: softkey card seal encrypts it");
    const file = new Secret(clear);
    clear.fill(0);
    const problem = clearProblem(file, state?.node ?? null);
    file.wipe();
    if (sealed === null && problem !== null) {
      problems.push(`${folder}/${CARD_FILES.clear} ${problem}`);
    }
  }
  if (sealed === null && clear === null) warnings.push("there is no seed yet");
}

function sealedProblem(
  sealed: Uint8Array,
  node: Uint8Array | null,
): string | null {
  try {
    checkSealed(sealed, "seed");
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return error.message;
  }
  const nodeId = sealedNodeId(sealed);
  return isOther(nodeId, node)
    ? `it is the seed of node ${nodeId?.toHex()}, want ${node?.toHex()}`
    : null;
}

/** A seed that lightningd's passphrase opens cannot be looked into. */
function clearProblem(file: Secret, node: Uint8Array | null): string | null {
  try {
    const nodeId = nodeIdOfSeed(file);
    return isOther(nodeId, node)
      ? `is damaged or another node's: it makes node ${nodeId?.toHex()}, want ` +
        `${node?.toHex()}`
      : null;
  } catch (error) {
    if (!(error instanceof SecretFileError)) throw error;
    return "is damaged: it is no seed any more";
  }
}

function isOther(a: Uint8Array | null, b: Uint8Array | null): boolean {
  return a !== null && b !== null && a.toHex() !== b.toHex();
}

interface SeedCheck {
  readonly options: Options;
  readonly prompter: Prompter | null;
  readonly state: CardState;
}

/** With a key, the seed itself is compared with the card. */
async function openSeed(
  { folder, print }: CheckAccess,
  { options, prompter, state }: SeedCheck,
  { problems }: Findings,
): Promise<void> {
  if (problems.length > 0) return;
  const sealed = await readSealed({ folder });
  if (sealed === null) return;
  const isNamed = await namesSealKey(options);
  const asked = isNamed ? null : prompter;
  const mayAsk = asked !== null && sealedKind(sealed) === "passphrase";
  if (!isNamed && !mayAsk) return;
  if (asked !== null) {
    const answer = await asked.ask("Open the seed and check it too? (yes/no) ");
    if (!/^y(es)?$/i.test(answer.trim())) return;
  }
  const { secret, key } = await unseal(sealed, "seed", options, asked);
  key.bytes.wipe();
  const nodeId = nodeIdIfAny(secret);
  secret.wipe();
  const wanted = state.node ?? sealedNodeId(sealed);
  if (isOther(nodeId, wanted)) {
    problems.push(
      `${folder}/${CARD_FILES.sealed}: its seed is of node ` +
        `${nodeId?.toHex()}, want ${wanted?.toHex()}`,
    );
  } else {
    const node = nodeId?.toHex() ??
      "of a node that lightningd's passphrase tells";
    print(`${"seed".padEnd(12)}opens: ${node}`);
  }
}

async function checkModes(
  folder: string,
  { warnings }: Findings,
): Promise<void> {
  for (const name of Object.values(CARD_FILES)) {
    const path = `${folder}/${name}`;
    if (await isThere(asideOf(path))) {
      warnings.push(
        `${asideOf(path)} is left over from a write that ended early`,
      );
    }
    if (!await isThere(path)) continue;
    const { mode } = await Deno.lstat(path);
    if (mode === null || (mode & 0o077) === 0) continue;
    const isSecret = SECRET_FILES.has(name);
    if (isSecret) warnings.push(`others can read ${path}: chmod 400 it`);
  }
  const { mode } = await Deno.stat(folder);
  if (mode !== null && (mode & 0o077) !== 0) {
    warnings.push(`others can look into ${folder}: chmod 700 it`);
  }
}

/** The others are shielded by the folder's mode. */
const SECRET_FILES: ReadonlySet<string> = new Set([
  CARD_FILES.key,
  CARD_FILES.sealed,
  CARD_FILES.clear,
]);

function describePairing(pairing: CardPairing | null): string {
  if (pairing === null) return "nobody yet";
  const { brokerKey, url } = pairing;
  return isPaired(pairing)
    ? `${brokerKey.toHex()} at ${url}`
    : `nobody yet; it was set up for ${url}`;
}
