/**
 * Every request has a class, and each class has what belongs there.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  CLASSES,
  classOf,
  REQUEST_CLASSES,
  type RequestClass,
} from "../../src/broker/classes.ts";
import { PERMISSIONS, REQUESTS } from "../../src/wire/hsmd.ts";
import type { RequestRow } from "../../src/wire/message.ts";
import { SIGNER_MESSAGES } from "../../src/wire/vls.ts";
import { NOBODY } from "../../src/wire/types.ts";

const rows: readonly RequestRow[] = Object.values(REQUESTS);

function asked(
  row: RequestRow,
  { dbid = 0n, isMaster = false } = {},
): RequestClass {
  const requester = { peerId: NOBODY, dbid, permissions: 0n, isMaster };
  return classOf({ requester, row });
}

Deno.test("Every request of lightningd and its daemons has a class, and nothing else", () => {
  assert.deepEqual(
    Object.keys(REQUEST_CLASSES).toSorted(),
    rows.map(({ name }) => name).toSorted(),
  );
  for (const name of Object.values(REQUEST_CLASSES)) {
    assert.ok(CLASSES.includes(name));
  }
});

Deno.test("What an onchaind or a closing daemon has signed is protective", () => {
  const bits = PERMISSIONS.SIGN_ONCHAIN_TX | PERMISSIONS.SIGN_CLOSING_TX;
  const closing = rows.filter(({ permission }) => (permission & bits) !== 0);
  assert.equal(closing.length, 5);
  for (const row of closing) {
    assert.equal(asked(row, { dbid: 1n }), "protective", row.name);
  }
});

Deno.test("Requests of lightningd that sign for a channel by its number are protective", () => {
  const names = [
    "sign_commitment_tx",
    "sign_any_delayed_payment_to_us",
    "sign_any_remote_htlc_to_us",
    "sign_any_penalty_to_us",
    "sign_any_local_htlc_tx",
    "sign_anchorspend",
    "sign_htlc_tx_mingle",
  ];
  for (const row of rows.filter(({ name }) => names.includes(name))) {
    assert.equal(asked(row, { isMaster: true }), "protective", row.name);
  }
});

Deno.test("A shared secret is a handshake for connectd, and a payment for everybody else", () => {
  const { ecdh_req } = REQUESTS;
  assert.equal(asked(ecdh_req), "handshake");
  assert.equal(asked(ecdh_req, { isMaster: true }), "commitment");
  assert.equal(asked(ecdh_req, { dbid: 7n }), "commitment");
});

Deno.test("A message of the broker's own is the operator's", () => {
  assert.equal(
    asked(SIGNER_MESSAGES.fee_reference, { isMaster: true }),
    "operator",
  );
});
