/** lightningds and signers of different ages. @module */

import assert from "node:assert/strict";
import {
  abilitiesIn,
  answerFor,
  initFor,
  mayAsk,
  missingIn,
  problemOfInit,
} from "../../src/broker/negotiation.ts";
import { decode } from "../../src/wire/codec.ts";
import {
  REPLIES,
  type RequestName,
  type RequestOf,
  REQUESTS,
} from "../../src/wire/hsmd.ts";
import { decodeMessage, encodeMessage } from "../../src/wire/message.ts";
import {
  decodeSignerRequest,
  decodeSignerResponse,
} from "../../src/wire/vls.ts";
import { extKey, nodeId, pubkey } from "../../src/wire/types.ts";
import { readSignerSession } from "../support/recording.ts";

function recorded(topic: string): Uint8Array {
  const event = readSignerSession().find((event) => event.topic === topic);
  assert.ok(event !== undefined, topic);
  return event.payload;
}

/** lightningd's init of the recorded session: versions 4 to 5. */
const INIT = decodeSignerRequest(recorded("init-3-msg")).message;
/** What the signer of 2023 says to it. */
const OLD_VLS = decodeSignerResponse(recorded("init-3-res")).message;
const NEW_VLS_CAPABILITIES = [28, 142, 147, 149, 32, 34, 40];
const ALL_CAPABILITIES = [...NEW_VLS_CAPABILITIES, 29, 41, 45, 51, 52, 56];

function initOf(
  min: number,
  max: number,
  more: Partial<RequestOf<"init">> = {},
): Uint8Array {
  return encodeMessage(REQUESTS.init, {
    ...decodeMessage(REQUESTS.init, INIT),
    hsmWireMinVersion: min,
    hsmWireMaxVersion: max,
    ...more,
  });
}

function replyOf(
  hsmVersion: number,
  hsmCapabilities: readonly number[],
): Uint8Array {
  const point = Uint8Array.of(2, ...new Uint8Array(32).fill(1));
  return encodeMessage(REPLIES.init_reply_v4, {
    hsmVersion,
    hsmCapabilities,
    nodeId: decode(nodeId, point),
    bip32: decode(extKey, new Uint8Array(78)),
    bolt12: decode(pubkey, point),
    tlvs: {},
  });
}

const abilitiesOf = (version: number, capabilities: readonly number[]) =>
  abilitiesIn(replyOf(version, capabilities));

Deno.test("a Sphinx signer gets the recorded init, byte for byte", () => {
  assert.equal(initFor("sphinx", INIT).toHex(), INIT.toHex());
});

Deno.test("a Sphinx signer sees no TLVs, and a lowest version that it takes", () => {
  const hsmPassphrase = new TextEncoder().encode("secret words");
  const init = initOf(5, 6, { tlvs: { hsmPassphrase } });
  const shown = decodeMessage(REQUESTS.init, initFor("sphinx", init), {
    isStrict: true,
  });
  assert.deepEqual(shown.tlvs, {});
  assert.equal(shown.hsmWireMinVersion, 4);
  assert.equal(shown.hsmWireMaxVersion, 6);
  assert.equal(initFor("sphinx", init).length, INIT.length);
  const low = decodeMessage(REQUESTS.init, initFor("sphinx", initOf(3, 4)));
  assert.equal(low.hsmWireMinVersion, 3);
  assert.equal(initFor("native", init), init);
});

Deno.test("the signer of 2023 suits the lightningds of 2023", () => {
  assert.equal(problemOfInit(INIT, OLD_VLS, "d1"), null);
  assert.equal(problemOfInit(initOf(3, 4), OLD_VLS, "d1", "v23.08"), null);
});

Deno.test("a signer that is too old for a lightningd is said to be, plainly", () => {
  assert.equal(
    problemOfInit(initOf(5, 6), OLD_VLS, "d1"),
    "this lightningd wants hsmd version 5 to 6, device d1 speaks at most 4: " +
      "use lightningd up to v23.11, or newer software on the device",
  );
  assert.match(
    problemOfInit(initOf(5, 5), OLD_VLS, "d1") ?? "",
    /^this lightningd wants hsmd version 5, device d1 speaks at most 4: /,
  );
  // Its reply has another number, and another form.
  assert.match(
    problemOfInit(initOf(5, 6), Uint8Array.of(0, 113, 1), "d1") ?? "",
    /speaks at most 3: use lightningd up to v23.11,/,
  );
  assert.match(
    problemOfInit(initOf(5, 6), Uint8Array.of(0, 111), "d1") ?? "",
    /speaks at most 1: use lightningd up to v23.02,/,
  );
});

Deno.test("a version above what was asked for is no agreement", () => {
  assert.match(
    problemOfInit(initOf(3, 4), replyOf(5, ALL_CAPABILITIES), "d1") ?? "",
    /wants hsmd version 3 to 4, device d1 answers with 5: use a newer/,
  );
});

