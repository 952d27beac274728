/**
 * From entropy, words or a file to a seed that may be stored, and whether it is
 * the node that is wanted. The same for a person at a terminal and for options.
 *
 * What it does not do: ask, read or write.
 *
 * @module
 */

import { publicKey } from "../../crypto/secp.ts";
import { Secret } from "../../crypto/secret.ts";
import {
  isMnemonic,
  isWord,
  nearWords,
  WORD_COUNTS,
  wordsOf,
} from "../../crypto/words.ts";
import {
  makeSecretFileOfWords,
  type NodeSecret,
  openSecretFile,
  parseSecretFile,
  SecretFileError,
} from "../../keyderiv.ts";
import { deriveNodeKeys } from "../../keyderiv/node.ts";
import type { Candidate, Expectation } from "./state.ts";

/** A new seed's words. */
export function newWords(entropy: Uint8Array): Secret {
  return new Secret(new TextEncoder().encode(wordsOf(entropy)));
}

/** Words one after the other, whatever stood between them. */
export function splitWords(text: string): readonly string[] {
  return text.toLowerCase().split(/[\s,]+/).filter((word) =>
    word !== "" && !/^\d+[.:)]?$/.test(word)
  );
}

/** A word that is not in the list. */
export interface Misspelt {
  /** Its number, from 1. */
  readonly at: number;
  readonly word: string;
  readonly near: readonly string[];
}

/** Every word that is not in the list; the first is number `from`. */
export function misspeltIn(
  words: readonly string[],
  from = 1,
): readonly Misspelt[] {
  return words
    .map((word, i) => ({ at: from + i, word }))
    .filter(({ word }) => !isWord(word))
    .map(({ at, word }) => ({ at, word, near: nearWords(word) }));
}

/** Why words of the list are no seed; null when they are one. */
export function wordsProblem(words: readonly string[]): string | null {
  if (!WORD_COUNTS.has(words.length)) {
    const counts = [...WORD_COUNTS.keys()].join(", ");
    return `found ${words.length} words, want one of ${counts}`;
  }
  if (isMnemonic(words.join(" "))) return null;
  return `all ${words.length} words are in the list, but their checksum does ` +
    "not fit: a word is another one, or in another place, than on the paper";
}

/** The seed of words. @throws {SecretFileError} when they are none */
export function candidateOfWords(
  words: string,
  passphrase: Secret | null,
  isNew: boolean,
): Candidate {
  const bytes = passphrase === null ? null : passphrase.reveal();
  return candidateOfFile(makeSecretFileOfWords(words, bytes), {
    passphrase,
    isNew,
  });
}

/** How a file is looked at. */
export interface FileOptions {
  readonly passphrase: Secret | null;
  readonly isNew?: boolean;
}

/**
 * The seed in a file of Core Lightning, of any kind; its node id is known where
 * the file opens.
 *
 * @throws {SecretFileError} when it is none, or the passphrase does not open it
 */
export function candidateOfFile(
  bytes: Uint8Array,
  { passphrase, isNew = false }: FileOptions,
): Candidate {
  const file = parseSecretFile(bytes);
  const nodeId = file.needsPassphrase && passphrase === null
    ? null
    : nodeIdOf(openSecretFile(file, {
      passphrase: file.needsPassphrase ? passphrase?.reveal() : undefined,
    }));
  return { file: new Secret(bytes), nodeId, isNew };
}

/** Whether a file needs a passphrase to be opened, and of which kind it is. */
export function closedKindOf(bytes: Uint8Array): string | null {
  const { kind, needsPassphrase } = parseSecretFile(bytes);
  if (!needsPassphrase) return null;
  return kind === "encrypted"
    ? "an encrypted seed of an older release"
    : "words with a passphrase";
}

/** The private node key of a file; null for one that does not open so. */
export function nodeKeyIn(
  bytes: Uint8Array,
  passphrase: Secret | null,
): Secret | null {
  const file = parseSecretFile(bytes);
  if (file.needsPassphrase && passphrase === null) return null;
  const unlock = file.needsPassphrase ? passphrase?.reveal() : undefined;
  const secret = openSecretFile(file, { passphrase: unlock });
  return deriveNodeKeys(secret).node.secret;
}

/** The node id that a seed makes, in hex. */
export function nodeIdOf(secret: NodeSecret): string {
  const { node } = deriveNodeKeys(secret);
  return publicKey(node.secret.reveal()).toHex();
}

/** Why a seed is not the wanted node's; null when it is, or nobody can tell. */
export function mismatchOf(
  { nodeId }: Candidate,
  expected: readonly Expectation[],
): string | null {
  if (nodeId === null) return null;
  const other = expected.find((wanted) => wanted.nodeId !== nodeId);
  if (other === undefined) return null;
  return `Cannot use this seed: it is node ${nodeId}, want ${other.nodeId} ` +
    `(${other.by})`;
}

/** The owner's words for a file that cannot be used. */
export function fileProblem(error: SecretFileError): string {
  switch (error.failure) {
    case "wrongPassphrase":
      return "Cannot open the hsm_secret: this passphrase does not fit";
    case "invalidMnemonic":
      return "Cannot use the hsm_secret: its words are no seed, want the file " +
        "that Core Lightning wrote";
    case "passphraseRequired":
    case "passphraseNotNeeded":
    case "invalidFormat":
      return "Cannot use the file: it is no hsm_secret, want 32 bytes or more " +
        "as Core Lightning wrote them";
  }
}
