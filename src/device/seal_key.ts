/**
 * Where the key of a card's seal comes from: the first of these that is given.
 *
 * | source | is |
 * | --- | --- |
 * | --key-file FILE | a file of 32 bytes or more; made for a new seal |
 * | --passphrase-file FILE | a passphrase; one line end is cut off |
 * | --passphrase-fd N | the same, from an open descriptor |
 * | $CREDENTIALS_DIRECTORY/softkey-key | a key file (systemd's LoadCredential=) |
 * | $CREDENTIALS_DIRECTORY/softkey-passphrase | a passphrase |
 * | the terminal | a passphrase; a new one is typed twice |
 *
 * What it does not do: take a passphrase from an argument or the environment,
 * where others see it; keep it.
 *
 * @module
 */

import { Secret } from "../crypto/secret.ts";
import { describeError, UsageError } from "../errors.ts";
import type { Options } from "./arguments.ts";
import { makeFile, randomBytes } from "./card.ts";
import { readNamed, withoutLineEnd } from "./named_file.ts";
import { OwnerError } from "./owner_error.ts";
import type { Prompter } from "./prompt.ts";
import {
  openFile,
  type SealedContent,
  sealedKind,
  type SealKey,
  type SealKind,
} from "./sealed_secret.ts";
import { write } from "./terminal.ts";

export type { SealKey, SealKind } from "./sealed_secret.ts";

/** To open what is sealed, or to seal it anew. */
export type SealPurpose = "open" | "new";

/** The options that name a source. */
export type SealOptions = Pick<
  Options,
  "key-file" | "passphrase-file" | "passphrase-fd"
>;

/** Least characters of a new passphrase. */
const LEAST_PASSPHRASE = 8;

const LEAST_KEY_FILE = 32;
const MOST_KEY_FILE = 1024 * 1024;
const MOST_PASSPHRASE = 4096;
/** How often a passphrase may be typed. */
const TRIES = 3;

/** What names itself, and can be read. */
interface Source {
  readonly kind: SealKind;
  /** As the owner named it. */
  readonly name: string;
  readonly path: string;
  /** Made when it is missing and a new seal wants it. */
  readonly isMade: boolean;
  /** Whether its mode says who can read it. */
  readonly hasMode: boolean;
}

/**
 * The key of a seal.
 *
 * @throws {OwnerError} key, when there is none
 */
export async function findSealKey(
  options: SealOptions,
  prompter: Prompter | null,
  purpose: SealPurpose,
  warn: (text: string) => void = warnOnStderr,
): Promise<SealKey> {
  const source = await sourceOf(options);
  if (source !== null) return await readSource(source, purpose, warn);
  if (prompter === null) {
    throw new OwnerError(
      "key",
      purpose === "open"
        ? "Cannot open the card: no passphrase, want --passphrase-file, " +
          "--passphrase-fd or --key-file, or a terminal to type it"
        : "Cannot seal the card: no passphrase, want --passphrase-file, " +
          "--passphrase-fd or --key-file, or a terminal to type one",
    );
  }
  return purpose === "open"
    ? passphraseKey(await prompter.askHidden("Passphrase of the card: "))
    : await newPassphrase(prompter);
}

/** Whether a key is there without a person. */
export async function namesSealKey(options: SealOptions): Promise<boolean> {
  return await sourceOf(options) !== null;
}

/** What is in a sealed file, and the key that opened it. */
export interface Unsealed {
  readonly secret: Secret;
  readonly key: SealKey;
}

/**
 * Opens a sealed file with the owner's key; one that is typed may be wrong twice.
 *
 * @throws {OwnerError} key or rightKey
 * @throws {DecodeError} for a file that is damaged
 */
export async function unseal(
  bytes: Uint8Array,
  content: SealedContent,
  options: SealOptions,
  prompter: Prompter | null,
): Promise<Unsealed> {
  const isTyped = await sourceOf(options) === null;
  if (isTyped && sealedKind(bytes) === "file") {
    throw new OwnerError(
      "key",
      "Cannot open the seal: it wants its key file, name that with --key-file",
    );
  }
  for (let left = isTyped ? TRIES : 1;; left--) {
    const key = await findSealKey(options, prompter, "open");
    try {
      return { secret: openFile(bytes, content, key), key };
    } catch (error) {
      key.bytes.wipe();
      const isWrong = error instanceof OwnerError &&
        error.missing === "rightKey";
      if (!isWrong || left <= 1) throw error;
      prompter?.show("That is not the passphrase. Try again.");
    }
  }
}

/** A typed passphrase as a key. @throws {OwnerError} for an empty one */
function passphraseKey(text: string): SealKey {
  const bytes = new TextEncoder().encode(text);
  return checkedPassphrase(bytes, "the passphrase", "open");
}

/** A new passphrase, typed twice. @throws {OwnerError} key */
export async function newPassphrase(prompter: Prompter): Promise<SealKey> {
  for (let left = TRIES;; left--) {
    const first = await prompter.askHidden(
      `New passphrase for the card (${LEAST_PASSPHRASE} characters or more): `,
    );
    const problem = await problemOfNew(first, prompter);
    if (problem === null) return passphraseKey(first);
    if (left <= 1) {
      throw new OwnerError("key", `Cannot seal the card: ${problem}`);
    }
    prompter.show(`${capital(problem)}. Try again.`);
  }
}

