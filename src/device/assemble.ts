/**
 * A card, a seed and an address, put together to a desk and a box: one place,
 * for the program and for tests.
 *
 * What it does not do: open the card, start the box, or ask anybody.
 *
 * @module
 */

import type { Network } from "../bitcoin/networks.ts";
import type { Consent } from "../policy/consent.ts";
import { createSigner, type SignerState, step } from "../signer/handle.ts";
import type { Secret } from "../crypto/secret.ts";
import type { SqliteStore } from "../store/sqlite.ts";
import type { Approver } from "./approver.ts";
import { Box, type BoxEvent, type Gate, type Say } from "./box.ts";
import type { Card } from "./card.ts";
import type { CardState } from "./card_state.ts";
import { Desk } from "./desk.ts";

/** What a softkey is made of. */
export interface Parts {
  readonly card: Card;
  readonly store: SqliteStore;
  readonly state: CardState;
  /** The bytes of an hsm_secret file. */
  readonly secretFile: Secret;
  readonly network: Network;
  readonly isDeveloper: boolean;
  /** What becomes of what only the owner can allow. */
  readonly mode: Consent["mode"];
  readonly approver: Approver;
  readonly gate: Gate;
  readonly url: string;
  readonly software: string;
  readonly say: Say;
  readonly watch?: (event: BoxEvent) => void;
}

/** A softkey that is not started. */
export interface Assembled {
  readonly desk: Desk;
  readonly box: Box;
}

/** The signer of a card. */
export function signerOf(
  parts: Pick<
    Parts,
    "state" | "secretFile" | "network" | "isDeveloper" | "mode"
  >,
): SignerState {
  const { state, secretFile, network, isDeveloper, mode } = parts;
  const { memory, policy, allowlist, birthday } = state;
  return createSigner({
    secretFile,
    network,
    isDeveloper,
    memory,
    policy,
    allowlist,
    birthday,
    consent: { mode, granted: new Set(), declined: new Set() },
  });
}

/** Puts the parts together; stopping the box closes desk and store. */
export function assemble(
  parts: Parts,
  signer: SignerState = signerOf(parts),
): Assembled {
  const { card, store, state, approver, say, network, gate, url } = parts;
  const { memory, tail, node, standing } = state;
  const { software, watch } = parts;
  const now = Date.now;
  const random = Math.random;
  const desk = new Desk({
    signer,
    step,
    store,
    memory,
    tail,
    node,
    approver,
    standing,
    say,
    alarm: (isStanding) => watch?.(isStanding ? "alarm" : "calm"),
    now,
  });
  const box = new Box({
    card,
    store,
    desk,
    network,
    gate,
    url,
    software,
    say,
    ...(watch === undefined ? {} : { watch }),
    now,
    random,
  });
  return { desk, box };
}
