/**
 * `remote_hsmd_mqtt verify`: is this backup the backup of the paired device?
 *
 * The backup is typed, or its file is named, at a prompt: an argument would stay
 * in the shell's history and show in the process list. What is typed is not
 * shown, not kept and not sent anywhere; only public keys are compared.
 *
 * @module
 */

import { isMnemonic } from "../crypto/words.ts";
import { NETWORKS } from "../bitcoin/networks.ts";
import {
  checkIdentity,
  type DeviceIdentity,
  FilePairingBook,
} from "../broker/pairing.ts";
import { IdentityError, UsageError } from "../errors.ts";
import {
  deriveNodeIdentity,
  type NodeSecret,
  openSecretFile,
  openTypedWords,
  parseSecretFile,
  SecretFileError,
} from "../keyderiv.ts";
import { PAIRING_FILE } from "./folder.ts";
import { askHidden, say } from "./terminal.ts";

const WORDS_OR_FILE =
  "Words of the backup, or the path of an hsm_secret file: ";
const PASSPHRASE = "Passphrase (none: just Enter): ";

/** Asks for a backup and compares; returns the exit code. */
export async function verify(args: readonly string[]): Promise<number> {
  if (args.length > 0) {
    throw new UsageError(
      "Cannot take a backup from the command line: start verify without it",
    );
  }
  const paired = await readPaired();
  const backup = await askHidden(WORDS_OR_FILE);
  const identity = identityOf(await openBackup(backup.trim()), paired);
  return report(identity, paired);
}

async function readPaired(): Promise<DeviceIdentity> {
  const { current } = await FilePairingBook.open(PAIRING_FILE);
  if (current !== null) return current.identity;
  throw new UsageError(
    `No pairing in ${PAIRING_FILE}: start verify in lightningd's directory ` +
      "for the network, after a device was paired",
  );
}

async function openBackup(text: string): Promise<NodeSecret> {
  const words = text.toLowerCase().split(/\s+/).join(" ");
  if (isMnemonic(words)) {
    const passphrase = await askHidden(PASSPHRASE);
    return openTypedWords(words, new TextEncoder().encode(passphrase));
  }
  return await openFile(text);
}

async function openFile(path: string): Promise<NodeSecret> {
  try {
    const file = parseSecretFile(await Deno.readFile(path));
    const passphrase = file.needsPassphrase
      ? new TextEncoder().encode(await askHidden(PASSPHRASE))
      : undefined;
    return openSecretFile(file, { passphrase });
  } catch (cause) {
    if (cause instanceof SecretFileError) {
      throw new UsageError(cause.message, { cause });
    }
    // The text is not repeated: it may have been mistyped words.
    throw new UsageError(
      "Cannot read the backup: neither 12 to 24 words with a right checksum " +
        "nor the path of a readable file",
    );
  }
}

/** The backup's public keys, in the form that the paired device gave its own. */
function identityOf(
  secret: NodeSecret,
  paired: DeviceIdentity,
): DeviceIdentity {
  const version = new DataView(paired.bip32.buffer, paired.bip32.byteOffset)
    .getUint32(0);
  const network = Object.values(NETWORKS)
    .find(({ bip32 }) => bip32.public === version);
  const { bip32: versions } = network ?? NETWORKS.bitcoin;
  const { nodeId, bip32Base, bip86Base, bolt12 } = deriveNodeIdentity(
    secret,
    versions,
  );
  return { nodeId, bip32: bip32Base, bip86: bip86Base, bolt12 };
}

function report(found: DeviceIdentity, paired: DeviceIdentity): number {
  try {
    checkIdentity(paired, found);
    say(`This is the backup of the paired device ${paired.nodeId.toHex()}\n`);
    return 0;
  } catch (error) {
    if (!(error instanceof IdentityError)) throw error;
    say(
      `This is NOT the backup of the paired device: it has node id ` +
        `${found.nodeId.toHex()}, the device has ${paired.nodeId.toHex()}\n`,
    );
    return 1;
  }
}
