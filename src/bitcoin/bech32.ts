/**
 * Texts of 32 letters: a prefix, the digit 1, then five bits a letter.
 *
 * Addresses and invoices are written so. Which checksum a text ends with, and
 * whether it may end with none, is for the reader of the text to ask.
 *
 * Standards: BIP 173 (Bech32), BIP 350 (Bech32m).
 *
 * What it does not do: bound the length (BIP 173 wants 90 letters at most, BOLT
 * 11 wants no bound), or say what is wrong. Time is linear in the length.
 *
 * @module
 */

const ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const VALUES: ReadonlyMap<string, number> = new Map(
  [...ALPHABET].map((letter, value) => [letter, value]),
);
const CHECKSUM_WORDS = 6;
const GENERATOR = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];
const CONSTANTS = { bech32: 1, bech32m: 0x2bc830a3 } as const;

/** Which of the two checksums. */
export type Bech32Kind = keyof typeof CONSTANTS;

/** A prefix in lower case, and numbers of five bits, one a byte. */
export interface Words {
  readonly prefix: string;
  readonly words: Uint8Array;
}

/** Reads a text without looking for a checksum (BOLT 12); null if it is none. */
export function splitWords(text: string): Words | null {
  const lower = text.toLowerCase();
  // BIP 173: printable ASCII of one case; folding may make ASCII of other text.
  if (!/^[\x21-\x7e]*$/.test(text)) return null;
  if (text !== lower && text !== text.toUpperCase()) return null;
  const separator = lower.lastIndexOf("1");
  if (separator < 1) return null;
  const words = new Uint8Array(lower.length - separator - 1);
  for (let i = 0; i < words.length; i++) {
    const value = VALUES.get(lower.charAt(separator + 1 + i));
    if (value === undefined) return null;
    words[i] = value;
  }
  return { prefix: lower.slice(0, separator), words };
}

/**
 * Reads a text that ends with a checksum, and takes that off. Null for what is
 * not such a text; a kind of null for a checksum that is neither's.
 */
export function decodeBech32(
  text: string,
): Words & { readonly kind: Bech32Kind | null } | null {
  const split = splitWords(text);
  if (split === null || split.words.length < CHECKSUM_WORDS) return null;
  const { prefix, words } = split;
  const kind = kindOf(checksum(prefix, words));
  return { prefix, words: words.subarray(0, -CHECKSUM_WORDS), kind };
}

function kindOf(residue: number): Bech32Kind | null {
  if (residue === CONSTANTS.bech32) return "bech32";
  return residue === CONSTANTS.bech32m ? "bech32m" : null;
}

/** Writes a prefix in lower case and words, with their checksum. */
export function encodeBech32(
  prefix: string,
  words: Uint8Array,
  kind: Bech32Kind,
): string {
  const padded = Uint8Array.of(...words, ...new Uint8Array(CHECKSUM_WORDS));
  const residue = checksum(prefix, padded) ^ CONSTANTS[kind];
  for (let i = 0; i < CHECKSUM_WORDS; i++) {
    padded[words.length + i] = residue >> 5 * (CHECKSUM_WORDS - 1 - i) & 31;
  }
  const letters = Array.from(padded, (word) => ALPHABET.charAt(word));
  return `${prefix}1${letters.join("")}`;
}

/** Bytes in these letters alone, without prefix or checksum: for a short name. */
export function encodeBech32Letters(bytes: Uint8Array): string {
  return Array.from(toWords(bytes), (word) => ALPHABET.charAt(word)).join("");
}

/** BIP 173: the words as a polynomial, modulo the generator. */
function checksum(prefix: string, words: Uint8Array): number {
  let residue = 1;
  const add = (value: number) => {
    const top = residue >>> 25;
    residue = (residue & 0x1ffffff) << 5 ^ value;
    GENERATOR.forEach((term, i) => {
      if ((top >> i & 1) === 1) residue ^= term;
    });
  };
  const codes = Array.from(prefix, (letter) => letter.charCodeAt(0));
  codes.forEach((code) => add(code >> 5));
  add(0);
  codes.forEach((code) => add(code & 31));
  words.forEach(add);
  return residue;
}

/** Words as bytes, zero bits added to fill the last one. */
export function toPaddedBytes(words: Uint8Array): Uint8Array {
  return regroup(words, 5, 8);
}

/** Words as bytes; null if more is left over than zeros of less than a word. */
export function toBytes(words: Uint8Array): Uint8Array | null {
  const padded = toPaddedBytes(words);
  const size = Math.floor(words.length * 5 / 8);
  const isWhole = words.length * 5 % 8 < 5;
  return isWhole && (padded[size] ?? 0) === 0 ? padded.subarray(0, size) : null;
}

/** Bytes as words, zero bits added to fill the last one. */
export function toWords(bytes: Uint8Array): Uint8Array {
  return regroup(bytes, 8, 5);
}

function regroup(from: Uint8Array, bits: number, newBits: number): Uint8Array {
  const to = new Uint8Array(Math.ceil(from.length * bits / newBits));
  let held = 0;
  let count = 0;
  let at = 0;
  for (const group of from) {
    held = (held << bits | group) & 0xffff;
    for (count += bits; count >= newBits; at++) {
      count -= newBits;
      to[at] = held >> count & (1 << newBits) - 1;
    }
  }
  if (count > 0) to[at] = held << newBits - count & (1 << newBits) - 1;
  return to;
}
