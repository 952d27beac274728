/**
 * The node cannot write a control message: whatever it asks for, in words that it
 * chooses, no answer opens as an envelope of the control key, or holds that key.
 *
 * The same attempts do open as envelopes of the node key, which is what a Sphinx
 * device would go by: so the attempts are real ones.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { publicKey, useFastCurve } from "../../src/crypto/secp.ts";
import { loadFastCurve } from "../../src/crypto/secp_wasm.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { deriveControlKey } from "../../src/keyderiv/control_key.ts";
import {
  openSecretFile,
  parseSecretFile,
} from "../../src/keyderiv/secret_file.ts";
import {
  controlPointOf,
  createSigner,
  type SignerState,
  step,
} from "../../src/signer/handle.ts";
import { openEnvelope, sealEnvelope } from "../../src/wire/control_envelope.ts";
import { encodeControlMessage } from "../../src/wire/control_message.ts";
import { type RequestName, REQUESTS } from "../../src/wire/hsmd.ts";
import {
  encodeMessage,
  messageType,
  type Row,
} from "../../src/wire/message.ts";
import { NOBODY, type PubKey } from "../../src/wire/types.ts";
import { SIGNER_ERROR_TYPE } from "../../src/wire/vls.ts";
import { FILES } from "../keyderiv/tables.ts";
import { messageArbitrary, runs } from "../support/arbitrary.ts";
import { initFor } from "../support/init.ts";
import { recordingName, recordingsIn } from "../support/recording.ts";
import { playStrict } from "../support/strict.ts";

useFastCurve(await loadFastCurve());

const utf8 = (text: string) => new TextEncoder().encode(text);
const joined = (...parts: readonly Uint8Array[]) =>
  Uint8Array.from(parts.flatMap((part) => [...part]));

/** What the node would like to have signed: long enough for any form. */
const PAYLOAD = encodeControlMessage({
  kind: "UpdateAllowlist",
  value: ["bcrt1q6rhpng9evdsfnn833a4f4vej0asu6dk5srld6x", "x".repeat(60)],
});
const NONCE = 1n;
const SIGNED = joined(PAYLOAD, Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 1));
const PREFIXED = joined(utf8("Lightning Signed Message:"), SIGNED);

function signerOf(file: Uint8Array): SignerState {
  const network = NETWORKS.regtest;
  const state = createSigner({
    secretFile: file,
    network,
    isDeveloper: true,
  });
  return ask(state, initFor(network)).state;
}

function ask(state: SignerState, message: Uint8Array) {
  return step(state, { peerId: NOBODY, dbid: 0n, message }, 0);
}

function controlKeyOf(file: Uint8Array) {
  return deriveControlKey(openSecretFile(parseSecretFile(file)));
}

/** Every 64 bytes of an answer, as the signature of the wanted envelope. */
function* forgeries(reply: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at + 64 <= reply.length; at++) {
    const signature = reply.subarray(at, at + 64);
    yield joined(SIGNED, Uint8Array.of(31), signature);
  }
}

const isOpenedBy = (point: Uint8Array) => (envelope: Uint8Array) =>
  openEnvelope(envelope, point) !== null;

function gossip(type: number, signedFrom: number): Uint8Array {
  const head = new Uint8Array(signedFrom);
  new DataView(head.buffer).setUint16(0, type);
  return joined(head, PREFIXED);
}

/** PREFIXED as text and five-bit words: an invoice's digest is a single hash. */
const WORDS = Uint8Array.from(
  PREFIXED.toHex().split("").flatMap((digit) => [parseInt(digit, 16) * 2]),
);

/** Names that could lead to the key, if it were a named secret. */
const NAMES = [
  "",
  "remote-hsmd control key",
  "control",
  "control key",
  "\0\0\0\0",
  "remote-hsmd control key\0\0\0\0",
  "nodeid",
  "peer seed",
  "bip32 seed",
  "derived secrets",
].map(utf8);

function attempts(point: PubKey): readonly Uint8Array[] {
  const R = REQUESTS;
  const merkleroot = new Uint8Array(32) as never;
  const names = [...NAMES, SIGNED, point];
  const fields = { messagename: utf8("invoice"), fieldname: utf8("signature") };
  return [
    encodeMessage(R.sign_message, { msg: SIGNED }),
    encodeMessage(R.sign_message, { msg: PREFIXED }),
    encodeMessage(R.bip137_sign_message, { msg: SIGNED, keyidx: 0 }),
    encodeMessage(R.bip137_sign_message, { msg: PREFIXED, keyidx: 1 }),
    encodeMessage(R.sign_invoice, { hrp: PREFIXED, u5bytes: new Uint8Array() }),
    encodeMessage(R.sign_invoice, { hrp: new Uint8Array(), u5bytes: WORDS }),
    encodeMessage(R.node_announcement_sig_req, {
      announcement: gossip(257, 66),
    }),
    encodeMessage(R.cupdate_sig_req, { cu: gossip(258, 66) }),
    encodeMessage(R.ecdh_req, { point }),
    ...names.flatMap((name) => [
      encodeMessage(R.derive_secret, { info: name }),
      encodeMessage(R.sign_bolt12, {
        ...fields,
        merkleroot,
        publictweak: name,
      }),
      encodeMessage(R.sign_bolt12_2, {
        ...fields,
        merkleroot,
        info: name,
        publictweak: SIGNED,
      }),
    ]),
  ];
}

