/**
 * What a refusal of the device becomes: for each request that lightningd or
 * connectd may make, the bytes that Core Lightning survives.
 *
 * The requests are the stock hsmd's own vectors (tests/fixtures); the answers
 * were tried on a lightningd v26.06.6 and are written out here.
 *
 * @module
 */

import assert from "node:assert/strict";
import * as bitcoinjs from "npm:bitcoinjs-lib@7.0.5";
import { REFUSALS } from "../../src/broker/refusals.ts";
import {
  mayFundChannel,
  withoutUnsigned,
} from "../../src/broker/unsigned_psbt.ts";
import type { Answer } from "../../src/unixfd.ts";
import {
  MASTER_PERMISSIONS,
  REPLIES,
  type RequestName,
  REQUESTS,
} from "../../src/wire/hsmd.ts";
import {
  decodeMessage,
  encodeMessage,
  messageType,
  type RequestRow,
} from "../../src/wire/message.ts";
import {
  decodeSignerError,
  encodeSignerError,
  SIGNER_ERROR_TYPE,
} from "../../src/wire/vls.ts";
import vectors from "../fixtures/hsmd_vectors.json" with { type: "json" };
import { FakeNode, INIT, PEER, pointRequest, settle } from "./fake.ts";

const ROWS = Object.values(REQUESTS) as unknown as RequestRow[];
const TEXT = "policy failure: test-fee: 3000 sat, limit 2000 sat; raise it";
const UTF8 = new TextEncoder();

/** The stock hsmd's first request of this type. */
function requestOf(type: number): Uint8Array {
  const start = Uint8Array.of(type >> 8, type & 0xff).toHex();
  const found = vectors.vectors.find(({ request }) =>
    request.startsWith(start)
  );
  if (found !== undefined) return Uint8Array.fromHex(found.request);
  throw new Error(`No vector of type ${type}`);
}

/** Has a request refused by a device, with what was logged. */
async function refuse(
  message: Uint8Array,
  { code = 403, text = TEXT, dbid = 0n } = {},
): Promise<{ answer: Answer; log: readonly string[] }> {
  using node = new FakeNode();
  const device = await node.start();
  const before = node.log.length;
  const answer = node.ask(message, { dbid });
  device.fail(device.sequences.at(-1) ?? -1, code, text);
  return { answer: await answer, log: node.log.slice(before) };
}

async function replyTo(type: number): Promise<string> {
  const { answer } = await refuse(requestOf(type));
  assert.equal(answer.kind, "reply");
  return answer.kind === "reply" ? answer.message.toHex() : "";
}

const zeros = (size: number) => "00".repeat(size);

const REPLIED: Readonly<Record<number, string>> = {
  2: `0066${zeros(128)}`,
  5: `0069${zeros(64)}01`,
  6: `006a${zeros(64)}`,
  8: `006c${zeros(65)}`,
  23: `007b${zeros(65)}`,
  25: `007d${zeros(64)}`,
  30: "0082",
  34: "0086",
  38: "008a00",
  39: "008b00",
  51: "008a00",
  52: "008b00",
  142: `0070${zeros(64)}01`,
  143: `0070${zeros(64)}01`,
  144: `0070${zeros(64)}01`,
  146: `0070${zeros(64)}01`,
};

for (const [type, wanted] of Object.entries(REPLIED)) {
  Deno.test(`Request ${type} is refused by the reply ${wanted.slice(0, 6)}…`, async () => {
    assert.equal(await replyTo(Number(type)), wanted);
  });
}

Deno.test("A channel update comes back as it was, without a signature", async () => {
  const request = requestOf(3);
  assert.equal(await replyTo(3), `0067${request.subarray(2).toHex()}`);
});

Deno.test("A shared secret is refused by one that nobody knows", async () => {
  const [first, second] = [await replyTo(1), await replyTo(1)];
  assert.match(first, /^0064[0-9a-f]{64}$/);
  assert.notEqual(first, second);
});

for (const type of [27, 45]) {
  Deno.test(`Request ${type} is refused by what is no reply to it`, async () => {
    const reply = Uint8Array.fromHex(await replyTo(type));
    assert.equal(messageType(reply), SIGNER_ERROR_TYPE);
    const { code, message } = decodeSignerError(reply);
    assert.equal(code, 403);
    assert.equal(new TextDecoder().decode(message), TEXT);
  });
}

for (const type of [4, 10, 24, 41]) {
  Deno.test(`Request ${type} has no kind refusal`, async () => {
    const { answer } = await refuse(requestOf(type));
    assert.deepEqual(answer, { kind: "refused", reason: TEXT });
  });
}

