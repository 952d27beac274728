/**
 * What an hsmd may tell lightningd on fd 0: log lines, its version, the reason
 * of its end (common/status_wire.csv), and the report of a bad request
 * (hsmd/hsmd_wire.csv, 1000).
 *
 * lightningd hangs for ever on a status message that it cannot parse, so text
 * has one way in: {@link statusText}, which leaves no byte that could do it.
 *
 * @module
 */

import { bool, choice, option, wirestring } from "./codec.ts";
import { reply, table } from "./message.ts";
import { nodeId, octets } from "./types.ts";

/** Levels that a status_log may have; 5 and 6 raise warnings in lightningd. */
export const LOG_LEVELS = {
  trace: 2,
  debug: 3,
  info: 4,
  unusual: 5,
  broken: 6,
} as const;
export type LogLevel = keyof typeof LOG_LEVELS;

/** Reasons of a status_fail. */
export const FAIL_REASONS = {
  masterIo: 0,
  hsmIo: 1,
  gossipIo: 2,
  internalError: 3,
} as const;

const level = choice("enum log_level", [2, 3, 4, 5, 6]);
const direction = choice("enum log_level", [0, 1]);
const reason = choice("enum status_failreason", [0, 1, 2, 3]);

/** Messages on fd 0, sorted by number. */
export const STATUS = table({
  hsmstatus_client_bad_request: reply(1000, {
    id: nodeId,
    description: wirestring,
    msg: octets,
  }),
  status_log: reply(0xfff0, { level, peer: option(nodeId), entry: wirestring }),
  status_io: reply(0xfff1, {
    iodir: direction,
    peer: option(nodeId),
    who: wirestring,
    data: octets,
  }),
  status_fail: reply(0xfff2, { failreason: reason, desc: wirestring }),
  // The next two are for channel daemons; lightningd takes them from nobody else.
  status_peer_connection_lost: reply(0xfff3, {}),
  status_peer_billboard: reply(0xfff5, { perm: bool, happenings: wirestring }),
  status_version: reply(0xfff6, { version: wirestring }),
});

const utf8 = new TextEncoder();
const LONGEST_TEXT = 4000;

/**
 * Makes any text fit for a wirestring: control characters become spaces, and
 * what is too long for a log line is cut.
 */
export function statusText(text: string): Uint8Array {
  const bytes = utf8.encode(text.slice(0, LONGEST_TEXT).toWellFormed());
  return bytes.map((byte) => byte < 0x20 || byte === 0x7f ? 0x20 : byte);
}
