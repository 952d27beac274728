/**
 * What a lightningd and a signer of different ages can do together.
 *
 * lightningd says in its init which versions of the hsmd protocol it speaks, the
 * device says in its reply which one it will speak and which messages it knows.
 *
 * | lightningd | versions | | signer | version |
 * | --- | --- | --- | --- | --- |
 * | v23.05 to v23.11 | 3 to 4 | | VLS of 2023 | 4 |
 * | v24.02 | 5 | | VLS of 2024, Sphinx | 5 |
 * | v24.05 and later | 5 to 6 | | softkey, later VLS | 6 |
 *
 * A VLS signer ends itself when lightningd's lowest version is too high for it,
 * and at many a message that it does not know. So it is shown a lowest version
 * that every one takes, its reply is compared here, and what it cannot be asked
 * is not sent.
 *
 * Facts: CLN common/hsm_version.h and lightningd/hsm_control.c, v23.05 to
 * v26.06.6; VLS vls-protocol-signer/src/handler.rs.
 *
 * What it does not do: translate between versions; judge who a device is.
 *
 * @module
 */

import {
  messageName,
  REPLIES,
  type RequestName,
  type RequestOf,
  REQUESTS,
} from "../wire/hsmd.ts";
import { decodeMessage, encodeMessage, messageType } from "../wire/message.ts";

/** What a device said in its init reply that it can do. */
export interface Abilities {
  readonly version: number;
  readonly capabilities: ReadonlySet<number>;
}

/** The lowest version that each signer in use takes to be asked for. */
const LOWEST_ASKED = 4;

/** lightningd's init as this kind of device understands it. */
export function initFor(
  dialect: "sphinx" | "native",
  init: Uint8Array,
): Uint8Array {
  if (dialect === "native") return init;
  const fields = decodeMessage(REQUESTS.init, init);
  return encodeMessage(REQUESTS.init, {
    ...fields,
    hsmWireMinVersion: Math.min(fields.hsmWireMinVersion, LOWEST_ASKED),
    // VLS takes no byte more than it knows of.
    tlvs: {},
  });
}

// ---------------------------------------------------------------- init reply

/** Init replies that came before type 114, and the highest version of each. */
const OLD_REPLIES: ReadonlyMap<number, number> = new Map([[111, 1], [113, 3]]);

/** The newest lightningd that still takes a version. */
const LAST_RELEASES: readonly {
  readonly version: number;
  readonly release: string;
}[] = [
  { version: 2, release: "v23.02" },
  { version: 4, release: "v23.11" },
];

/** What some lightningd ends itself for, when its signer does not have it. */
const NEEDS: readonly {
  readonly capability: number;
  /** The first release that does. */
  readonly from: string;
  readonly what: string;
}[] = [
  {
    capability: REQUESTS.sign_anchorspend.type,
    from: "v24.02",
    what: "spend anchors",
  },
  {
    capability: REQUESTS.sign_splice_tx.type,
    from: "v26.04",
    what: "sign splices",
  },
];

/**
 * Why lightningd cannot work with a device that answered this; null when it can.
 *
 * `lightningd` is its version, where that is known: some releases offer their
 * peers what a device may not be able to do.
 */
export function problemOfInit(
  init: Uint8Array,
  reply: Uint8Array,
  device: string,
  lightningd: string | null = null,
): string | null {
  const range = decodeMessage(REQUESTS.init, init);
  const old = OLD_REPLIES.get(messageType(reply) ?? -1);
  if (old !== undefined) return tooOld(range, device, old);
  if (messageType(reply) !== REPLIES.init_reply_v4.type) return null;
  const { version, capabilities } = abilitiesIn(reply);
  if (version < range.hsmWireMinVersion) return tooOld(range, device, version);
  if (version > range.hsmWireMaxVersion) {
    return `${wants(range)}, device ${device} answers with ${version}: ` +
      "use a newer lightningd, or an older device";
  }
  return problemOfNeeds(capabilities, device, lightningd);
}

function wants(
  { hsmWireMinVersion: min, hsmWireMaxVersion: max }: RequestOf<"init">,
): string {
  const versions = min === max ? `${min}` : `${min} to ${max}`;
  return `this lightningd wants hsmd version ${versions}`;
}

function tooOld(
  range: RequestOf<"init">,
  device: string,
  version: number,
): string {
  const last = LAST_RELEASES.find((row) => version <= row.version);
  const release = last === undefined
    ? "an older lightningd"
    : `lightningd up to ${last.release}`;
  return `${wants(range)}, device ${device} speaks at most ${version}: ` +
    `use ${release}, or newer software on the device`;
}

function problemOfNeeds(
  capabilities: ReadonlySet<number>,
  device: string,
  lightningd: string | null,
): string | null {
  if (lightningd === null) return null;
  const need = NEEDS.find(({ capability, from }) =>
    !capabilities.has(capability) && isFrom(lightningd, from)
  );
  return need === undefined ? null : `lightningd ${lightningd} ends itself ` +
    `when its signer cannot ${need.what}, and device ${device} cannot: use a ` +
    `lightningd before ${need.from}, or another device`;
}

