/**
 * The message tables: every row goes both ways, every recorded message of the
 * stock hsmd comes back byte for byte, and the worked examples hold.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import vectors from "../fixtures/hsmd_vectors.json" with { type: "json" };
import { DecodeError } from "../../src/errors.ts";
import {
  isPermitted,
  MASTER_PERMISSIONS,
  messageName,
  PERMISSIONS,
  REPLIES,
  replyRow,
  requestRow,
  REQUESTS,
} from "../../src/wire/hsmd.ts";
import {
  byType,
  decodeMessage,
  encodeMessage,
  messageType,
  reply,
  type Row,
} from "../../src/wire/message.ts";
import { messageArbitrary, runs } from "../support/arbitrary.ts";
import { hex } from "../support/codec_cases.ts";
import { ALL_ROWS } from "../support/fuzz.ts";
import { readEvents, recordingsIn } from "../support/recording.ts";

for (const row of ALL_ROWS) {
  Deno.test(`${row.name} (${row.type}) goes both ways`, () => {
    const inverts = fc.property(messageArbitrary(row), (value) => {
      const payload = encodeMessage(row, value);
      assert.equal(messageType(payload), row.type);
      assert.deepEqual(decodeMessage(row, payload, { isStrict: true }), value);
      const size = payload.length - 2;
      assert.ok(row.body.minSize <= size && size <= row.body.maxSize);
    });
    fc.assert(inverts, { numRuns: runs(40) });
  });
}

/** Reads a message, writes it again and compares. */
function checkRecorded(row: Row | undefined, payload: Uint8Array): void {
  const name = messageName(messageType(payload));
  assert.ok(row !== undefined, `${name} has no row`);
  const value = decodeMessage(row, payload, { isStrict: true });
  assert.equal(encodeMessage(row, value).toHex(), payload.toHex(), name);
}

function rowFor(
  kind: "request" | "reply",
  payload: Uint8Array,
): Row | undefined {
  const type = messageType(payload) ?? -1;
  return kind === "request" ? requestRow(type) : replyRow(type);
}

for (const folder of ["vectors", "flows"] as const) {
  Deno.test(`Recorded messages come back byte for byte: ${folder}`, () => {
    let count = 0;
    for (const url of recordingsIn(folder)) {
      for (const event of readEvents(url)) {
        if (event.kind !== "request" && event.kind !== "reply") continue;
        checkRecorded(rowFor(event.kind, event.bytes), event.bytes);
        count++;
      }
    }
    assert.ok(count > 0);
  });
}

Deno.test("Replies in recordings have a number that their request allows", () => {
  for (const url of recordingsIn("vectors", "flows")) {
    const open = new Map<number, readonly number[]>();
    for (const event of readEvents(url)) {
      if (event.kind === "request") {
        open.set(event.conn, requestRow(event.type)?.replies ?? []);
      } else if (event.kind === "reply") {
        const isAllowed = open.get(event.conn)?.includes(event.type);
        assert.ok(isAllowed, `${url}: ${event.type}`);
      }
    }
  }
});

Deno.test("The stock hsmd's request and reply pairs come back byte for byte", () => {
  for (const { request, reply } of vectors.vectors) {
    checkRecorded(rowFor("request", hex(request)), hex(request));
    if (typeof reply !== "string") continue;
    checkRecorded(rowFor("reply", hex(reply)), hex(reply));
  }
});

const MAINNET =
  "6fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000";

Deno.test("An init request is the worked example's bytes", () => {
  const init = {
    bip32KeyVersion: { public: 0x0488b21e, private: 0x0488ade4 },
    chainparams: hex(MAINNET),
    hsmEncryptionKey: null,
    devForcePrivkey: null,
    devForceBip32Seed: null,
    devForceChannelSecrets: null,
    devForceChannelSecretsShaseed: null,
    hsmWireMinVersion: 5,
    hsmWireMaxVersion: 6,
    tlvs: {},
  };
  const payload = hex(
    `000b 0488b21e 0488ade4 ${MAINNET} 00 00 00 00 00 00000005 00000006`,
  );
  const row: Row = REQUESTS.init as unknown as Row;
  assert.deepEqual(decodeMessage(row, payload, { isStrict: true }), init);
  assert.deepEqual(encodeMessage(row, init), payload);
});

