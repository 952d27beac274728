/**
 * `remote_hsmd_mqtt use`: the operator chooses the device that signs.
 *
 * A device that has its state in the storage proves that it knows everything.
 * Another one is taken only with --force, after the risk was named.
 *
 * @module
 */

import { listIn, textIn } from "../broker/shared_file.ts";
import { UsageError } from "../errors.ts";
import { askBroker } from "./socket.ts";
import { say } from "./terminal.ts";

const FORCE = "--force";

/** Runs `use`; returns the exit code. */
export async function use(args: readonly string[]): Promise<number> {
  const isForced = args.includes(FORCE);
  const [name, ...more] = args.filter((arg) => arg !== FORCE);
  if (name === undefined || more.length > 0) {
    throw new UsageError(
      "Cannot choose a device: want its name as remote_hsmd_mqtt status " +
        `shows it, and ${FORCE} to take a risk that was named`,
    );
  }
  const cid = await wholeName(name);
  const force = isForced ? "&force=1" : "";
  const path = `/api/use?cid=${encodeURIComponent(cid)}${force}`;
  const { status, body } = await askBroker("POST", path);
  say(`${body.trim()}\n`);
  return status === 200 ? 0 : 1;
}

/** A device may be named by how its name begins, where no other begins so. */
async function wholeName(start: string): Promise<string> {
  const { body } = await askBroker("GET", "/api/status");
  const cids = cidsIn(JSON.parse(body));
  const found = cids.includes(start)
    ? [start]
    : cids.filter((cid) => cid.startsWith(start));
  const [only, ...others] = found;
  if (only !== undefined && others.length === 0) return only;
  const problem = only === undefined
    ? `want one that is connected: ${cids.join(", ") || "none is"}`
    : `it could be any of ${found.join(", ")}`;
  throw new UsageError(
    `Cannot choose ${JSON.stringify(start)}: ${problem}`,
  );
}

function cidsIn(snapshot: unknown): readonly string[] {
  return listIn(snapshot, "devices").map((device) =>
    textIn(device, "cid", /./)
  );
}
