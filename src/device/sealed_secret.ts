/**
 * A sealed file, byte by byte: a seed (`seed.sealed`) or a backup of a card, of
 * use only to who has the passphrase or the key file.
 *
 * | offset | size | what |
 * | --- | --- | --- |
 * | 0 | 8 | `SKSEALED` |
 * | 8 | 1 | format: 1 |
 * | 9 | 1 | content: 1 seed (a CLN `hsm_secret` file of any kind), 2 backup |
 * | 10 | 1 | key: 1 passphrase (scrypt), 2 key file (HKDF) |
 * | 11 | 3 | scrypt's log2 N, r, p; zeros with a key file |
 * | 14 | 16 | salt of scrypt or HKDF, new with each seal |
 * | 30 | 12 | nonce, new with each seal |
 * | 42 | 33 | node id that the seed belongs to; zeros: not known |
 * | 75 | 4 | size n of the sealed text, big-endian |
 * | 79 | n | ChaCha20-Poly1305: ciphertext, 16 bytes of tag |
 * | 79 + n | 32 | SHA-256 of all bytes before |
 *
 * The first 79 bytes are the cipher's associated data: a changed one opens
 * nothing. The sum at the end keeps no secret and stops no attacker; by it a
 * damaged file is found without the passphrase.
 *
 * Standards: RFC 8439, RFC 7914, RFC 5869 (`crypto/sealing.ts`).
 *
 * What it does not do: read or write files, or ask for a passphrase.
 *
 * @module
 */

import { sha256 } from "../crypto/hash.ts";
import {
  keyOfFile,
  openText,
  scrypt,
  SCRYPT_COST,
  type ScryptCost,
  scryptProblem,
  SEAL_KEY_SIZE,
  SEAL_NONCE_SIZE,
  SEAL_SALT_SIZE,
  SEAL_TAG_SIZE,
  sealText,
} from "../crypto/sealing.ts";
import { isEqualConstantTime, Secret } from "../crypto/secret.ts";
import { DecodeError } from "../errors.ts";
import {
  choice,
  decode,
  encode,
  fixed,
  struct,
  u8,
  type ValueOf,
  varBytes,
} from "../wire/codec.ts";
import { OwnerError } from "./owner_error.ts";

/** What opens a seal. */
export interface SealKey {
  readonly kind: SealKind;
  /** The passphrase's UTF-8, or the content of the key file. */
  readonly bytes: Secret;
}

/** What a seal was made with. */
export type SealKind = "passphrase" | "file";

/** What is inside a sealed file. */
export type SealedContent = "seed" | "backup";

const MAGIC = new TextEncoder().encode("SKSEALED");
const FORMAT = 1;
const CONTENTS = { seed: 1, backup: 2 } as const;
const KINDS = { passphrase: 1, file: 2 } as const;
const NODE_ID_SIZE = 33;
const HEADER_SIZE = 79;
const SUM_SIZE = 32;

const sealedFile = struct("sealed file", {
  magic: fixed<Uint8Array>("magic", MAGIC.length),
  format: choice("format", [FORMAT]),
  content: choice("content", Object.values(CONTENTS)),
  kind: choice("kind of key", Object.values(KINDS)),
  logN: u8,
  r: u8,
  p: u8,
  salt: fixed<Uint8Array>("salt", SEAL_SALT_SIZE),
  nonce: fixed<Uint8Array>("nonce", SEAL_NONCE_SIZE),
  nodeId: fixed<Uint8Array>("node id", NODE_ID_SIZE),
  text: varBytes("sealed text", 32),
  sum: fixed<Uint8Array>("SHA-256", SUM_SIZE),
});
type SealedFile = ValueOf<typeof sealedFile>;

const NO_COST: ScryptCost = { logN: 0, r: 0, p: 0 };

/** What is to be sealed. */
export interface ToSeal {
  readonly content: SealedContent;
  readonly text: Uint8Array;
  readonly key: SealKey;
  readonly nodeId: Uint8Array | null;
  /** Of scrypt; what new seals cost when it is not given. */
  readonly cost?: ScryptCost;
}

/** A sealed file with this content. */
export function sealFile(
  { content, text, key, nodeId, cost = SCRYPT_COST }: ToSeal,
): Uint8Array<ArrayBuffer> {
  const start = {
    magic: MAGIC,
    format: FORMAT,
    content: CONTENTS[content],
    kind: KINDS[key.kind],
    ...(key.kind === "passphrase" ? cost : NO_COST),
    salt: random(SEAL_SALT_SIZE),
    nonce: random(SEAL_NONCE_SIZE),
    nodeId: nodeId ?? new Uint8Array(NODE_ID_SIZE),
  } as const;
  const sealed = new Uint8Array(text.length + SEAL_TAG_SIZE);
  const sum = new Uint8Array(SUM_SIZE);
  const file = encode(sealedFile, { ...start, text: sealed, sum });
  const opener = openerOf(key, start);
  file.set(
    sealText(
      { key: opener, nonce: start.nonce, header: headerOf(file) },
      text,
    ),
    HEADER_SIZE,
  );
  opener.fill(0);
  file.set(sumOf(file), file.length - SUM_SIZE);
  return file;
}

