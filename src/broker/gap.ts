/**
 * What makes a Sphinx signer start over: a gap in the numbers of requests. Every
 * one of them begins anew for that, because a gap means that another device has
 * signed in between: hardware restarts, vls-mqtt ends and is started again, a web
 * page forgets its state and says hello.
 *
 * Two numbers are shown that do not follow one another: a signer that expects no
 * number yet answers the first and starts over for the second.
 *
 * Facts: sphinx-rs vls-mqtt/src/mqtt.rs, vls-mqtt/app/src/signer.ts,
 * signer/src/root.rs.
 *
 * @module
 */

import { encodeMessage } from "../wire/message.ts";
import { NOBODY } from "../wire/types.ts";
import { encodeSignerRequest, SIGNER_MESSAGES } from "../wire/vls.ts";

/** Two numbers after one another that are never one apart. */
const GAP: readonly number[] = [0xffff, 0x7fff];
/** In this time a signer begins anew, or leaves to do so, in milliseconds. */
export const RESTART_MS = 15_000;

/** What goes on `vls`, one after the other: two pings. */
export function gapFrames(): readonly Uint8Array[] {
  const message = encodeMessage(SIGNER_MESSAGES.ping, {
    id: 0,
    message: new Uint8Array(),
  });
  return GAP.map((sequence) =>
    encodeSignerRequest({ sequence, peerId: NOBODY, dbid: 0n, message })
  );
}