Deno.test("Everything that the node asks of a device has a row, and nothing else", () => {
  const elsewhere = [
    "client_hsmfd",
    "init",
    "dev_preinit",
    "dev_memleak",
    "check_pubkey",
    "check_bip86_pubkey",
  ];
  const asked = ROWS
    .filter(({ permission }) => (MASTER_PERMISSIONS & permission) !== 0)
    .map(({ name }) => name)
    .filter((name) => !elsewhere.includes(name));
  assert.deepEqual(Object.keys(REFUSALS).sort(), asked.sort());
});

Deno.test("Each answer is a reply of its row, or clearly none", async () => {
  for (const name of Object.keys(REFUSALS) as RequestName[]) {
    const row: RequestRow = REQUESTS[name] as unknown as RequestRow;
    const { answer } = await refuse(requestOf(row.type));
    if (answer.kind !== "reply") continue;
    const type = messageType(answer.message) ?? -1;
    const isReply = row.replies.includes(type);
    assert.ok(isReply || type === SIGNER_ERROR_TYPE, name);
  }
});

// ------------------------------------------------------------------ PSBTs

/** A PSBT of bitcoinjs-lib; inputs are final or bare, outputs are scripts. */
function makePsbt(
  finals: readonly boolean[],
  scripts: readonly string[],
): Uint8Array {
  const psbt = new bitcoinjs.Psbt();
  for (const [index, isFinal] of finals.entries()) {
    psbt.addInput({
      hash: new Uint8Array(32).fill(index + 1),
      index,
      witnessUtxo: {
        script: Uint8Array.fromHex("0014" + "22".repeat(20)),
        value: 10_000n,
      },
      ...(isFinal
        ? { finalScriptWitness: Uint8Array.of(1, 2, 0xaa, 0xbb) }
        : {}),
    });
  }
  for (const script of scripts) {
    psbt.addOutput({ script: Uint8Array.fromHex(script), value: 9_000n });
  }
  return psbt.toBuffer();
}

const P2WPKH = "0014" + "33".repeat(20);
const P2WSH = "0020" + "44".repeat(32);
const P2TR = "5120" + "55".repeat(32);

async function refusePsbt(
  psbt: Uint8Array,
  make: (psbt: Uint8Array) => Uint8Array,
): Promise<Answer> {
  return (await refuse(make(psbt))).answer;
}

const withdrawal = (psbt: Uint8Array) =>
  encodeMessage(REQUESTS.sign_withdrawal, { inputs: [], psbt });
const naming = {
  peerid: PEER,
  channelDbid: 5n,
  inputs: [],
} as const;

Deno.test("A wallet spend comes back unsigned", async () => {
  const psbt = makePsbt([false], [P2WPKH, P2TR]);
  const message = encodeMessage(REPLIES.sign_withdrawal_reply, { psbt });
  const answer = await refusePsbt(psbt, withdrawal);
  assert.deepEqual(answer, { kind: "reply", message });
});

Deno.test("A spend that may fund a channel fails the command that asks", async () => {
  const unreadable = Uint8Array.of(1, 2, 3);
  for (const psbt of [makePsbt([false], [P2TR, P2WSH]), unreadable]) {
    const answer = await refusePsbt(psbt, withdrawal);
    assert.equal(answer.kind, "reply");
    if (answer.kind !== "reply") continue;
    assert.equal(messageType(answer.message), SIGNER_ERROR_TYPE);
  }
});

Deno.test("A channel's output is a P2WSH and no other script", () => {
  assert.ok(mayFundChannel(makePsbt([false], [P2WSH])));
  const others = [P2WPKH, P2TR, "0020" + "44".repeat(31)];
  for (const script of others) {
    assert.ok(!mayFundChannel(makePsbt([false], [script])), script);
  }
});

Deno.test("An anchor spend comes back unsigned", async () => {
  const psbt = makePsbt([false, false], [P2TR]);
  const message = encodeMessage(REPLIES.sign_anchorspend_reply, { psbt });
  const answer = await refusePsbt(
    psbt,
    (psbt) => encodeMessage(REQUESTS.sign_anchorspend, { ...naming, psbt }),
  );
  assert.deepEqual(answer, { kind: "reply", message });
});

const mingle = (psbt: Uint8Array) =>
  encodeMessage(REQUESTS.sign_htlc_tx_mingle, { ...naming, psbt });

Deno.test("A mingled HTLC transaction comes back as it was before, and final", async () => {
  const answer = await refusePsbt(
    makePsbt([true, false, false], [P2WSH, P2TR]),
    mingle,
  );
  assert.equal(answer.kind, "reply");
  if (answer.kind !== "reply") return;
  const { psbt } = decodeMessage(
    REPLIES.sign_htlc_tx_mingle_reply,
    answer.message,
  );
  // BIP 174 knows no other extractor than one that wants every input final.
  const tx = bitcoinjs.Psbt.fromBuffer(psbt).extractTransaction(true);
  assert.equal(tx.ins.length, 1);
  assert.equal(tx.ins[0]?.witness[0]?.toHex(), "aabb");
  assert.deepEqual(
    tx.outs.map(({ script }) => script.toHex()),
    [P2WSH],
  );
});

