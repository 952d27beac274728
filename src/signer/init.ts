/**
 * The start: a developer's switches, and init, which opens the secret.
 *
 * init says on which network the node is, what opens the file, and which
 * protocol versions it speaks; the answer says who the node is. It may come
 * again, after a reconnect, and is then answered again.
 *
 * | what is wrong | answer |
 * | --- | --- |
 * | the secret file, or its passphrase | init_reply_failure, with the stock hsmd's code |
 * | versions, network, keys that may not be forced | signer error 400 |
 *
 * What it does not do: read the file, or ask anybody for a passphrase.
 *
 * @module
 */

import { type Bip32Versions, networkOf } from "../bitcoin/networks.ts";
import { Secret } from "../crypto/secret.ts";
import { ChannelKeyRing } from "../keyderiv/channel.ts";
import { deriveControlKey } from "../keyderiv/control_key.ts";
import {
  deriveNodeKeys,
  identityOf,
  type NodeIdentity,
} from "../keyderiv/node.ts";
import {
  type NodeSecret,
  openSecretFile,
  parseSecretFile,
  SecretFileError,
} from "../keyderiv/secret_file.ts";
import {
  REPLIES,
  type RequestOf,
  REQUESTS,
  SECRET_TYPES,
  WIRE_VERSIONS,
} from "../wire/hsmd.ts";
import { encodeMessage } from "../wire/message.ts";
import type { PubKey } from "../wire/types.ts";
import { refuseBad } from "./call.ts";
import { KeyCache } from "./cache.ts";
import {
  NO_FEED,
  type ReadyState,
  type SignerState,
  type Step,
} from "./state.ts";

type Init = RequestOf<"init">;

/** What this signer can do, in the order in which the stock hsmd says it. */
const CAPABILITIES: readonly number[] = [
  REQUESTS.check_pubkey,
  REQUESTS.check_bip86_pubkey,
  REQUESTS.sign_any_delayed_payment_to_us,
  REQUESTS.sign_anchorspend,
  REQUESTS.sign_htlc_tx_mingle,
  REQUESTS.sign_splice_tx,
  REQUESTS.check_outpoint,
  REQUESTS.forget_channel,
  REQUESTS.revoke_commitment_tx,
  REQUESTS.sign_bolt12_2,
  REQUESTS.bip137_sign_message,
].map(({ type }) => type);

const PREAPPROVE_CHECKS: readonly number[] = [
  REQUESTS.preapprove_invoice_check.type,
  REQUESTS.preapprove_keysend_check.type,
];

/** 99: switches for tests of Core Lightning. There is no reply. */
export function applyPreinit(
  state: SignerState,
  { tlvs }: RequestOf<"dev_preinit">,
): Step {
  const { switches } = state;
  return {
    state: {
      ...state,
      switches: {
        failPreapprove: tlvs.failPreapprove ?? switches.failPreapprove,
        noPreapproveCheck: tlvs.noPreapproveCheck ?? switches.noPreapproveCheck,
        warnOnOvergrind: tlvs.warnOnOvergrind ?? switches.warnOnOvergrind,
      },
    },
    reply: null,
    effects: [],
    writes: [],
  };
}

/** 11: opens the secret. */
export function applyInit(state: SignerState, request: Init): Step {
  const version = negotiate(request);
  checkNetwork(state, request);
  checkForcedKeys(state, request);
  const secret = open(state.secretFile, request);
  if (secret instanceof SecretFileError) {
    return { state, reply: encodeFailure(secret), effects: [], writes: [] };
  }
  const ready = becomeReady(state, request, { version, secret });
  const reply = encodeInitReply(ready, secret);
  return { state: ready, reply, effects: [], writes: [] };
}

/**
 * The node's private key, as far as it can be known: by the name of its point a
 * device logs in. Null for a file that needs a passphrase, or is none.
 */
export function nodeKeyOf(state: SignerState): Secret | null {
  if (state.kind === "ready") return state.keys.node.secret;
  const secret = openWithoutInit(state);
  return secret && deriveNodeKeys(secret).node.secret;
}

/**
 * The key by which the owner's control messages are known, as far as it can be
 * known. Always of the seed: no init puts another in its place.
 */
export function controlPointOf(state: SignerState): PubKey | null {
  if (state.kind === "ready") return state.controlPoint;
  const secret = openWithoutInit(state);
  return secret && deriveControlKey(secret).point;
}

