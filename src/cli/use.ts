/**
 * `remote_hsmd_mqtt use`: the operator chooses the device that signs.
 *
 * A device that has its state in the storage proves that it knows everything.
 * Another one is taken only with --force, after the risk was named.
 *
 * @module
 */

import { UsageError } from "../errors.ts";
import { askBroker } from "./socket.ts";
import { say } from "./terminal.ts";

const FORCE = "--force";

/** Runs `use`; returns the exit code. */
export async function use(args: readonly string[]): Promise<number> {
  const isForced = args.includes(FORCE);
  const [cid, ...more] = args.filter((arg) => arg !== FORCE);
  if (cid === undefined || more.length > 0) {
    throw new UsageError(
      "Cannot choose a device: want its name as remote_hsmd_mqtt status " +
        `shows it, and ${FORCE} to take a risk that was named`,
    );
  }
  const force = isForced ? "&force=1" : "";
  const path = `/api/use?cid=${encodeURIComponent(cid)}${force}`;
  const { status, body } = await askBroker("POST", path);
  say(`${body.trim()}\n`);
  return status === 200 ? 0 : 1;
}