Deno.test("An init request may end in a passphrase, its NUL included", () => {
  const { init } = REQUESTS;
  const plain = hex(
    `000b 0488b21e 0488ade4 ${MAINNET} 00 00 00 00 00 00000005 00000006`,
  );
  const payload = Uint8Array.of(...plain, ...hex("01 03 707700"));
  const { tlvs } = decodeMessage(init, payload);
  assert.deepEqual(tlvs, { hsmPassphrase: hex("7077") });
});

Deno.test("The whole init reply of the worked example comes back", () => {
  const payload = hex(
    "007200000006000d0000001c000000380000008e00000093000000950000001d0000" +
      "00200000002200000028000000290000002d00000033000000340254362a03265d" +
      "c5363c66556768fdafb6f196f0ef3bdd0a59a84677e95462b6940488b21e026896" +
      "baf100000000262f1245ae343a30b93da83adb0de95fe2c0e2751ed285ecfce030" +
      "ebe35ed2610242625c2cf7f546b9786efddd7c33cc1ec2e7cc2ba28e3838426e64" +
      "15fd10ba09039d3dc44e94554a845cf4fbc2afd69bba2ed1562b37851b8edc4bee" +
      "7ed6580d9c010100",
  );
  const row = REPLIES.init_reply_v4;
  const value = decodeMessage(row, payload, { isStrict: true });
  assert.equal(value.hsmVersion, 6);
  assert.deepEqual(
    value.hsmCapabilities,
    [28, 56, 142, 147, 149, 29, 32, 34, 40, 41, 45, 51, 52],
  );
  assert.deepEqual(value.tlvs, { hsmSecretType: 0 });
  assert.equal(
    value.bolt12.toHex(),
    "039d3dc44e94554a845cf4fbc2afd69bba2ed1562b37851b8edc4bee7ed6580d9c",
  );
  assert.deepEqual(encodeMessage(row, value), payload);
});

Deno.test("The reply to client_hsmfd is its number alone", () => {
  assert.deepEqual(encodeMessage(REPLIES.client_hsmfd_reply, {}), hex("006d"));
});

Deno.test("Bytes behind a message are ignored, unless it is read strictly", () => {
  const row = REPLIES.check_pubkey_reply;
  const payload = hex("0080 01 ff");
  assert.deepEqual(decodeMessage(row, payload), { ok: true });
  assert.throws(
    () => decodeMessage(row, payload, { isStrict: true }),
    /at 3: 1 bytes left over, want 0$/,
  );
});

Deno.test("A message of another number is refused", () => {
  assert.throws(
    () => decodeMessage(REPLIES.check_pubkey_reply, hex("0081 01")),
    DecodeError,
  );
});

Deno.test("A number takes two bytes", () => {
  assert.equal(messageType(hex("")), null);
  assert.equal(messageType(hex("00")), null);
  assert.equal(messageType(hex("0102")), 0x0102);
});

Deno.test("A message has a name, known or not", () => {
  assert.equal(messageName(1), "ecdh_req");
  assert.equal(messageName(112), "sign_tx_reply");
  assert.equal(messageName(149), "sign_htlc_tx_mingle");
  assert.equal(messageName(77), "type 77");
  assert.equal(messageName(null), "no message");
});

Deno.test("A number that stands twice in a table is a mistake", () => {
  const rows = { one: reply(7, {}), two: reply(7, {}) };
  assert.throws(() => byType(rows), /Type 7 stands twice/);
});

Deno.test("No number is a request and a reply", () => {
  for (let type = 0; type < 0x1_0000; type++) {
    const both = requestRow(type) !== undefined && replyRow(type) !== undefined;
    assert.equal(both, false, `${type}`);
  }
});

Deno.test("lightningd itself may ask for the master's rows and four others", () => {
  const allowed = Object.values(REQUESTS)
    .filter((row) => isPermitted(row as never, BigInt(MASTER_PERMISSIONS)))
    .map((row) => row as { type: number; permission: number });
  const others = allowed
    .filter(({ permission }) => permission !== PERMISSIONS.MASTER);
  assert.deepEqual(others.map(({ type }) => type), [1, 2, 3, 6]);
});

Deno.test("A connection without permissions may ask for nothing", () => {
  for (const row of Object.values(REQUESTS)) {
    assert.equal(isPermitted(row as never, 0n), false);
  }
});
