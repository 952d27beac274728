/**
 * `remote_hsmd_mqtt devices`: which devices the node is paired with.
 *
 * What it does not do: say which is connected; status does.
 *
 * @module
 */

import { ActiveBook } from "../broker/active.ts";
import { nameOf, type PairedDevice } from "../broker/devices.ts";
import { UsageError } from "../errors.ts";
import { ACTIVE_FILE } from "./folder.ts";
import { checkNodeFolder, openPairingFiles } from "./pairing_files.ts";
import { say } from "./terminal.ts";

/** Runs `devices`; returns the exit code. */
export async function devices(args: readonly string[]): Promise<number> {
  const [word] = args;
  if (word !== undefined) {
    throw new UsageError(
      `Cannot use ${JSON.stringify(word)}: want no more words`,
    );
  }
  checkNodeFolder();
  const { devices } = await openPairingFiles();
  const { preferred } = (await ActiveBook.open(ACTIVE_FILE)).current;
  const lines = devices.devices.map((device) => {
    const mark = nameOf(device) === preferred?.cid ? ", preferred" : "";
    return `${describePaired(device)}, paired ${dayOf(device)}${mark}`;
  });
  say(
    lines.length === 0
      ? "No device is paired: remote_hsmd_mqtt pair\n"
      : lines.join("\n") + "\n",
  );
  return 0;
}

/** A device in a line. */
export function describePaired(device: PairedDevice): string {
  return device.kind === "sphinx"
    ? `sphinx ${device.nodeKey}`
    : `native ${nameOf(device)} (${device.software})`;
}

function dayOf({ pairedAt }: PairedDevice): string {
  return new Date(pairedAt).toISOString().slice(0, 10);
}
