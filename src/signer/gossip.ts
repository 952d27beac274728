/**
 * Requests to sign gossip: announcements of the node, of a channel, and updates
 * of a channel's terms.
 *
 * Standard: BOLT 7. Signatures stand first in each message and cover everything
 * behind them, fields of later releases included.
 *
 * A channel_announcement is the one message that a funding key signs over bytes
 * of somebody else's choice, so all of its fields are read: what names another
 * chain, node or key could be a transaction's digest in disguise.
 *
 * What it does not do: read the other messages beyond their type. The node key
 * holds no money.
 *
 * @module
 */

import { isSameBytes } from "../bitcoin/bytes.ts";
import { signGround } from "../bitcoin/sign.ts";
import { sha256d } from "../crypto/hash.ts";
import type { ChannelId } from "../keyderiv/channel.ts";
import { REPLIES, type RequestOf } from "../wire/hsmd.ts";
import { encodeMessage, messageType } from "../wire/message.ts";
import type { EcdsaSignature } from "../wire/types.ts";
import { type Call, refuseBad } from "./call.ts";
import type { Answer } from "./state.ts";

const CHANNEL_ANNOUNCEMENT = { type: 256, signedFrom: 2 + 4 * 64 };
const NODE_ANNOUNCEMENT = { type: 257, signedFrom: 2 + 64 };
const CHANNEL_UPDATE = { type: 258, signedFrom: 2 + 64 };
/** Length of a channel_update up to its last field, htlc_maximum_msat. */
const CHANNEL_UPDATE_SIZE = 138;

/** The digest of a gossip message, once it is seen to be of its type. */
function digestOf(
  gossip: Uint8Array,
  { type, signedFrom }: { readonly type: number; readonly signedFrom: number },
): Uint8Array {
  const found = messageType(gossip);
  if (found !== type || gossip.length < signedFrom) {
    refuseBad(
      `Cannot sign gossip: ${gossip.length} bytes of type ${found}, ` +
        `want ${signedFrom} of ${type}`,
    );
  }
  return sha256d(gossip.subarray(signedFrom));
}

/** 6: node_announcement, under the node key. */
export function answerNodeAnnouncement(
  { state }: Call,
  { announcement }: RequestOf<"node_announcement_sig_req">,
): Answer {
  const digest = digestOf(announcement, NODE_ANNOUNCEMENT);
  const signature = signGround(digest, state.keys.node.secret);
  const reply = REPLIES.node_announcement_sig_reply;
  return { reply: encodeMessage(reply, { signature }) };
}

/** 3: channel_update, under the node key; what comes after its fields is dropped. */
export function answerChannelUpdate(
  { state }: Call,
  { cu }: RequestOf<"cupdate_sig_req">,
): Answer {
  const digest = digestOf(cu, CHANNEL_UPDATE);
  if (cu.length < CHANNEL_UPDATE_SIZE) {
    refuseBad(
      `Cannot sign gossip: channel_update of ${cu.length} bytes, ` +
        `want ${CHANNEL_UPDATE_SIZE}`,
    );
  }
  const signed = cu.slice(0, CHANNEL_UPDATE_SIZE);
  signed.set(signGround(digest, state.keys.node.secret), 2);
  return { reply: encodeMessage(REPLIES.cupdate_sig_reply, { cu: signed }) };
}

/** Whom a channel_announcement has to name. */
interface Announced {
  readonly genesisHash: Uint8Array;
  readonly nodeId: Uint8Array;
  readonly fundingKey: Uint8Array;
}

/** BOLT 7: features, chain, short id, two nodes, and their keys in that order. */
function isAnnouncementOf(ca: Uint8Array, wanted: Announced): boolean {
  const start = CHANNEL_ANNOUNCEMENT.signedFrom;
  const view = new DataView(ca.buffer, ca.byteOffset, ca.byteLength);
  if (ca.length < start + 2) return false;
  const chain = start + 2 + view.getUint16(start);
  const nodes = chain + 32 + 8;
  const keys = nodes + 2 * 33;
  const isAt = (at: number, bytes: Uint8Array) =>
    isSameBytes(ca.subarray(at, at + bytes.length), bytes);
  return isAt(chain, wanted.genesisHash) &&
    [0, 33].some((side) =>
      isAt(nodes + side, wanted.nodeId) && isAt(keys + side, wanted.fundingKey)
    );
}

/** A channel_announcement, by the node and by the channel's funding key. */
function signChannelAnnouncement(
  { state, judge }: Call,
  ca: Uint8Array,
  channel: ChannelId,
): { nodeSignature: EcdsaSignature; bitcoinSignature: EcdsaSignature } {
  const digest = digestOf(ca, CHANNEL_ANNOUNCEMENT);
  const { funding } = state.channels.keysOf(channel);
  judge.require(
    "policy-gossip-announcement",
    isAnnouncementOf(ca, {
      genesisHash: state.network.genesisHash,
      nodeId: state.identity.nodeId,
      fundingKey: funding.point,
    }),
    () => "announces no channel between us and the peer, want one of ours",
  );
  return {
    nodeSignature: signGround(digest, state.keys.node.secret),
    bitcoinSignature: signGround(digest, funding.secret),
  };
}

/** 4: for the channel that is named. */
export function answerAnyChannelAnnouncement(
  call: Call,
  { ca, peerid, channelDbid }: RequestOf<"sign_any_cannouncement_req">,
): Answer {
  const channel = { peerId: peerid, dbid: channelDbid };
  const signatures = signChannelAnnouncement(call, ca, channel);
  const reply = REPLIES.sign_any_cannouncement_reply;
  return { reply: encodeMessage(reply, signatures) };
}

/** 2: for the channel of the connection. */
export function answerChannelAnnouncement(
  call: Call,
  { ca }: RequestOf<"cannouncement_sig_req">,
): Answer {
  const signatures = signChannelAnnouncement(call, ca, call.connection);
  const reply = REPLIES.cannouncement_sig_reply;
  return { reply: encodeMessage(reply, signatures) };
}
