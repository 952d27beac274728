/**
 * Which of a node's devices is asked: one at a time, and never one whose memory
 * is older than the last answer given.
 *
 * Two signers of one node that do not know of each other's signatures lose its
 * money: one revokes a state, the other signs it again. So one device is active,
 * the others are warm, and a device becomes active only with proof that it knows
 * all that was answered before:
 *
 * | device | when it may become active |
 * | --- | --- |
 * | the first one ever | it is ready |
 * | the last active one | always: nobody signed since (it reads the storage, where it has one) |
 * | another one, with its state in the storage | the last active one's state is there too, and it has read all of it |
 * | another one, with its state on its own card | when the operator forces it, who was told what that may cost |
 *
 * The storage counts its puts; a device has read all of it when the revision of
 * its storage session is that number. One that is behind is told to read again
 * (resync) before it is asked anything. While that lasts nobody is asked, so
 * nothing can be put meanwhile and it ends.
 *
 * Among those that may: the operator's choice, then who is active, then who was
 * last, then who has read everything, then who was here first. A device in
 * trouble (its resync failed, or it does not answer) comes after all others.
 *
 *     nobody --activate--> active --gone, or another is chosen--> nobody
 *        ^                                                          |
 *        +--------------- resync, as long as one is behind ---------+
 *
 * The broker's part: a choice is made anew whenever a device becomes ready, is
 * synced, fails or leaves, and when the operator chooses. Before a new one gets
 * its first request, `active.ts` has durably noted it. A device that is not
 * active puts nothing into the storage but what its own dance puts.
 *
 * What it does not do: act. It is a function of what is known.
 *
 * //~ A second device with the same seed is not a spare until it knows what the
 * //~ first one signed; before that it is the thief's best friend. Most of this
 * //~ file therefore says no, and all of it is one function of what is known, so
 * //~ that tests can make devices leave and come back in orders that nobody
 * //~ would think of. Next: broker/storage/session.ts, where that knowledge
 * //~ comes from.
 *
 * @module
 */

/** A device that is connected, as far as the choice is concerned. */
export interface Member {
  /** MQTT client id. */
  readonly cid: string;
  /** Its init was answered and it is who it should be. */
  readonly isReady: boolean;
  /** Its state is in the storage: Sphinx signers, and cards that are shared. */
  readonly isStored: boolean;
  /** Which storage, as whom, and in which form its state is there. */
  readonly place?: string | null;
  /** Puts of the storage that it has read; null before its dance, or without one. */
  readonly revision: number | null;
  /** Its resync failed, or it has not answered for too long. */
  readonly isTroubled: boolean;
}

/** A device that was chosen once; it need not be here. */
export interface Remembered {
  readonly cid: string;
  /** Whether its state was in the storage when it was active. */
  readonly isStored: boolean;
  /** Where it was: see {@linkcode Member}; absent where nobody noted it. */
  readonly place?: string | null;
}

/** What the operator wants. */
export interface Preference {
  readonly cid: string;
  /** They were told that the device may not know the newest state. */
  readonly isForced: boolean;
}

/** What is known besides the devices. */
export interface FleetFacts {
  /** The device that gets requests now. */
  readonly active: string | null;
  /** The one that was given requests last, durably; it may be the active one. */
  readonly lastActive: Remembered | null;
  readonly preferred: Preference | null;
  /** Puts of the storage so far; null while there is no storage to reach. */
  readonly storageRevision: number | null;
}

/** What is to be done; `why` is a sentence for the operator. */
export type Choice =
  /** Go on with the active device. */
  | { readonly kind: "keep"; readonly cid: string; readonly why: string }
  /** Ask this one from now on, once that is durably noted. */
  | { readonly kind: "activate"; readonly cid: string; readonly why: string }
  /** Ask nobody, have this one read the storage, and choose again. */
  | { readonly kind: "resync"; readonly cid: string; readonly why: string }
  /** Ask nobody until something changes. */
  | { readonly kind: "nobody"; readonly why: string };

/** Chooses among the devices that are connected, the one here longest first. */
export function choose(
  members: readonly Member[],
  facts: FleetFacts,
): Choice {
  const able = members.filter((member) => barrierOf(member, facts) === null);
  const [best] = able.toSorted((a, b) =>
    compare(rankOf(a, facts), rankOf(b, facts))
  );
  if (best === undefined) return nobody(members, facts);
  const { cid } = best;
  if (isBehind(best, facts)) {
    const why = `${cid} reads the storage before it is asked`;
    return { kind: "resync", cid, why };
  }
  const why = reasonFor(best, facts);
  return { kind: cid === facts.active ? "keep" : "activate", cid, why };
}

