/**
 * What a card serves that is not the last word of its device.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  describeStanding,
  refusalByStanding,
  type Standing,
  STANDING_ROWS,
} from "../../src/device/standing.ts";
import { type RequestName, REQUESTS } from "../../src/wire/hsmd.ts";
import { SIGNER_MESSAGES } from "../../src/wire/vls.ts";

const AT = BigInt(Date.UTC(2026, 0, 31, 12, 30));
const RESTORED: Standing = { kind: "restored", generation: 812n, at: AT };
const MOVED: Standing = { kind: "moved", generation: 812n, at: AT };

/** What can lose a channel's money when it is signed from an old state. */
const DANGEROUS: readonly RequestName[] = [
  "sign_commitment_tx",
  "sign_remote_commitment_tx",
  "sign_remote_htlc_tx",
  "sign_mutual_close_tx",
  "sign_splice_tx",
  "new_channel",
  "setup_channel",
  "forget_channel",
  "validate_commitment_tx",
  "validate_revocation",
  "revoke_commitment_tx",
  "lock_outpoint",
  "sign_option_will_fund_offer",
];

/** What a node needs to start, and to bring its money home. */
const NEEDED: readonly RequestName[] = [
  "init",
  "ecdh_req",
  "get_channel_basepoints",
  "get_per_commitment_point",
  "check_pubkey",
  "derive_secret",
  "sign_invoice",
  "sign_message",
  "cupdate_sig_req",
  "node_announcement_sig_req",
  "sign_withdrawal",
  "sign_any_delayed_payment_to_us",
  "sign_any_remote_htlc_to_us",
  "sign_any_penalty_to_us",
];

Deno.test("a restored card refuses whatever an old state could hurt by", () => {
  for (const name of DANGEROUS) {
    const said = refusalByStanding(RESTORED, REQUESTS[name].type);
    assert.match(said ?? "served", /^Cannot act on a channel: .*adopt/, name);
  }
});

Deno.test("a restored card serves a node's start, its wallet and its sweeps", () => {
  for (const name of NEEDED) {
    assert.equal(refusalByStanding(RESTORED, REQUESTS[name].type), null, name);
  }
  const { ping, node_info } = SIGNER_MESSAGES;
  for (const { type } of [ping, node_info]) {
    assert.equal(refusalByStanding(RESTORED, type), null);
  }
});

Deno.test("what is refused is what the rows say, and each says why", () => {
  const names = Object.keys(REQUESTS);
  assert.deepEqual(Object.keys(STANDING_ROWS).sort(), [...names].sort());
  for (const [name, { restored, reason }] of Object.entries(STANDING_ROWS)) {
    const row = Object.entries(REQUESTS).find(([key]) => key === name);
    const isRefused = refusalByStanding(RESTORED, row?.[1].type ?? 0) !== null;
    assert.equal(isRefused, restored === "refuses", name);
    assert.ok(reason.length > 15, name);
  }
});

Deno.test("a card that was moved serves nothing, one in good standing all", () => {
  for (const { type } of Object.values(REQUESTS)) {
    assert.match(
      refusalByStanding(MOVED, type) ?? "served",
      /^Cannot serve: this card was moved/,
    );
    assert.equal(refusalByStanding(null, type), null);
  }
});

Deno.test("a standing is described in words", () => {
  assert.equal(describeStanding(null), "good");
  assert.match(
    describeStanding(RESTORED),
    /^restored on 2026-01-31 12:30 at generation 812: signs nothing for /,
  );
  assert.match(describeStanding(MOVED), /^moved to another card on 2026-01-31/);
});
