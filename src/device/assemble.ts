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
import type { ServerAccess } from "../mqtt/access.ts";
import {
  Box,
  type BoxEvent,
  type Gate,
  type LinkKind,
  type Say,
} from "./box.ts";
import type { Card } from "./card.ts";
import type { CardState } from "./card_state.ts";
import { Controls } from "./control/controls.ts";
import { Desk } from "./desk.ts";
import { OwnerError } from "./owner_error.ts";
import { sharingOf } from "./shared/of_card.ts";
import { SphinxBox } from "./shared/sphinx.ts";

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
  /** What the MQTT server wants to see besides. */
  readonly access?: ServerAccess;
  /** Sealed unless it is said otherwise. */
  readonly link?: LinkKind;
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
  const { card, network, gate, software, link } = parts;
  const { desk, sharing, ...common } = workOf(parts, signer);
  const box = new Box({
    ...common,
    card,
    desk,
    ...(sharing === null ? {} : { sharing }),
    network,
    gate,
    software,
    ...(link === undefined ? {} : { link }),
  });
  return { desk, box };
}

/** A softkey for brokers of Sphinx; there is no gate, as nobody introduces himself. */
export interface AssembledSphinx {
  readonly desk: Desk;
  readonly box: SphinxBox;
}

/** The same in the dialect of Sphinx. @throws {OwnerError} for a card that is not shared */
export function assembleSphinx(
  parts: Omit<Parts, "gate" | "link">,
  signer: SignerState = signerOf(parts),
): AssembledSphinx {
  const { cid, folder } = parts.card;
  const { sharing, ...common } = workOf(parts, signer);
  if (sharing === null) throw notShared(folder);
  const box = new SphinxBox({ ...common, cid, sharing });
  return { desk: common.desk, box };
}

/** What every box works with. */
function workOf(parts: Omit<Parts, "gate" | "link">, signer: SignerState) {
  const { card, store, state, approver, say, network, url } = parts;
  const { memory, tail, node, standing, nonce } = state;
  const { watch, access } = parts;
  const now = Date.now;
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
  const sharing = sharingOf(parts, desk);
  const controls = new Controls({
    card,
    store,
    network,
    desk,
    nonce,
    say,
    now,
  });
  return {
    desk,
    sharing,
    controls,
    store,
    url,
    say,
    ...(watch === undefined ? {} : { watch }),
    ...(access === undefined ? {} : { access }),
    now,
    random: Math.random,
  };
}

function notShared(folder: string): OwnerError {
  return new OwnerError(
    "consent",
    `Cannot speak Sphinx: the card ${folder} is not shared, and these brokers ` +
      "keep the card's state in a storage, want softkey card share first",
  );
}
