/**
 * What the owner reads while a card is set up: at each step what this is, what
 * to do, and what comes next, in lines of at most 70 columns.
 *
 * What it does not do: ask, or decide.
 *
 * @module
 */

import { Secret } from "../../crypto/secret.ts";
import type {
  Candidate,
  Expectation,
  NodeFacts,
  Plan,
  SetupQuestion,
  Step,
} from "./state.ts";

/** Which card is set up, before anything is asked. */
export function cardScreen(folder: string, network: string): string[] {
  return [
    `This sets up the card ${folder} for the network ${network}.`,
    "Ctrl-C ends it at any time; nothing is stored before the end.",
  ];
}

/** First contact: who asks. */
export function contactScreen(node: NodeFacts, network: string): string[] {
  const { url, fingerprint, expectedNode } = node;
  return [
    "",
    "A Lightning node asks for a signer. It is not paired with this card.",
    "",
    `  broker       ${url}`,
    `  network      ${network}`,
    `  fingerprint  ${fingerprint}`,
    ...(expectedNode === null
      ? ["  node id      none yet: this card's seed will make it"]
      : ["  node id", `  ${expectedNode}`]),
    "",
    "The node's log or terminal shows the same fingerprint for this",
    "device. Another one is of another node: then answer no.",
  ];
}

/** Where the seed is to come from. */
export function sourceScreen({ expected }: Plan): string[] {
  const [known] = expected;
  return [
    "",
    "This card has no seed. The seed is what all keys of the node are made",
    "from: whoever has it has the node's money.",
    "",
    ...(known === undefined ? [] : [
      `Only one seed fits: ${known.by} names the node id`,
      `  ${known.nodeId}`,
      "",
    ]),
    "  1  make a new seed of 12 words",
    "  2  make a new seed of 24 words",
    "  3  type the words of a seed that you have",
    "  4  take an hsm_secret file of Core Lightning",
  ];
}

/** Before the words of a new seed are shown. */
export function beforeWordsScreen(count: number): string[] {
  return [
    "",
    `A new seed is made. Its ${count} words come on a screen of their own,`,
    "once. Have paper and a pen ready; photos and files can be stolen.",
  ];
}

/** The words of a new seed. */
function wordsScreen(words: Secret, note: string): Secret {
  const list = textOf(words).split(" ");
  const rows = Math.ceil(list.length / 3);
  const cell = (at: number) =>
    list[at] === undefined ? "" : `${String(at + 1).padStart(4)}  ${list[at]}`;
  const table = Array.from(
    { length: rows },
    (_, i) =>
      [i, i + rows, i + 2 * rows].map(cell).map((text) => text.padEnd(20))
        .join("").trimEnd(),
  );
  return secretText([
    ...(note === "" ? [] : [note, ""]),
    `The ${list.length} words of this seed:`,
    "",
    ...table,
    "",
    "Write them on paper, with their numbers, and keep the paper safe.",
    "They bring the node's keys back if this card is lost. Nobody can",
    "show them to you again.",
    "",
    "Next: three of them are asked for, to see that the paper is right.",
  ]);
}

/** A question for one of the words. */
function typeBackQuestion(position: number): string {
  return `Word ${position} from your paper (hidden while you type): `;
}

/** The first screen of a restore from words. */
export function typingScreen(): string[] {
  return [
    "",
    "Type the words of the seed, in order, on one line or on several.",
    "They are not shown while you type. An empty line ends the list; a",
    "line with just ! forgets it, to start again.",
  ];
}

/** How far the typing of words has come. */
function typingQuestion(count: number): string {
  return count === 0
    ? "Words: "
    : `${count} words so far. More, or Enter alone when that is all: `;
}

/** Words that are not in the list, with what may have been meant. */
export function misspeltScreen(
  found: readonly { at: number; word: string; near: readonly string[] }[],
): Secret {
  const rows = found.map(({ at, word, near }) => {
    const meant = near.length === 0
      ? "nothing like it is in the list"
      : `did you mean ${near.join(", ")}?`;
    return `  word ${at}  ${printable(word)}: ${meant}`;
  });
  return secretText([
    "These are not words of a seed (BIP 39, English list):",
    "",
    ...rows,
    "",
    "The line they are in was not taken. Next: type that line again.",
  ]);
}

/** Before a passphrase of the words is asked for. */
export function wordsPassphraseScreen(): string[] {
  return [
    "",
    "A passphrase may belong to the words (lightningd's hsm-passphrase).",
    "With one, lightningd has to send it at each start, as it did before.",
    "Most seeds have none: then press Enter.",
  ];
}

