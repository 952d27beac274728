/**
 * `softkey control-key`: writes the key that an owner signs control messages
 * with.
 *
 *     control-key --card DIR --out FILE
 *
 * The file is one line of 64 hex characters, is new, and is readable by its owner
 * only. It is for `remote_hsmd_mqtt control --key FILE`, best on another machine
 * than the node's: who has it can change the policy. The key is of the seed, so a
 * card that was restored from its words has the same.
 *
 * A softkey may run with the card meanwhile: only the seed is read.
 *
 * What it does not do: show the key.
 *
 * @module
 */

import { Secret } from "../../crypto/secret.ts";
import { describeError, UsageError } from "../../errors.ts";
import { deriveControlKey } from "../../keyderiv/control_key.ts";
import { type Arguments, noMore, type Options, wanted } from "../arguments.ts";
import { findCard, makeFile } from "../card.ts";
import { OwnerError } from "../owner_error.ts";
import type { Prompter } from "../prompt.ts";
import { readSeedFile } from "../setup/prepare.ts";
import { openNodeSecret, readSeed } from "../setup/seed.ts";
import { openTerminal, print } from "../terminal.ts";

/** Runs `control-key`. */
export async function controlKey(
  { options, words }: Arguments,
): Promise<number> {
  noMore(words);
  wanted(options, "card");
  const path = wanted(options, "out");
  const prompter = openTerminal();
  const file = await seedOf(options, prompter);
  const secret = await openNodeSecret({ file, options, prompter });
  const { secret: key, point } = deriveControlKey(secret);
  await writeKey(path, key);
  print(`control key written: ${path}`);
  print(`its public key: ${point.toHex()}`);
  return 0;
}

/** The seed that --hsm-secret names, or the card's. */
async function seedOf(
  options: Options,
  prompter: Prompter | null,
): Promise<Secret> {
  const path = options["hsm-secret"];
  if (path !== undefined) {
    return new Secret(await readSeedFile(path, "--hsm-secret"));
  }
  const folder = wanted(options, "card");
  const card = await findCard(folder);
  const seed = card && await readSeed(card, { options, prompter, say: print });
  if (seed !== null) return seed;
  throw new OwnerError(
    "seed",
    `Cannot derive a key from the card ${folder}: it has no seed, want ` +
      "softkey restore first, or --hsm-secret FILE",
  );
}

async function writeKey(path: string, key: Secret): Promise<void> {
  const line = new TextEncoder().encode(`${key.reveal().toHex()}\n`);
  try {
    await makeFile(path, line, 0o600);
  } catch (cause) {
    const why = cause instanceof Deno.errors.AlreadyExists
      ? "there is such a file, want a new name"
      : describeError(cause);
    throw new UsageError(`Cannot write the key to ${path}: ${why}`, { cause });
  } finally {
    line.fill(0);
  }
}
