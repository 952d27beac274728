/**
 * What every handler gets, and the few words that all of them use.
 *
 * What it does not do: anything that only one family of requests needs.
 *
 * @module
 */

import type { Secret } from "../crypto/secret.ts";
import { RequestError, SIGNER_ERROR_CODES } from "../errors.ts";
import type { ChannelId } from "../keyderiv/channel.ts";
import type { DisclosedSecret } from "../wire/types.ts";
import type { Judge } from "../policy/judge.ts";
import type { ChannelRecord, ChannelSetup } from "./records.ts";
import type { LogEffect, ReadyState } from "./state.ts";

/** A signer that is ready, and the channel of the connection that asks. */
export interface Call {
  readonly state: ReadyState;
  readonly connection: ChannelId;
  /** Satoshi per 1000 weight; null while nothing current is known. */
  readonly feeReference: number | null;
  /** Applies the policy to this request. */
  readonly judge: Judge;
}

/** A channel that has been set up. */
export interface ReadyChannel {
  readonly id: ChannelId;
  readonly record: ChannelRecord;
  readonly setup: ChannelSetup;
}

/** The connection's channel, or another one. @throws {RequestError} unknown */
export function readyChannel(
  { state, connection }: Call,
  id: ChannelId = connection,
): ReadyChannel {
  const record = state.memory.channel(id);
  if (record === null || record.setup === null) {
    const what = record === null ? "does not know" : "has not set up";
    return refuseState(
      `this card ${what} channel ${id.dbid} with ${id.peerId.toHex()}`,
    );
  }
  return { id, record, setup: record.setup };
}

/** Refuses what the state of the channel does not allow, and no rule relaxes. */
export function refuseState(text: string): never {
  throw new RequestError(SIGNER_ERROR_CODES.refused, `Cannot sign: ${text}`);
}

/** Fails a request that the stock hsmd would call bad. */
export function refuseBad(text: string): never {
  throw new RequestError(SIGNER_ERROR_CODES.badRequest, text);
}

/** Lets go of a secret that the protocol answers with. */
export function disclose(secret: Secret): DisclosedSecret {
  return new Uint8Array(secret.reveal()) as Uint8Array as DisclosedSecret;
}

/** A line for the log. */
export function logLine(level: LogEffect["level"], text: string): LogEffect {
  return { kind: "log", level, text };
}

/** The line that tests of signature sizes look for. */
export function overgrindLine(length: number): LogEffect {
  return logLine("broken", `overgrind: short signature length ${length}`);
}