Deno.test("a lightningd that ends itself without splices is named beforehand", () => {
  const init = initOf(5, 6);
  const vls = replyOf(6, NEW_VLS_CAPABILITIES);
  const problemWith = (lightningd: string | null, reply = vls) =>
    problemOfInit(init, reply, "d1", lightningd);
  assert.equal(
    problemWith("v26.06.6"),
    "lightningd v26.06.6 ends itself when its signer cannot sign splices, " +
      "and device d1 cannot: use a lightningd before v26.04, or another device",
  );
  assert.match(problemWith("v26.04rc1-3-gabc") ?? "", /cannot sign splices/);
  assert.equal(problemWith("v25.12.1"), null);
  assert.equal(problemWith("v24.11"), null);
  assert.equal(problemWith(null), null);
  assert.equal(problemWith("5f3c2d1-modded"), null);
  assert.equal(problemWith("v26.06.6", replyOf(6, ALL_CAPABILITIES)), null);
  const noAnchors = replyOf(6, [28, 29]);
  assert.match(problemWith("v24.02", noAnchors) ?? "", /cannot spend anchors/);
  assert.equal(problemWith("v23.11", noAnchors), null);
});

Deno.test("what a node does without is one line", () => {
  assert.equal(
    missingIn(abilitiesIn(OLD_VLS), "d1"),
    "device d1 cannot: splices, checks of payments before they are approved, " +
      "messages signed by an address, forgetting of closed channels",
  );
  assert.equal(missingIn(abilitiesOf(6, ALL_CAPABILITIES), "d1"), null);
});

/** Requests that a VLS signer of some age does not know, by name. */
function unknownTo(version: number, capabilities: readonly number[]): string[] {
  const abilities = abilitiesOf(version, capabilities);
  return Object.values(REQUESTS).filter(({ type }) =>
    mayAsk(abilities, "sphinx", type) !== null
  ).map(({ name }) => name);
}

Deno.test("what would end an old signer is not sent to it", () => {
  const never: RequestName[] = [
    "get_output_scriptpubkey",
    "sign_option_will_fund_offer",
    "sign_splice_tx",
    "bip137_sign_message",
    "preapprove_invoice_check",
    "preapprove_keysend_check",
    "check_bip86_pubkey",
  ];
  assert.deepEqual(unknownTo(6, NEW_VLS_CAPABILITIES), never);
  assert.deepEqual(
    unknownTo(5, NEW_VLS_CAPABILITIES).filter((name) =>
      !never.some((known) => known === name)
    ),
    ["sign_bolt12_2"],
  );
  assert.deepEqual(
    unknownTo(4, [28, 142, 147, 149]).filter((name) =>
      !never.some((known) => known === name)
    ),
    [
      "sign_any_cannouncement_req",
      "check_outpoint",
      "forget_channel",
      "lock_outpoint",
      "revoke_commitment_tx",
      "sign_bolt12_2",
    ],
  );
  assert.deepEqual(unknownTo(6, [...ALL_CAPABILITIES, 24, 26]), []);
});

Deno.test("the recorded requests may all be asked of the recorded signer", () => {
  const abilities = abilitiesIn(OLD_VLS);
  for (const { topic, payload } of readSignerSession()) {
    if (topic !== "vls") continue;
    const { message } = decodeSignerRequest(payload);
    const type = (message[0] ?? 0) << 8 | (message[1] ?? 0);
    assert.equal(mayAsk(abilities, "sphinx", type), null, `${type}`);
  }
});

Deno.test("a refusal says what the device lacks", () => {
  assert.equal(
    mayAsk(abilitiesIn(OLD_VLS), "sphinx", REQUESTS.sign_splice_tx.type),
    "the device does not know sign_splice_tx: it speaks hsmd version 4 and " +
      "does not list 29",
  );
  assert.equal(
    mayAsk(abilitiesIn(OLD_VLS), "native", REQUESTS.sign_splice_tx.type),
    null,
  );
});

Deno.test("what nobody decides about is answered for a signer that cannot", () => {
  const old = abilitiesIn(OLD_VLS);
  const { check_outpoint, lock_outpoint, ecdh_req } = REQUESTS;
  const buried = answerFor(old, "sphinx", check_outpoint.type);
  assert.equal(buried?.toHex(), "008401");
  assert.equal(answerFor(old, "sphinx", lock_outpoint.type)?.toHex(), "0089");
  assert.equal(answerFor(old, "native", check_outpoint.type), null);
  assert.equal(answerFor(old, "sphinx", ecdh_req.type), null);
  const newer = abilitiesOf(6, NEW_VLS_CAPABILITIES);
  assert.equal(answerFor(newer, "sphinx", check_outpoint.type), null);
});
