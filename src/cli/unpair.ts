/**
 * `remote_hsmd_mqtt unpair`: forgets a device, or all of them.
 *
 * A running broker lets go of the device at once; it comes back only with a new
 * pairing string. The node's keys stay what they are.
 *
 * @module
 */

import { nameOf } from "../broker/devices.ts";
import { UsageError } from "../errors.ts";
import { describePaired } from "./devices.ts";
import { checkNodeFolder, openPairingFiles } from "./pairing_files.ts";
import { say } from "./terminal.ts";

/** Runs `unpair`; returns the exit code. */
export async function unpair(args: readonly string[]): Promise<number> {
  const [name, ...more] = args;
  if (name === undefined || more.length > 0) {
    throw new UsageError(
      "Cannot unpair: want the name of a device as remote_hsmd_mqtt devices " +
        "shows it, or all",
    );
  }
  checkNodeFolder();
  const { devices } = await openPairingFiles();
  const found = await devices.remove(name);
  if (found.length === 0) {
    say(
      name === "all"
        ? "No device is paired.\n"
        : `No device is called ${JSON.stringify(name)}: want one of ` +
          `${devices.devices.map(nameOf).join(", ") || "none"}\n`,
    );
    return 1;
  }
  if (found.length > 1 && name !== "all") {
    const names = found.map(nameOf).join(", ");
    say(`${JSON.stringify(name)} could be any of ${names}\n`);
    return 1;
  }
  for (const device of found) say(`Forgot ${describePaired(device)}.\n`);
  return 0;
}
