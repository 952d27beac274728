/**
 * `softkey run`: opens the card, serves until a signal.
 *
 * A card without a seed meets its node first: the owner is asked at the terminal
 * while lightningd's init waits (`../setup/first_contact.ts`).
 *
 * What it does not do: touch the card after it said that it stopped.
 *
 * @module
 */

import { publicKey, useFastCurve } from "../../crypto/secp.ts";
import { loadFastCurve } from "../../crypto/secp_wasm.ts";
import { Secret } from "../../crypto/secret.ts";
import { ConfigError, describeError, UsageError } from "../../errors.ts";
import { parsePairingString } from "../../mqtt/pairing_string.ts";
import type { Consent } from "../../policy/consent.ts";
import { hasAlarm } from "../../signer/alarms.ts";
import { nodeKeyOf, type SignerState } from "../../signer/handle.ts";
import type { SqliteStore } from "../../store/sqlite.ts";
import type { Change } from "../../store/store.ts";
import { CONSENTER, QuestionBook, REFUSER } from "../approver.ts";
import { type Arguments, noMore, type Options, wanted } from "../arguments.ts";
import { assemble, assembleSphinx, type Parts, signerOf } from "../assemble.ts";
import type { BoxEvent } from "../box.ts";
import { type Card, hasSeed, openCard } from "../card.ts";
import {
  bindingOf,
  type CardPairing,
  type CardState,
  identityChange,
  networkChange,
  networkFor,
  networkOf,
  openCardStore,
  readCardState,
} from "../card_state.ts";
import { chainNotice, describeAlarms } from "../chain_words.ts";
import type { Desk } from "../desk.ts";
import {
  folderOutput,
  hasColour,
  Light,
  type LightOutput,
  markOf,
  topicOutput,
} from "../led_outputs.ts";
import { askAtTerminal } from "../owner/at_terminal.ts";
import { startOwnerSocket } from "../owner/socket.ts";
import { OwnerError } from "../owner_error.ts";
import type { Prompter } from "../prompt.ts";
import { serverAccess } from "../server_access.ts";
import { type FirstContact, meetFirst } from "../setup/first_contact.ts";
import { joinNode } from "../setup/join.ts";
import {
  checkMeetable,
  dayOf,
  isPaired,
  PairingGate,
} from "../setup/pairing.ts";
import { brokerUrl, type OpenCard, SOFTWARE } from "../setup/prepare.ts";
import { readSeed } from "../setup/seed.ts";
import {
  Interrupted,
  openTerminal,
  say,
  setMark,
  typedLines,
  write,
} from "../terminal.ts";

/** Longest that a question may wait: lightningd waits for it too. */
const MOST_DEADLINE_S = 3600;
const DEADLINE_S = 60;

/** A service that restarts may still be stopping: its card is waited for. */
const PREDECESSOR_MS = 3_000;

/** A command line that was understood, and who is there. */
interface Run {
  readonly options: Options;
  readonly mode: Consent["mode"];
  readonly deadlineMs: number;
  readonly prompter: Prompter | null;
  /** Resolves with the signal that ends it. */
  readonly stopped: Promise<string>;
}

/** Runs until a signal (0), or until going on would change nothing. */
export async function run({ options, words }: Arguments): Promise<number> {
  noMore(words);
  const mode = modeOf(options);
  const deadlineMs = 1000 * deadlineOf(options);
  const stopped = untilSignal();
  useFastCurve(await loadFastCurve());
  const card = await openCard(wanted(options, "card"));
  const store = openCardStore(card.folder, PREDECESSOR_MS);
  try {
    const prompter = openTerminal();
    const all = { options, mode, deadlineMs, prompter, stopped };
    return await runCard(all, card, store);
  } finally {
    store.close();
  }
}