async function problemOfNew(
  first: string,
  prompter: Prompter,
): Promise<string | null> {
  if ([...first].length < LEAST_PASSPHRASE) {
    return `the passphrase is too short, want ${LEAST_PASSPHRASE} characters ` +
      "or more";
  }
  const second = await prompter.askHidden("The same passphrase again: ");
  return second === first ? null : "the two passphrases are not the same";
}

async function sourceOf(options: SealOptions): Promise<Source | null> {
  const named = namedSource(options);
  if (named !== null) return named;
  const folder = Deno.env.get("CREDENTIALS_DIRECTORY");
  if (folder === undefined || folder === "") return null;
  for (const [file, kind] of CREDENTIALS) {
    const path = `${folder}/${file}`;
    if (!await exists(path)) continue;
    const name = `the credential ${file}`;
    return { kind, name, path, isMade: false, hasMode: false };
  }
  return null;
}

const CREDENTIALS = [
  ["softkey-key", "file"],
  ["softkey-passphrase", "passphrase"],
] as const;

function namedSource(options: SealOptions): Source | null {
  const keyFile = options["key-file"];
  if (keyFile !== undefined) return fileSource("file", keyFile);
  const passphraseFile = options["passphrase-file"];
  if (passphraseFile !== undefined) {
    return fileSource("passphrase", passphraseFile);
  }
  const descriptor = options["passphrase-fd"];
  return descriptor === undefined ? null : descriptorSource(descriptor);
}

/** A key in a file that the owner names. */
function fileSource(kind: SealKind, path: string): Source {
  const option = kind === "file" ? "--key-file" : "--passphrase-file";
  const name = `${option} ${path}`;
  return { kind, name, path, isMade: kind === "file", hasMode: true };
}

function descriptorSource(text: string): Source {
  if (!/^\d{1,6}$/.test(text)) {
    throw new UsageError(
      `Cannot use --passphrase-fd ${JSON.stringify(text)}: want the number ` +
        "of an open descriptor",
    );
  }
  return {
    kind: "passphrase",
    name: `--passphrase-fd ${text}`,
    path: `/dev/fd/${text}`,
    isMade: false,
    hasMode: false,
  };
}

async function readSource(
  source: Source,
  purpose: SealPurpose,
  warn: (text: string) => void,
): Promise<SealKey> {
  const { kind, name, path, isMade, hasMode } = source;
  if (purpose === "new" && isMade && !await exists(path)) {
    await makeKeyFile(path);
  }
  const content = await readNamed(source.path, source.name, "key");
  if (hasMode && await isReadByOthers(path)) {
    warn(`warning: others can read ${path}: chmod 400 it`);
  }
  return kind === "file"
    ? checkedFile(content, name)
    : checkedPassphrase(withoutLineEnd(content), name, purpose);
}

/** The key in a file that the owner names. @throws {OwnerError} key */
export function keyFromFile(
  kind: SealKind,
  path: string,
  purpose: SealPurpose,
  warn: (text: string) => void = warnOnStderr,
): Promise<SealKey> {
  return readSource(fileSource(kind, path), purpose, warn);
}

async function makeKeyFile(path: string): Promise<void> {
  try {
    await makeFile(path, randomBytes(LEAST_KEY_FILE), 0o400);
  } catch (cause) {
    const text = `Cannot make the key file ${path}: ${describeError(cause)}`;
    throw new OwnerError("key", text, { cause });
  }
}

function checkedFile(content: Uint8Array, name: string): SealKey {
  const { length } = content;
  if (length < LEAST_KEY_FILE || length > MOST_KEY_FILE) {
    throw new OwnerError(
      "key",
      `Cannot use ${name}: ${length} bytes, want ${LEAST_KEY_FILE} to ` +
        `${MOST_KEY_FILE}`,
    );
  }
  return taken("file", content);
}

function checkedPassphrase(
  content: Uint8Array,
  name: string,
  purpose: SealPurpose,
): SealKey {
  const size = new TextDecoder().decode(content).length;
  const least = purpose === "new" ? LEAST_PASSPHRASE : 1;
  if (size < least || size > MOST_PASSPHRASE) {
    throw new OwnerError(
      "key",
      `Cannot use ${name}: ${size} characters, want ${least} to ` +
        `${MOST_PASSPHRASE}`,
    );
  }
  return taken("passphrase", content);
}

/** A key of its own; the bytes that it was read from are overwritten. */
function taken(kind: SealKind, content: Uint8Array): SealKey {
  const bytes = new Secret(content);
  content.fill(0);
  return { kind, bytes };
}

async function isReadByOthers(path: string): Promise<boolean> {
  const { mode } = await Deno.stat(path);
  return mode !== null && (mode & 0o077) !== 0;
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

function warnOnStderr(text: string): void {
  write(Deno.stderr, `softkey: ${text}\n`);
}
