/**
 * The file `hsm_secret`, in every form that Core Lightning has written it in.
 *
 * | bytes | kind | the seed is |
 * | --- | --- | --- |
 * | 32 | plain | the file |
 * | 73 | encrypted, before v25.12 | one libsodium secretstream message of 32 |
 * | more | mnemonic | BIP 39: 64 bytes from words and passphrase |
 *
 * A mnemonic file starts with 32 bytes: zeros for "no passphrase", else the
 * SHA-256 of the seed, by which a wrong passphrase is known.
 *
 * Failures are those of the stock hsmd, with its numbers and words: lightningd
 * prints the one and exits with the other.
 *
 * What it does not do: read or write files, find entropy, or encrypt.
 *
 * @module
 */

import { argon2id, sha256, stretchWords } from "../crypto/hash.ts";
import { isEqualConstantTime, Secret } from "../crypto/secret.ts";
import {
  openSecretstream,
  SECRETSTREAM_HEADER,
  SECRETSTREAM_OVERHEAD,
} from "../crypto/secretstream.ts";
import { isMnemonic, wordsOf as mnemonicOf } from "../crypto/words.ts";
import type { SECRET_TYPES } from "../wire/hsmd.ts";

/** Kinds of file, by the names of the init reply. */
export type SecretKind = keyof typeof SECRET_TYPES;

const PLAIN_SIZE = 32;
const ENCRYPTED_SIZE = SECRETSTREAM_HEADER + PLAIN_SIZE + SECRETSTREAM_OVERHEAD;
const PREFIX_SIZE = 32;

const FAILURES = {
  passphraseRequired: { code: 1, text: "Passphrase required but not provided" },
  passphraseNotNeeded: { code: 2, text: "Passphrase provided but not needed" },
  wrongPassphrase: { code: 3, text: "Wrong passphrase" },
  invalidMnemonic: { code: 4, text: "Invalid mnemonic" },
  invalidFormat: { code: 7, text: "Invalid hsm_secret format" },
} as const;

/** Why a file cannot be opened. */
export type SecretFailure = keyof typeof FAILURES;

/** A file that cannot be opened; what lightningd is told in an init failure. */
export class SecretFileError extends Error {
  override readonly name = "SecretFileError";
  readonly failure: SecretFailure;
  /** The stock hsmd's number, which becomes lightningd's exit status. */
  readonly code: number;

  constructor(failure: SecretFailure) {
    super(`Failed to load hsm_secret: ${FAILURES[failure].text}`);
    this.failure = failure;
    this.code = FAILURES[failure].code;
  }
}

/** A file whose form is known and whose content is not. */
export interface SecretFile {
  readonly kind: SecretKind;
  /** Whether it can be opened with a passphrase (or its key) only. */
  readonly needsPassphrase: boolean;
  readonly bytes: Secret;
}

/** What comes out of a file: everything else is derived from it. */
export interface NodeSecret {
  readonly kind: SecretKind;
  /** 32 bytes, or 64 for a mnemonic. */
  readonly seed: Secret;
}

/** What opens a file. */
export interface Unlock {
  readonly passphrase?: Uint8Array | undefined;
  /** The Argon2id key of an encrypted file, which old releases send. */
  readonly encryptionKey?: Uint8Array | undefined;
}

/** @throws {SecretFileError} for fewer than 32 bytes */
export function parseSecretFile(bytes: Uint8Array): SecretFile {
  const kind = kindOf(bytes);
  return {
    kind,
    needsPassphrase: kind === "encrypted" || kind === "mnemonicWithPassphrase",
    bytes: new Secret(bytes),
  };
}

function kindOf(bytes: Uint8Array): SecretKind {
  if (bytes.length < PLAIN_SIZE) throw new SecretFileError("invalidFormat");
  if (bytes.length === PLAIN_SIZE) return "plain";
  if (bytes.length === ENCRYPTED_SIZE) return "encrypted";
  return bytes.subarray(0, PREFIX_SIZE).every((byte) => byte === 0)
    ? "mnemonic"
    : "mnemonicWithPassphrase";
}

/**
 * A new file, as the stock hsmd makes one: words without a passphrase.
 *
 * @param entropy 16 bytes for 12 words; from a source fit for keys
 */
export function makeSecretFile(entropy: Uint8Array): Uint8Array {
  const words = new TextEncoder().encode(mnemonicOf(entropy));
  return Uint8Array.of(...new Uint8Array(PREFIX_SIZE), ...words);
}

/**
 * The file of words that exist, as the stock hsmd would have made it.
 *
 * @param passphrase as lightningd sends it with each init; null for none
 * @throws {SecretFileError} when the words are no mnemonic
 */