async function runCard(
  all: Run,
  card: Card,
  store: SqliteStore,
): Promise<number> {
  const { options, mode } = all;
  const pairing = await pairingFor(all, { card, store });
  const url = brokerUrl(options, pairing);
  // Brokers of Sphinx prove nothing: the owner said which address to trust.
  if (!isSphinx(options)) checkMeetable(url, pairing);
  const certHash = pairing?.certHash ?? null;
  const access = await serverAccess(options, { url, certHash });
  const server = { url, access, pairing };
  const secretFile = await openSeed(all, { card, store }, server);
  const network = networkFor(options, store);
  if (store.isNew) noteNewMemory(card);
  const state = readCardState(store, network);
  checkStanding(state);
  const missing = chainNotice(state);
  if (missing !== null) say(missing);
  for (const alarm of describeAlarms(state)) say(alarm);
  const isDeveloper = options.developer;
  const parts = { card, state, secretFile, network, isDeveloper, mode };
  const signer = signerOf(parts);
  const { node, later } = bindCard(parts, signer);
  const known = { ...parts, store, url, access, state: { ...state, node } };
  return await serve(all, { ...known, later }, signer);
}

/** The node that a card is paired with; none before it has a network. */
function pairingOn(store: SqliteStore): CardPairing | null {
  const network = networkOf(store);
  return network === null ? null : readCardState(store, network).pairing;
}

/** The node of the card, which --pair may have it join first. */
async function pairingFor(
  { options, prompter, stopped }: Run,
  open: OpenCard,
): Promise<CardPairing | null> {
  const pairing = pairingOn(open.store);
  const text = options.pair;
  if (text === undefined) return pairing;
  const { brokerKey } = parsePairingString(text);
  // A service is started again with the string that it was paired with.
  const isDone = isPaired(pairing) &&
    pairing.brokerKey.toHex() === brokerKey.toHex();
  if (isDone) return pairing;
  const joining = joinNode({ ...open, options, prompter, text, say });
  return await orStopped(joining, stopped);
}

/** Where the node is met, and as whom it is known. */
type Server = Pick<FirstContact, "url" | "access" | "pairing">;

/** From --hsm-secret, from the card, or from the first contact with a node. */
async function openSeed(
  { options, prompter, stopped }: Run,
  { card, store }: OpenCard,
  server: Server,
): Promise<Secret> {
  const path = options["hsm-secret"];
  if (path !== undefined || await hasSeed(card) !== null) {
    // Before anybody types a passphrase for nothing.
    networkFor(options, store);
  }
  if (path !== undefined) return new Secret(await readSecretFile(path));
  const opening = readSeed(card, { options, prompter, say });
  const kept = await orStopped(opening, stopped);
  if (kept !== null) return kept;
  const first = { card, store, options, prompter, ...server, say };
  return await orStopped(meetFirst(first), stopped);
}

/** A signal ends what waits for a person or a node. @throws {Interrupted} */
function orStopped<T>(work: Promise<T>, stopped: Promise<string>): Promise<T> {
  const end = stopped.then((name): never => {
    throw new Interrupted(name, name === "SIGTERM" ? 143 : 130);
  });
  return Promise.race([work, end]);
}

async function serve(
  { options, mode, deadlineMs, prompter, stopped }: Run,
  parts:
    & Omit<Parts, "approver" | "gate" | "software" | "say">
    & Pick<Bound, "later">,
  signer: SignerState,
): Promise<number> {
  const { card, store, url, state, network } = parts;
  const book = mode === "ask"
    ? new QuestionBook({ deadlineMs, say, now: Date.now })
    : null;
  const gate = new PairingGate({
    url,
    cid: card.cid,
    store,
    pairing: state.pairing,
    later: parts.later,
    isYes: options.yes,
    ask: askerFor(book, prompter),
    say,
    now: Date.now,
  });
  const approver = book ?? (mode === "always" ? CONSENTER : REFUSER);
  const software = SOFTWARE;
  let tellLed = (_name: string) => {};
  const light = lightFor(options, prompter !== null, (name) => tellLed(name));
  const watch = (event: BoxEvent) => light.tell(event);
  const all = { ...parts, approver, gate, software, say, watch };
  const { desk, box } = isSphinx(options)
    ? assembleSphinx(all, signer)
    : assemble(all, signer);
  if (isSphinx(options)) store.commit(parts.later);
  tellLed = (name) => box.tellLed(name);
  const { folder } = card;
  const access = { store, network, folder, desk, questions: book };
  const socket = await startOwnerSocket({ folder, access, say });
  if (book !== null) askHere(book);
  if (hasAlarm(signer)) watch("alarm");
  note(desk, "started", `softkey started with the node at ${url}`);
  box.start();
  try {
    const name = await Promise.race([stopped, box.ended]);
    if (name instanceof Error) throw name;
    say(`stopping: ${name}`);
    return 0;
  } finally {
    book?.close();
    socket.close();
    light.stop();
    note(desk, "stopped", "softkey stopped");
    await box.stop();
  }
}

