/**
 * remote-hsmd as a library: the hsmd protocol of Core Lightning, and what a
 * signer device says and hears on its link.
 *
 * | part | for |
 * | --- | --- |
 * | hsmd messages and frames | what lightningd asks, and as devices are asked |
 * | {@linkcode NoiseInitiator}, {@linkcode NoiseResponder} | BOLT 8, for sealed links |
 * | {@linkcode parsePairingString} | the string that pairs a device with a node |
 * | {@linkcode encodeFromDevice} and its like | a device's talk with its storage (LSS) |
 * | {@linkcode sealEnvelope}, {@linkcode encodeControlMessage} | the owner's signed control messages |
 *
 * ```ts
 * import { decodeMessage, REQUESTS } from "./mod.ts";
 *
 * const bytes = Uint8Array.fromHex("001b0008636f6d6d616e646f");
 * const { info } = decodeMessage(REQUESTS.derive_secret, bytes);
 * console.assert(new TextDecoder().decode(info) === "commando");
 * ```
 *
 * Two ends shake hands; each learns who the other is, and has two ciphers:
 *
 * ```ts
 * import { NoiseInitiator, NoiseResponder, Secret } from "./mod.ts";
 *
 * const random = (length: number) =>
 *   crypto.getRandomValues(new Uint8Array(length));
 * const prologue = new TextEncoder().encode("lightning");
 * const [ours, theirs] = [1, 2].map((n) => new Secret(new Uint8Array(32).fill(n)));
 * if (ours === undefined || theirs === undefined) throw new Error();
 * const responder = new NoiseResponder({ prologue, random, key: theirs });
 * const initiator = new NoiseInitiator({
 *   prologue,
 *   random,
 *   key: ours,
 *   // The public key of `theirs`: an initiator knows whom it calls.
 *   responder: Uint8Array.fromHex(
 *     "024d4b6cd1361032ca9bd2aeb9d900aa4d45d9ead80ac9423374c451a7254d0766",
 *   ),
 * });
 * const second = responder.takeActOne(initiator.actOne);
 * if ("failure" in second) throw new Error(second.failure);
 * const third = initiator.takeActTwo(second.actTwo);
 * if ("failure" in third) throw new Error(third.failure);
 * const met = responder.takeActThree(third.actThree);
 * if ("failure" in met) throw new Error(met.failure);
 * console.assert(met.initiator.length === 33);
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
 * | pairing | the device's public keys, pinned by the broker; its link key, by the device |
 * | pairing string | address, link key and one-time code: all that a device needs |
 * | fingerprint | eight letters that both sides show, of link key and cid |
 * | sealed | under BOLT 8 between broker and device, whatever server is between |
 * | link key | the broker's static key for that |
 * | active, warm | the device that is asked, and one that could take over |
 * | storage, LSS | where devices keep state that others go on from; versions only rise |
 * | control message | what a device's owner tells it, signed with the control key |
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

export { DecodeError, RequestError, UsageError } from "./src/errors.ts";
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
export { Secret } from "./src/crypto/secret.ts";
export { NoiseInitiator, NoiseResponder } from "./src/crypto/noise.ts";
export type {
  NoiseFailure,
  NoiseOptions,
  NoiseSession,
} from "./src/crypto/noise.ts";
export {
  formatPairingString,
  parsePairingString,
} from "./src/mqtt/pairing_string.ts";
export type { PairingInvitation } from "./src/mqtt/pairing_string.ts";
export { pairingFingerprint } from "./src/mqtt/fingerprint.ts";
export {
  decodeFromBroker,
  decodeFromDevice,
  encodeFromBroker,
  encodeFromDevice,
} from "./src/wire/lss.ts";
export type { LssEntry, LssFromBroker, LssFromDevice } from "./src/wire/lss.ts";
export {
  decodeControlMessage,
  decodeControlResponse,
  encodeControlMessage,
  encodeControlResponse,
} from "./src/wire/control_message.ts";
export type {
  ControlMessage,
  ControlResponse,
} from "./src/wire/control_message.ts";
export { openEnvelope, sealEnvelope } from "./src/wire/control_envelope.ts";
export type { Envelope } from "./src/wire/control_envelope.ts";
