/**
 * BIP 39 mnemonics: whether a text is one, and the one of some entropy.
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