/** Where a question about a new node goes. */
function askerFor(
  book: QuestionBook | null,
  prompter: Prompter | null,
): ((question: string) => Promise<boolean>) | null {
  if (book !== null) {
    return async (question) => {
      const key = `pairing ${question}`;
      return await book.ask({ consentKind: "pairing", key, question }) === true;
    };
  }
  if (prompter === null) return null;
  return async (question) => {
    const answer = await prompter.ask(`${question} [yes/no] `);
    return /^y(es)?$/i.test(answer.trim());
  };
}

function askHere(book: QuestionBook): void {
  askAtTerminal({
    book,
    lines: typedLines(Deno.stdin.readable),
    write: (text) => write(Deno.stdout, text),
    now: Date.now,
  });
}

/** A line in the book; a card that takes none says so when it has to sign. */
function note(desk: Desk, kind: string, text: string): void {
  try {
    desk.note({ kind, text });
  } catch (error) {
    say(`cannot write to the ledger: ${describeError(error)}`);
  }
}

/** What the memory is tied to, and what is still to be written for it. */
interface Bound {
  readonly node: Uint8Array | null;
  /**
   * Written when the node has seen where the card stands: a write before that
   * would make a card that was rolled back look newer than it is.
   */
  readonly later: readonly Change[];
}

/** Ties the card's memory to card, network and seed, as soon as that is known. */
function bindCard(
  { card, network, state }: Pick<Parts, "card" | "network" | "state">,
  signer: SignerState,
): Bound {
  const { store, node } = state;
  const key = nodeKeyOf(signer);
  const nodeId = key === null ? node : publicKey(key.reveal());
  if (key !== null) say(`node id ${nodeId?.toHex()}`);
  const identity = identityChange(store, card);
  const later = [
    ...(identity === null ? [] : [identity]),
    ...(networkOf(store) === null ? [networkChange(network.name)] : []),
  ];
  const binding = nodeId === null ? null : bindingOf(node, nodeId);
  if (binding === null) return { node: nodeId, later };
  store.commit([binding, ...later]);
  return { node: nodeId, later: [] };
}

/** What a card that is not the last word of its device may do. */
function checkStanding({ standing }: CardState): void {
  if (standing === null) return;
  const since = dayOf(standing.at);
  if (standing.kind === "moved") {
    throw new OwnerError(
      "rightNode",
      `Cannot serve with this card: it was moved to another one on ${since}, ` +
        "want that one (two signers of one seed lose its money)",
    );
  }
  say(
    `restored on ${since}: signs nothing for channels, which it does not know; ` +
      "sweeps, gossip and the wallet go on; softkey card adopt makes it know " +
      "them",
  );
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

/** @throws {UsageError} for a dialect that is none */
function isSphinx({ dialect = "native" }: Options): boolean {
  if (dialect === "native" || dialect === "sphinx") return dialect === "sphinx";
  throw new UsageError(
    `Cannot use --dialect ${JSON.stringify(dialect)}: want native or sphinx`,
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

function untilSignal(): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    Deno.addSignalListener(signal, () => resolve(signal));
  }
  return promise;
}

/** Before each line at a terminal, on the line, and where one is named. */
function lightFor(
  { led }: Options,
  isTerminal: boolean,
  tell: (name: string) => void,
): Light {
  const mark: LightOutput = {
    show: (status) => setMark(markOf(status, hasColour())),
    stop: () => setMark(""),
  };
  return new Light([
    ...(isTerminal ? [mark] : []),
    topicOutput(tell),
    ...(led === undefined ? [] : [folderOutput({ led, say })]),
  ]);
}
