/**
 * BIP 39 mnemonics: whether a text is one, the one of some entropy, and what a
 * person meant who typed a word that is not in the list.
 *
 * The only file that imports the word list. It is as strict as the stock hsmd:
 * the file must hold 12, 15, 18, 21 or 24 words of the English list, with single
 * spaces between them and a valid checksum, and nothing else, not even a
 * newline.
 *
 * What it does not do: make the seed out of it (`hash.ts`, stretchWords), which
 * CLN does over the bytes as they stand, without Unicode normalisation.
 *
 * @module
 */

import { entropyToMnemonic, validateMnemonic } from "@scure/bip39";
import { wordlist } from "@scure/bip39/wordlists/english.js";

const WORDS = /^[a-z]+(?: [a-z]+)*$/;

/** Whether the text is a mnemonic with a valid checksum. */
export function isMnemonic(text: string): boolean {
  // The library would normalise Unicode first, which the stock hsmd does not.
  return WORDS.test(text) && validateMnemonic(text, wordlist);
}

/** The words of 16 to 32 bytes of entropy; the last one checks the others. */
export function wordsOf(entropy: Uint8Array): string {
  return entropyToMnemonic(entropy, wordlist);
}

/** How many words a mnemonic may have, and the bytes of entropy in them. */
export const WORD_COUNTS: ReadonlyMap<number, number> = new Map([
  [12, 16],
  [15, 20],
  [18, 24],
  [21, 28],
  [24, 32],
]);

/** Whether a word is in the list. */
export function isWord(word: string): boolean {
  return wordlist.includes(word);
}

/** Words of the list that are most like this one, the nearest first. */
export function nearWords(word: string, most = 3): readonly string[] {
  return wordlist
    .map((candidate) => ({ candidate, distance: likeness(word, candidate) }))
    .filter(({ distance }) => distance <= FARTHEST)
    .sort((a, b) => a.distance - b.distance)
    .slice(0, most)
    .map(({ candidate }) => candidate);
}

/** Slips of the finger that still count as the same word. */
const FARTHEST = 2;
/** Four letters name a word of the list (BIP 39): what follows may be wrong. */
const TELLING_LETTERS = 4;

function likeness(typed: string, candidate: string): number {
  const telling = typed.slice(0, TELLING_LETTERS);
  const isTold = telling.length >= TELLING_LETTERS &&
    candidate.startsWith(telling);
  return isTold ? 0 : editDistance(typed, candidate);
}

/** Letters left out, added, changed or swapped with the next one. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1];
      const isSwapped = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const costs = [at(row, j) + 1, at(next, j - 1) + 1];
      costs.push(at(row, j - 1) + (isSame ? 0 : 1));
      if (isSwapped) costs.push(at(before, j - 2) + 1);
      next.push(Math.min(...costs));
    }
    before = row;
    row = next;
  }
  return at(row, b.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Infinity;
}
