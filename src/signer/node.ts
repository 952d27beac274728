/**
 * Requests for the node's own keys: shared secrets, named secrets, checks of
 * public keys.
 *
 * Standard: BOLT 4 and BOLT 8 for the shared secret; BIP 32 and BIP 86 for the
 * wallet keys that are checked.
 *
 * What it does not do: sign (`message.ts`, `gossip.ts`, `wallet.ts`).
 *
 * @module
 */

import { isSameBytes } from "../bitcoin/bytes.ts";
import { ecdh } from "../crypto/secp.ts";
import { Secret } from "../crypto/secret.ts";
import { checkNotHardened, deriveChild } from "../keyderiv/bip32.ts";
import { deriveNamedSecret } from "../keyderiv/node.ts";
import { REPLIES, type RequestOf } from "../wire/hsmd.ts";
import { encodeMessage } from "../wire/message.ts";
import { SIGNER_MESSAGES } from "../wire/vls.ts";
import { type Call, disclose, refuseBad } from "./call.ts";
import type { Answer } from "./state.ts";

/** 1: SHA-256 of the node key times the point. */
export function answerEcdh(
  { state }: Call,
  { point }: RequestOf<"ecdh_req">,
): Answer {
  const shared = new Secret(ecdh(state.keys.node.secret.reveal(), point));
  const ss = disclose(shared);
  return { reply: encodeMessage(REPLIES.ecdh_resp, { ss }) };
}

/** 27: a secret for a name. */
export function answerDeriveSecret(
  { state }: Call,
  { info }: RequestOf<"derive_secret">,
): Answer {
  const secret = disclose(deriveNamedSecret(state.keys, info));
  return { reply: encodeMessage(REPLIES.derive_secret_reply, { secret }) };
}

/** 28: whether the old wallet has this key at this index. */
export function answerCheckPubkey(
  { state }: Call,
  { index, pubkey }: RequestOf<"check_pubkey">,
): Answer {
  checkNotHardened(index);
  const { point } = deriveChild(state.keys.wallet, index);
  const ok = isSameBytes(point, pubkey);
  return { reply: encodeMessage(REPLIES.check_pubkey_reply, { ok }) };
}

/** 56: whether the BIP 86 wallet has this key at this index. */
export function answerCheckBip86Pubkey(
  { state }: Call,
  { index, pubkey }: RequestOf<"check_bip86_pubkey">,
): Answer {
  checkNotHardened(index);
  const { bip86 } = state.keys;
  if (bip86 === null) {
    return refuseBad("Cannot derive a BIP 86 key: no mnemonic secret");
  }
  const ok = isSameBytes(deriveChild(bip86.external, index).point, pubkey);
  return { reply: encodeMessage(REPLIES.check_bip86_pubkey_reply, { ok }) };
}

/** 33: whether memory leaks. Not in this program's way. */
export function answerMemleak(): Answer {
  return { reply: encodeMessage(REPLIES.dev_memleak_reply, { leak: false }) };
}

const utf8 = new TextEncoder();

/** 1012, which VLS nodes ask: who this is. */
export function answerNodeInfo({ state }: Call): Answer {
  const { nodeId, bip32Base } = state.identity;
  return {
    reply: encodeMessage(SIGNER_MESSAGES.node_info_reply, {
      network: utf8.encode(state.network.name),
      nodeId,
      bip32: bip32Base,
    }),
  };
}