/**
 * What a sealed file holds.
 *
 * @throws {DecodeError} when the file is damaged, or of another kind
 * @throws {OwnerError} rightKey, when the key is not the one it was sealed with
 */
export function openFile(
  bytes: Uint8Array,
  content: SealedContent,
  key: SealKey,
): Secret {
  const file = decodeSealed(bytes, content);
  const kind = kindOf(file);
  if (kind !== key.kind) throw wrongKind(kind, content);
  const opener = openerOf(key, file);
  const { nonce, text } = file;
  const opened = openText(
    { key: opener, nonce, header: headerOf(bytes) },
    text,
  );
  opener.fill(0);
  if (opened === null) throw wrongKey(kind, content);
  const secret = new Secret(opened);
  opened.fill(0);
  return secret;
}

/** Seals the bytes of an `hsm_secret` file of any kind. */
export function sealSecret(
  file: Uint8Array,
  key: SealKey,
  nodeId: Uint8Array | null,
  cost: ScryptCost = SCRYPT_COST,
): Uint8Array<ArrayBuffer> {
  return sealFile({ content: "seed", text: file, key, nodeId, cost });
}

/**
 * The bytes of the `hsm_secret` file that was sealed.
 *
 * @throws {DecodeError} when the sealed file is damaged
 * @throws {OwnerError} rightKey, when the key is not the one
 */
export function openSealed(bytes: Uint8Array, key: SealKey): Secret {
  return openFile(bytes, "seed", key);
}

/** Node id that is written on a sealed file; null where none is. @throws {DecodeError} */
export function sealedNodeId(bytes: Uint8Array): Uint8Array | null {
  const { nodeId } = decodeSealed(bytes);
  return nodeId.every((byte) => byte === 0) ? null : nodeId;
}

/** What kind of key a sealed file wants. @throws {DecodeError} */
export function sealedKind(bytes: Uint8Array): SealKind {
  return kindOf(decodeSealed(bytes));
}

/** Whether a sealed file is whole, as far as that shows without its key. @throws {DecodeError} */
export function checkSealed(bytes: Uint8Array, content: SealedContent): void {
  decodeSealed(bytes, content);
}

/** Where the header ends: all of it is associated data. */
function headerOf(file: Uint8Array): Uint8Array {
  return file.subarray(0, HEADER_SIZE);
}

function sumOf(file: Uint8Array): Uint8Array {
  return sha256(file.subarray(0, file.length - SUM_SIZE));
}

function kindOf({ kind }: Pick<SealedFile, "kind">): SealKind {
  return kind === KINDS.passphrase ? "passphrase" : "file";
}

function openerOf(
  { kind, bytes }: SealKey,
  { salt, logN, r, p }: ScryptCost & Pick<SealedFile, "salt">,
): Uint8Array {
  if (kind === "file") return keyOfFile(bytes.reveal(), salt);
  const passphrase = bytes.reveal();
  return scrypt({ passphrase, salt, logN, r, p, length: SEAL_KEY_SIZE });
}

function decodeSealed(
  bytes: Uint8Array,
  content: SealedContent | null = null,
): SealedFile {
  const name = sealedFile.name;
  const isSealed = bytes.length > MAGIC.length &&
    isEqualConstantTime(bytes.subarray(0, MAGIC.length), MAGIC);
  if (!isSealed) throw new DecodeError(name, "magic", 0, "not a sealed file");
  const file = decode(sealedFile, bytes);
  if (!isEqualConstantTime(sumOf(bytes), file.sum)) {
    const at = bytes.length - SUM_SIZE;
    throw new DecodeError(name, "sum", at, "the file was changed or damaged");
  }
  if (content !== null && file.content !== CONTENTS[content]) {
    const found = content === "seed" ? "backup" : "seed";
    throw new DecodeError(name, "content", 9, `a ${found}, want a ${content}`);
  }
  const problem = costProblem(file);
  if (problem !== null) throw new DecodeError(name, "scrypt", 11, problem);
  return file;
}

function costProblem(file: SealedFile): string | null {
  if (kindOf(file) === "passphrase") return scryptProblem(file);
  const { logN, r, p } = file;
  return logN + r + p === 0 ? null : "costs with a key file, want zeros";
}

const THINGS = { seed: "card", backup: "backup" } as const;

function wrongKey(kind: SealKind, content: SealedContent): OwnerError {
  return new OwnerError(
    "rightKey",
    kind === "passphrase"
      ? `Wrong passphrase: it does not open the ${THINGS[content]}`
      : `Wrong key file: it does not open the ${THINGS[content]}`,
  );
}

function wrongKind(kind: SealKind, content: SealedContent): OwnerError {
  const thing = THINGS[content];
  return new OwnerError(
    "rightKey",
    kind === "passphrase"
      ? `Cannot open the ${thing}: it is sealed with a passphrase, want that ` +
        "in place of a key file"
      : `Cannot open the ${thing}: it is sealed with a key file, want that ` +
        "(--key-file) in place of a passphrase",
  );
}

function random(size: number): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(size));
}
