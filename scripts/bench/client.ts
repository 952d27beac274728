/**
 * A client of the broker under measurement, as lightningd opens one for a
 * channel's daemon.
 *
 * @module
 */

import type { RunningBroker } from "../../tests/support/rig.ts";
import type { FrameConn } from "../../tests/support/standin/standin.ts";
import { REQUESTS } from "../../src/wire/hsmd.ts";
import { encodeMessage } from "../../src/wire/message.ts";
import type { NodeId } from "../../src/wire/types.ts";

/** All bits of a channel's client: one connection may ask everything. */
const CLIENT_PERMISSIONS = 511n;

/** Opens a connection that may ask everything. */
export async function openClient(
  standin: RunningBroker["standin"],
  id: NodeId,
  dbid: bigint,
): Promise<FrameConn> {
  const permissions = CLIENT_PERMISSIONS;
  await standin.master.ask(
    encodeMessage(REQUESTS.client_hsmfd, { id, dbid, permissions }),
  );
  return await standin.nextClient();
}