export function makeSecretFileOfWords(
  words: string,
  passphrase: Uint8Array | null,
): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(words);
  checkWords(text);
  // An empty one counts: the stock hsmd goes by whether one was sent.
  const prefix = passphrase === null
    ? new Uint8Array(PREFIX_SIZE)
    : sha256(stretch(text, passphrase));
  return Uint8Array.of(...prefix, ...text);
}

/** @throws {SecretFileError} with the stock hsmd's code and words */
export function openSecretFile(
  file: SecretFile,
  unlock: Unlock = {},
): NodeSecret {
  const { kind } = file;
  switch (kind) {
    case "plain":
      // A passphrase for a plain file is ignored, as the stock hsmd does.
      return { kind, seed: new Secret(file.bytes.reveal()) };
    case "encrypted":
      return { kind, seed: decryptFile(file.bytes.reveal(), unlock) };
    case "mnemonic":
      if (unlock.passphrase) throw new SecretFileError("passphraseNotNeeded");
      return { kind, seed: openWords(file.bytes.reveal()) };
    case "mnemonicWithPassphrase":
      return {
        kind,
        seed: openLockedWords(file.bytes.reveal(), unlock.passphrase),
      };
  }
}

/** Common/hsm_secret: libsodium's "moderate" Argon2id over a fixed salt. */
const ENCRYPTION_SALT = new Uint8Array(16);
new TextEncoder().encodeInto("c-lightning", ENCRYPTION_SALT);

/** The key that a passphrase of an encrypted file stands for. Takes seconds. */
export function deriveEncryptionKey(passphrase: Uint8Array): Secret {
  return new Secret(argon2id({
    passphrase,
    salt: ENCRYPTION_SALT,
    passes: 3,
    memory: 256 * 1024,
    length: 32,
  }));
}

function decryptFile(
  bytes: Uint8Array,
  { passphrase, encryptionKey }: Unlock,
): Secret {
  if (!passphrase && !encryptionKey) {
    throw new SecretFileError("passphraseRequired");
  }
  const key = passphrase
    ? deriveEncryptionKey(passphrase)
    : new Secret(encryptionKey ?? new Uint8Array(32));
  const seed = openSecretstream(
    key.reveal(),
    bytes.subarray(0, SECRETSTREAM_HEADER),
    bytes.subarray(SECRETSTREAM_HEADER),
  );
  if (seed === null) throw new SecretFileError("wrongPassphrase");
  return new Secret(seed);
}

/** The words as C sees them: up to the first NUL. */
function wordsOf(bytes: Uint8Array): Uint8Array {
  const words = bytes.subarray(PREFIX_SIZE);
  const end = words.indexOf(0);
  return end < 0 ? words : words.subarray(0, end);
}

/** BIP 39, with the bytes of both as they are. */
function stretch(words: Uint8Array, passphrase: Uint8Array): Uint8Array {
  const prefix = new TextEncoder().encode("mnemonic");
  const salt = new Uint8Array(prefix.length + passphrase.length);
  salt.set(prefix);
  salt.set(passphrase, prefix.length);
  return stretchWords(words, salt);
}

function checkWords(words: Uint8Array): void {
  const text = String.fromCharCode(...words.subarray(0, 1000));
  if (words.length > 1000 || !isMnemonic(text)) {
    throw new SecretFileError("invalidMnemonic");
  }
}

function openWords(bytes: Uint8Array): Secret {
  const words = wordsOf(bytes);
  checkWords(words);
  return new Secret(stretch(words, new Uint8Array()));
}

/**
 * A seed from words that a person typed, with the passphrase that goes with
 * them, empty for none. There is no prefix to check the passphrase against: a
 * wrong one gives another node.
 *
 * @throws {SecretFileError} when the words are no mnemonic
 */
export function openTypedWords(
  words: string,
  passphrase: Uint8Array,
): NodeSecret {
  const bytes = new TextEncoder().encode(words);
  checkWords(bytes);
  const kind = passphrase.length === 0 ? "mnemonic" : "mnemonicWithPassphrase";
  return { kind, seed: new Secret(stretch(bytes, passphrase)) };
}

/** The passphrase is judged before the words, as the stock hsmd does. */
function openLockedWords(
  bytes: Uint8Array,
  passphrase: Uint8Array | undefined,
): Secret {
  if (!passphrase) throw new SecretFileError("passphraseRequired");
  const words = wordsOf(bytes);
  const seed = stretch(words, passphrase);
  const prefix = bytes.subarray(0, PREFIX_SIZE);
  if (!isEqualConstantTime(sha256(seed), prefix)) {
    throw new SecretFileError("wrongPassphrase");
  }
  checkWords(words);
  return new Secret(seed);
}
