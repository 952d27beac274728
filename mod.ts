/**
 * remote-hsmd as a library: the hsmd protocol of Core Lightning, the frames of
 * signer devices, key derivation, and the signer's one pure step.
 *
 * ```ts
 * import { decodeMessage, REQUESTS } from "./mod.ts";
 *
 * const bytes = Uint8Array.fromHex("001b0008636f6d6d616e646f");
 * const { info } = decodeMessage(REQUESTS.derive_secret, bytes);
 * console.assert(new TextDecoder().decode(info) === "commando");
 * ```
 *
 * ## Glossary
 *
 * | word | meaning |
 * | --- | --- |
 * | hsmd | the process of a Core Lightning node that holds its keys |
 * | lightningd, master | the node's main process; its connection is fd 3 |
 * | client | a daemon of lightningd with a connection of its own |
 * | dbid | lightningd's number of a channel; 0 is no channel |
 * | broker | this project's program in place of the hsmd; holds no key |
 * | device, signer | the box that holds the keys and signs |
 * | softkey | our device in software |
 * | Sphinx-Key | a device in hardware; also its MQTT protocol |
 * | VLS | the Validating Lightning Signer, whose frames devices speak |
 * | cid | a device's MQTT client id |
 * | token | a device's login: a time, signed with its node key |
 * | hello | a device's first message; asks to be given requests |
 * | dialect | how a device speaks: Sphinx, or native |
 * | pairing | the device's public keys, pinned by the broker |
 * | holder, counterparty | our side of a channel, and the other |
 * | commitment number | counts a channel's states from 0 |
 * | per-commitment point | public key of one commitment number |
 * | revocation | disclosing an old commitment's secret |
 * | basepoint | a channel's public key that points tweak |
 * | funding | the 2-of-2 output that a channel lives in |
 * | splice | replacing a live channel's funding |
 * | sweep | spending an output of a closed channel to the wallet |
 * | penalty | taking a revoked commitment's outputs |
 * | anchor | a small output that lets a commitment be fee-bumped |
 * | preapproval | asking the signer before a payment is tried |
 * | signer error | a device's reply that says no: code and words |
 *
 * @module
 */

export { DecodeError, RequestError } from "./src/errors.ts";
export type { SignerErrorCode } from "./src/errors.ts";
export {
  isPermitted,
  MASTER_PERMISSIONS,
  messageName,
  PERMISSIONS,
  REPLIES,
  REQUESTS,
} from "./src/wire/hsmd.ts";
export type { RequestName, RequestOf } from "./src/wire/hsmd.ts";
export {
  decodeMessage,
  encodeMessage,
  messageType,
} from "./src/wire/message.ts";
export type { MessageOf, RequestRow, Row } from "./src/wire/message.ts";
export {
  decodeSignerRequest,
  decodeSignerResponse,
  encodeSignerRequest,
  encodeSignerResponse,
} from "./src/wire/vls.ts";
export type { SignerRequest, SignerResponse } from "./src/wire/vls.ts";
export { encodeFrame, FrameSplitter } from "./src/wire/frame.ts";