/** Before a path is asked for. */
export function pathScreen(): string[] {
  return [
    "",
    "Core Lightning keeps it in its network's folder, for example",
    "~/.lightning/bitcoin/hsm_secret. The file is read, and left as it is.",
  ];
}

/** A file that is closed by a passphrase. */
export function unlockScreen(kind: string): string[] {
  return [
    "",
    "This hsm_secret is closed by a passphrase: it holds",
    `${kind}.`,
    "It is kept as it is, and lightningd goes on sending its passphrase.",
    "Type it now to see the node id; or press Enter to go on without.",
  ];
}

/** Who the seed is. */
export function nodeScreen(
  { nodeId, isNew }: Candidate,
  expected: readonly Expectation[],
): string[] {
  if (nodeId === null) {
    return [
      "",
      "Node id: not known until the node sends its passphrase.",
      ...expected.flatMap(({ nodeId, by }) => [
        `It could not be compared with the one that ${by} names:`,
        `  ${nodeId}`,
      ]),
    ];
  }
  return [
    "",
    "This seed makes the node id",
    `  ${nodeId}`,
    ...expected.map(({ by }) => `It is the one that ${by} names.`),
    ...(isNew ? ["It is new: no node had it before."] : []),
  ];
}

/** Before the seal. */
export function sealScreen(): string[] {
  return [
    "",
    "The seed is kept encrypted on the card. What opens it is asked for",
    "each time softkey starts, unless a file or a service manager has it",
    "(--key-file, --passphrase-file: see softkey --help).",
  ];
}

/** The end. */
export function doneScreen(plan: Plan, candidate: Candidate): string[] {
  const { nodeId, isNew } = candidate;
  return [
    "",
    ...(nodeId === null
      ? ["Done. The card holds the seed, sealed."]
      : ["Done. The card holds the seed, sealed, of node", `  ${nodeId}`]),
    ...(plan.passphrase !== null && isNew
      ? [
        "Your words belong together with lightningd's hsm-passphrase: to",
        "bring this node back you need both.",
      ]
      : []),
    ...(isNew ? [] : [
      "It was restored: it does not know the node's channels yet, and signs",
      "nothing for them until it does (softkey card adopt).",
      "Never let two signers serve one seed: stop the old one for good.",
    ]),
    ...nextLine(plan),
  ];
}

function nextLine({ node }: Plan): string[] {
  return node === null
    ? [
      "Next: softkey pair --card DIR 'STRING', with the string that",
      "remote_hsmd_mqtt pair shows, then softkey run --card DIR.",
    ]
    : ["Next: the node is answered."];
}

/** What a step asks; null where nothing is asked. */
export function questionOf(step: Step): SetupQuestion | null {
  switch (step.kind) {
    case "consent":
      return clear("Pair with this node? [yes/no] ");
    case "source":
      return clear("Which one? [1-4] ");
    case "shown":
      return { kind: "once", text: wordsScreen(step.words, step.note) };
    case "typeBack":
      return hidden(typeBackQuestion(step.positions[0] ?? 0));
    case "typing":
      return hidden(typingQuestion(countOf(step.words)));
    case "misspelt":
      return { kind: "once", text: step.problem };
    case "wordsPassphrase":
      return hidden("Passphrase of the words, or Enter for none: ");
    case "path":
      return clear("Path of the hsm_secret file: ");
    case "unlock":
      return hidden("Passphrase of the file, or Enter to go on without: ");
    case "confirm":
      return clear("Is this the node that you want? [yes/no] ");
    case "entropy":
    case "positions":
    case "reading":
    case "seal":
    case "storing":
    case "done":
    case "refused":
      return null;
  }
}

function clear(text: string): SetupQuestion {
  return { kind: "clear", text };
}

function hidden(text: string): SetupQuestion {
  return { kind: "hidden", text };
}

/** Text that is a secret. */
export function secretText(lines: readonly string[]): Secret {
  return new Secret(new TextEncoder().encode(lines.join("\n")));
}

/** A secret that is text. */
export function textOf(secret: Secret): string {
  return new TextDecoder().decode(secret.reveal());
}

/** How many words a secret list holds. */
export function countOf(words: Secret): number {
  const text = textOf(words);
  return text === "" ? 0 : text.split(" ").length;
}

/** What a person typed is for a terminal again. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?").slice(0, 20);
}