function openWithoutInit({ secretFile }: SignerState): NodeSecret | null {
  const secret = unlessRefused(() =>
    openSecretFile(parseSecretFile(secretFile.reveal()))
  );
  return secret instanceof SecretFileError ? null : secret;
}

/** The highest version that both speak. */
function negotiate(request: Init): number {
  const { hsmWireMinVersion: least, hsmWireMaxVersion: most } = request;
  if (most < WIRE_VERSIONS.min || least > WIRE_VERSIONS.max) {
    refuseBad(
      `Cannot agree on a version: node speaks ${least} to ${most}, ` +
        `signer ${WIRE_VERSIONS.min} to ${WIRE_VERSIONS.max}`,
    );
  }
  return Math.min(most, WIRE_VERSIONS.max);
}

/** A signer serves one network: keys are the same on all of them. */
function checkNetwork({ network }: SignerState, request: Init): void {
  const asked = networkOf(request.chainparams);
  const isSame = asked?.name === network.name &&
    isSameVersions(request.bip32KeyVersion, network.bip32);
  if (!isSame) {
    refuseBad(
      `Cannot serve network ${asked?.name ?? "unknown"}: ` +
        `this signer is set up for ${network.name}`,
    );
  }
}

function isSameVersions(a: Bip32Versions, b: Bip32Versions): boolean {
  return a.public === b.public && a.private === b.private;
}

/** Forced keys are for tests; where coins have worth, only for developers. */
function checkForcedKeys(state: SignerState, request: Init): void {
  const isForced = request.devForcePrivkey !== null ||
    request.devForceBip32Seed !== null ||
    request.devForceChannelSecrets !== null ||
    request.devForceChannelSecretsShaseed !== null;
  if (isForced && state.network.isMainnet && !state.isDeveloper) {
    refuseBad("Cannot force keys: this signer is not in developer mode");
  }
}

/** The secret, or why there is none. */
function open(file: Secret, request: Init): NodeSecret | SecretFileError {
  return unlessRefused(() =>
    openSecretFile(parseSecretFile(file.reveal()), {
      passphrase: request.tlvs.hsmPassphrase,
      encryptionKey: request.hsmEncryptionKey ?? undefined,
    })
  );
}

function unlessRefused(open: () => NodeSecret): NodeSecret | SecretFileError {
  try {
    return open();
  } catch (error) {
    if (error instanceof SecretFileError) return error;
    throw error;
  }
}

function encodeFailure(error: SecretFileError): Uint8Array {
  return encodeMessage(REPLIES.init_reply_failure, {
    errorCode: error.code,
    errorMessage: new TextEncoder().encode(error.message),
  });
}

function becomeReady(
  state: SignerState,
  request: Init,
  opened: { readonly version: number; readonly secret: NodeSecret },
): ReadyState {
  const keys = deriveNodeKeys(opened.secret, {
    nodeKey: request.devForcePrivkey,
    bip32Seed: request.devForceBip32Seed,
  });
  return {
    ...state,
    kind: "ready",
    feed: NO_FEED,
    version: opened.version,
    keys,
    // What was worked out from other keys is worth nothing.
    cache: new KeyCache(),
    identity: identityOf(keys, state.network.bip32),
    controlPoint: deriveControlKey(opened.secret).point,
    channels: new ChannelKeyRing(keys.channelBase, {
      secrets: request.devForceChannelSecrets,
      shaseed: request.devForceChannelSecretsShaseed,
    }),
  };
}

function encodeInitReply(state: ReadyState, secret: NodeSecret): Uint8Array {
  const { nodeId, bip32Base, bolt12 } = state.identity;
  const { noPreapproveCheck } = state.switches;
  return encodeMessage(REPLIES.init_reply_v4, {
    hsmVersion: state.version,
    hsmCapabilities: noPreapproveCheck
      ? CAPABILITIES
      : [...CAPABILITIES, ...PREAPPROVE_CHECKS],
    nodeId,
    bip32: bip32Base,
    bolt12,
    tlvs: {
      hsmSecretType: SECRET_TYPES[secret.kind],
      ...bip86Record(state.identity),
    },
  });
}

/** lightningd takes the wallet's kind from whether this record is there. */
function bip86Record({ bip86Base }: NodeIdentity) {
  return bip86Base === null ? {} : { bip86Base };
}