Deno.test("A mingled transaction with nothing final has no kind refusal", async () => {
  for (const psbt of [makePsbt([false], [P2TR]), Uint8Array.of(0)]) {
    const answer = await refusePsbt(psbt, mingle);
    assert.deepEqual(answer, { kind: "refused", reason: TEXT });
  }
  assert.equal(withoutUnsigned(makePsbt([true, true], [P2TR])), null);
});

// ----------------------------------------------------- who asked, what is said

Deno.test("A channel's daemon is refused by the end of its connection", async () => {
  const { answer, log } = await refuse(pointRequest(1), { dbid: 7n });
  assert.deepEqual(answer, { kind: "refused", reason: TEXT });
  const whom = `${PEER.toHex()}/7`;
  assert.deepEqual(log, [
    `unusual refused get_per_commitment_point for ${whom}: ${TEXT}`,
  ]);
});

Deno.test("A channel's daemon that may ask for a shared secret is refused like for anything", async () => {
  const { answer } = await refuse(requestOf(1), { dbid: 7n });
  assert.equal(answer.kind, "refused");
});

Deno.test("A refusal names the channel that the node asked about", async () => {
  const psbt = makePsbt([false], [P2TR]);
  const { log } = await refuse(
    encodeMessage(REQUESTS.sign_anchorspend, { ...naming, psbt }),
  );
  const whom = `${PEER.toHex()}/5`;
  assert.deepEqual(log, [
    `unusual refused sign_anchorspend for ${whom}: ${TEXT}`,
  ]);
});

Deno.test("A refusal of what concerns no channel names the node", async () => {
  const { log } = await refuse(requestOf(23));
  assert.deepEqual(log, [`unusual refused sign_message for the node: ${TEXT}`]);
});

Deno.test("A device that broke is refused as kindly and reported louder", async () => {
  const text = "Cannot write the card: disk full";
  const { answer, log } = await refuse(requestOf(5), { code: 500, text });
  assert.equal(answer.kind, "reply");
  assert.equal(log.length, 1);
  assert.match(log[0] ?? "", /^broken signer failed at sign_commitment_tx /);
});

Deno.test("A request that is none stays a bad request", async () => {
  const { answer, log } = await refuse(requestOf(5), { code: 400 });
  assert.deepEqual(answer, { kind: "bad", reason: TEXT });
  assert.deepEqual(log, []);
});

Deno.test("A Sphinx device's error is a refusal of the request under way", async () => {
  using node = new FakeNode();
  const device = await node.start({ isSphinx: true });
  const answer = node.ask(requestOf(51));
  device.publish("error", UTF8.encode(TEXT));
  const reply = await answer;
  assert.deepEqual(reply.kind === "reply" && reply.message.toHex(), "008a00");
});

Deno.test("An init that the device refuses ends lightningd with the device's words", async () => {
  for (const [code, kind] of [[403, "reply"], [500, "reply"], [400, "bad"]]) {
    using node = new FakeNode();
    const answer = node.ask(INIT);
    const device = node.connect();
    device.hello();
    await settle();
    device.answerInit(
      encodeSignerError({ code: Number(code), message: UTF8.encode(TEXT) }),
    );
    const reply = await answer;
    assert.equal(reply.kind, kind);
    if (reply.kind !== "reply") continue;
    const failure = decodeMessage(REPLIES.init_reply_failure, reply.message);
    // 0 would end lightningd as if all was well.
    assert.equal(failure.errorCode, 20);
    assert.equal(new TextDecoder().decode(failure.errorMessage), TEXT);
  }
});

Deno.test("Many refusals by one rule are few lines, and none is uncounted", async () => {
  using node = new FakeNode();
  const device = await node.start();
  const before = node.log.length;
  for (let i = 0; i < 50; i++) {
    const answer = node.ask(requestOf(23));
    device.fail(device.sequences.at(-1) ?? -1, 403, TEXT);
    await answer;
  }
  const other = node.ask(requestOf(23));
  device.fail(
    device.sequences.at(-1) ?? -1,
    403,
    "policy failure: test-other: no",
  );
  await other;
  const lines = () => node.log.slice(before);
  assert.equal(lines().length, 4, "three of the one rule, one of the other");
  assert.match(lines()[3] ?? "", /test-other/);
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  assert.equal(lines().length, 5);
  assert.match(lines()[4] ?? "", /test-fee.* \(and 46 more of these\)$/);
});