for (const [name, file] of [["S1", FILES.S1], ["M1", FILES.M1]] as const) {
  Deno.test(`no chosen request makes a control message, with secret ${name}`, () => {
    const state = signerOf(file);
    assert.ok(state.kind === "ready");
    const { secret, point } = controlKeyOf(file);
    assert.equal(controlPointOf(state)?.toHex(), point.toHex());
    let opened = 0;
    for (const message of attempts(point)) {
      const { reply } = ask(state, message);
      assert.ok(reply !== null);
      assert.notEqual(messageType(reply), SIGNER_ERROR_TYPE);
      assert.ok(!reply.toHex().includes(secret.reveal().toHex()));
      for (const forged of forgeries(reply)) {
        assert.ok(!isOpenedBy(point)(forged));
        if (isOpenedBy(state.identity.nodeId)(forged)) opened += 1;
      }
    }
    // signmessage, node_announcement and channel_update: Sphinx's own key gives.
    assert.ok(opened >= 3, `${opened}`);
  });

  Deno.test(`no secret that is revealed signs a control message, with ${name}`, () => {
    const state = signerOf(file);
    const { point } = controlKeyOf(file);
    for (const message of attempts(point)) {
      const type = messageType(message);
      const isSecret = type === REQUESTS.derive_secret.type ||
        type === REQUESTS.ecdh_req.type;
      const { reply } = ask(state, message);
      if (!isSecret || reply === null) continue;
      const key = new Secret(reply.subarray(2, 34));
      const forged = sealEnvelope({ payload: PAYLOAD, nonce: NONCE }, key);
      assert.ok(!isOpenedBy(point)(forged));
    }
  });
}

Deno.test("the owner's own envelope opens", () => {
  const { secret, point } = controlKeyOf(FILES.S1);
  const envelope = sealEnvelope({ payload: PAYLOAD, nonce: NONCE }, secret);
  assert.ok(isOpenedBy(point)(envelope));
});

Deno.test("no answer to any request holds the control key", () => {
  const state = signerOf(FILES.S1);
  const { secret, point } = controlKeyOf(FILES.S1);
  const hidden = secret.reveal().toHex();
  // deno-lint-ignore no-explicit-any
  const rows = Object.entries(REQUESTS) as [RequestName, Row<any>][];
  for (const [, row] of rows) {
    fc.assert(
      fc.property(messageArbitrary(row), (body) => {
        const { reply } = ask(state, encodeMessage(row, body));
        if (reply === null) return;
        assert.ok(!reply.toHex().includes(hidden));
        for (const forged of forgeries(reply.subarray(0, 200))) {
          assert.ok(!isOpenedBy(point)(forged));
        }
      }),
      { numRuns: runs(4) },
    );
  }
});

Deno.test("no answer in a recorded node's life holds its control key", () => {
  const seen = new Set<number>();
  for (const url of recordingsIn("flows").slice(0, 8)) {
    const hidden = new Map<Secret, string>();
    playStrict(url, undefined, ({ state, reply }, { message }) => {
      const { secretFile } = state;
      if (!hidden.has(secretFile)) {
        const { secret } = controlKeyOf(secretFile.reveal());
        hidden.set(secretFile, secret.reveal().toHex());
      }
      const key = hidden.get(secretFile) ?? "";
      assert.equal(key.length, 64);
      assert.ok(!reply?.toHex().includes(key), recordingName(url));
      seen.add(messageType(message) ?? -1);
    });
  }
  assert.ok(seen.size > 15, `${seen.size} types of request`);
});

/** Every secret that hangs on a value, however deep. */
function* secretsIn(
  value: unknown,
  seen = new Set<unknown>(),
): Generator<Secret> {
  if (typeof value !== "object" || value === null || seen.has(value)) return;
  seen.add(value);
  if (value instanceof Secret) yield value;
  if (value instanceof Uint8Array) return;
  for (const each of Object.values(value)) yield* secretsIn(each, seen);
}

Deno.test("a signer at work does not have the control key", () => {
  const state = signerOf(FILES.M1);
  const { secret, point } = controlKeyOf(FILES.M1);
  const all = [...secretsIn(state)];
  assert.ok(all.length > 3);
  for (const each of all) assert.ok(!each.equals(secret));
  assert.equal(publicKey(secret.reveal()).toHex(), point.toHex());
});

Deno.test("keys that a developer forces do not change the control key", () => {
  const network = NETWORKS.regtest;
  const locked = createSigner({
    secretFile: FILES.S1,
    network,
    isDeveloper: true,
  });
  const forced = initFor(network, {
    devForcePrivkey: new Uint8Array(32).fill(7) as never,
    devForceBip32Seed: new Uint8Array(32).fill(8) as never,
  });
  const { state } = ask(locked, forced);
  assert.ok(state.kind === "ready");
  const { point } = controlKeyOf(FILES.S1);
  assert.equal(controlPointOf(state)?.toHex(), point.toHex());
  assert.equal(controlPointOf(locked)?.toHex(), point.toHex());
});

Deno.test("the control key is not known before a seed with a passphrase is opened", () => {
  const locked = createSigner({
    secretFile: FILES.W1,
    network: NETWORKS.regtest,
    isDeveloper: false,
  });
  assert.equal(controlPointOf(locked), null);
});