/** Whether a release is this one or came later; years, then months. */
function isFrom(release: string, first: string): boolean {
  const [year = 0, month = 0] = numbersIn(release);
  const [firstYear = 0, firstMonth = 0] = numbersIn(first);
  return year > firstYear || (year === firstYear && month >= firstMonth);
}

/** `v26.06.6-12-g…` -> 26, 6, …; nothing for what is no release's name. */
function numbersIn(release: string): readonly number[] {
  return /^v(\d+)\.(\d+)/.exec(release)?.slice(1).map(Number) ?? [];
}

/** What a device can do, from its init reply (type 114). @throws {DecodeError} */
export function abilitiesIn(reply: Uint8Array): Abilities {
  const { hsmVersion, hsmCapabilities } = decodeMessage(
    REPLIES.init_reply_v4,
    reply,
  );
  return { version: hsmVersion, capabilities: new Set(hsmCapabilities) };
}

/** What a node does without when its signer has not got it, in words. */
const EXTRAS: readonly {
  readonly capability: number;
  readonly what: string;
}[] = [
  { capability: REQUESTS.sign_splice_tx.type, what: "splices" },
  { capability: REQUESTS.sign_anchorspend.type, what: "anchors" },
  {
    capability: REQUESTS.preapprove_invoice_check.type,
    what: "checks of payments before they are approved",
  },
  {
    capability: REQUESTS.bip137_sign_message.type,
    what: "messages signed by an address",
  },
  {
    capability: REQUESTS.forget_channel.type,
    what: "forgetting of closed channels",
  },
];

/** What a node has to do without, for the log; null when that is nothing. */
export function missingIn(
  { capabilities }: Abilities,
  device: string,
): string | null {
  const missing = EXTRAS
    .filter(({ capability }) => !capabilities.has(capability))
    .map(({ what }) => what);
  return missing.length === 0
    ? null
    : `device ${device} cannot: ${missing.join(", ")}`;
}

// ------------------------------------------------------------------ requests

/** When a VLS signer knows a message. */
interface Known {
  /** From which version on it does in any case; null: not by its version. */
  readonly version: number | null;
  /** A capability that says so at any version. */
  readonly capability: number;
}

/** Messages that not every VLS signer knows. Many end themselves for one. */
const NOT_ALWAYS_KNOWN: Readonly<Partial<Record<RequestName, Known>>> = {
  sign_any_cannouncement_req: { version: 5, capability: 4 },
  get_output_scriptpubkey: { version: null, capability: 24 },
  sign_option_will_fund_offer: { version: null, capability: 26 },
  sign_splice_tx: { version: null, capability: 29 },
  check_outpoint: { version: null, capability: 32 },
  forget_channel: { version: null, capability: 34 },
  // No signer lists it by itself: it came with check_outpoint.
  lock_outpoint: { version: null, capability: 32 },
  revoke_commitment_tx: { version: 5, capability: 40 },
  sign_bolt12_2: { version: 6, capability: 41 },
  bip137_sign_message: { version: null, capability: 45 },
  preapprove_invoice_check: { version: null, capability: 51 },
  preapprove_keysend_check: { version: null, capability: 52 },
  check_bip86_pubkey: { version: null, capability: 56 },
};

/** What a signer that does not know a message would answer if it did. */
const ANSWERS: Readonly<Partial<Record<RequestName, Uint8Array>>> = {
  // VLS and the stock hsmd say yes to the one and do nothing for the other.
  check_outpoint: encodeMessage(REPLIES.check_outpoint_reply, {
    isBuried: true,
  }),
  lock_outpoint: encodeMessage(REPLIES.lock_outpoint_reply, {}),
};

/**
 * The reply to what lightningd asks in any case, a device does not know, and no
 * signer decides anything about; null for all else.
 */
export function answerFor(
  abilities: Abilities,
  dialect: "sphinx" | "native",
  requestType: number,
): Uint8Array | null {
  return mayAsk(abilities, dialect, requestType) === null
    ? null
    : ofRequest(ANSWERS, requestType) ?? null;
}

/** Why a device must not be sent this request; null when it may. */
export function mayAsk(
  { version, capabilities }: Abilities,
  dialect: "sphinx" | "native",
  requestType: number,
): string | null {
  if (dialect === "native") return null;
  const known = ofRequest(NOT_ALWAYS_KNOWN, requestType);
  if (known === undefined || capabilities.has(known.capability)) return null;
  if (known.version !== null && version >= known.version) return null;
  return `the device does not know ${messageName(requestType)}: it speaks ` +
    `hsmd version ${version} and does not list ${known.capability}`;
}

function ofRequest<T>(
  rows: Readonly<Partial<Record<RequestName, T>>>,
  requestType: number,
): T | undefined {
  const byName: Readonly<Record<string, T | undefined>> = rows;
  return byName[messageName(requestType)];
}