/**
 * What an operator risks who makes this device the active one; null when it
 * proves by the storage that it knows everything.
 */
export function riskOf(member: Member, facts: FleetFacts): string | null {
  const { cid } = member;
  const { lastActive } = facts;
  if (lastActive === null || lastActive.cid === cid) return null;
  if (!member.isStored) {
    return `the state of ${cid} is on its own card alone: it may not know ` +
      `what ${lastActive.cid} has signed since, and a peer can take every ` +
      "channel whose newest state it does not know";
  }
  if (lastActive.isStored) return riskOfPlace(member, lastActive);
  return `the state of ${lastActive.cid}, which signed last, is on its own ` +
    `card alone: ${cid} cannot have read it from the storage, and a peer can ` +
    "take every channel whose newest state it does not know";
}

/** Another server, another client, another form: another memory. */
function riskOfPlace(member: Member, last: Remembered): string | null {
  const [here = null, there = null] = [member.place, last.place];
  if (here === null || there === null || here === there) return null;
  return `the state of ${member.cid} is stored elsewhere, or in another form, ` +
    `than that of ${last.cid}, which signed last: it cannot have read that, ` +
    "and a peer can take every channel whose newest state it does not know";
}

/** Why a device cannot be active, or null when it may (after a resync). */
export function barrierOf(member: Member, facts: FleetFacts): string | null {
  const { cid } = member;
  if (!member.isReady) return `${cid} is not ready yet`;
  const { preferred } = facts;
  const isForced = preferred?.cid === cid && preferred.isForced;
  if (!isForced && riskOf(member, facts) !== null) {
    const { lastActive } = facts;
    const whose = member.isStored ? lastActive?.cid : cid;
    if (member.isStored && lastActive?.isStored) {
      return `${cid} does not take over by itself: its state is stored ` +
        `elsewhere, or in another form, than that of ${whose}; after a look ` +
        `at the risk: use ${cid}`;
    }
    return `${cid} does not take over by itself, since the state of ${whose} ` +
      `is on its own card alone; after a look at the risk: use ${cid}`;
  }
  if (!isBehind(member, facts)) return null;
  if (member.isTroubled) {
    return `${cid} did not come to terms with the storage; it is tried again ` +
      "when it says hello";
  }
  return facts.storageRevision === null
    ? `${cid} cannot read the storage, which is not reachable`
    : null;
}

/** Whether a device has to read the storage first. */
function isBehind(member: Member, facts: FleetFacts): boolean {
  if (!member.isStored) return false;
  if (member.revision === null) return true;
  // Nobody but the active one puts; without a storage it waits by itself.
  if (facts.storageRevision === null) return member.cid !== facts.active;
  return member.revision !== facts.storageRevision;
}

/** The smaller, the better; compared from the left. */
function rankOf(member: Member, facts: FleetFacts): readonly boolean[] {
  const { cid } = member;
  return [
    member.isTroubled,
    cid !== facts.preferred?.cid,
    cid !== facts.active,
    cid !== facts.lastActive?.cid,
    isBehind(member, facts),
  ];
}

function compare(a: readonly boolean[], b: readonly boolean[]): number {
  const at = a.findIndex((value, i) => value !== b[i]);
  return at === -1 ? 0 : Number(a[at]) - Number(b[at]);
}

function reasonFor({ cid, isStored }: Member, facts: FleetFacts): string {
  if (cid === facts.preferred?.cid) return `${cid} is the operator's choice`;
  if (cid === facts.active) return `${cid} is active`;
  if (facts.lastActive === null) return `${cid} is the first device`;
  if (cid === facts.lastActive.cid) return `${cid} goes on: it was active last`;
  return isStored
    ? `${cid} takes over from ${facts.lastActive.cid}: it has read all that ` +
      "was put into the storage"
    : `${cid} takes over from ${facts.lastActive.cid}`;
}

function nobody(members: readonly Member[], facts: FleetFacts): Choice {
  const [reason] = members
    .toSorted((a, b) => Number(b.isReady) - Number(a.isReady))
    .map((member) => barrierOf(member, facts));
  const why = reason ?? "no device is connected";
  return { kind: "nobody", why };
}
