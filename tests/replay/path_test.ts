/**
 * Everything that real nodes asked a real hsmd, asked through the whole path:
 * descriptors, broker, MQTT, softkey. Each reply must be the same bytes.
 *
 * A part of the recordings is played each time, all of them with SLOW=1 (and by
 * `deno task replay`).
 *
 * @module
 */

import assert from "node:assert/strict";
import { recordingName, recordingsIn } from "../support/recording.ts";
import {
  describeOutcome,
  isIdentical,
  playWholePath,
} from "../support/whole_path.ts";

/** One of each kind of life: locked seeds, payment, closes, restarts. */
const REPRESENTATIVE: readonly string[] = [
  "vector-03",
  "vector-07",
  "vector-11",
  "vector-15",
  "closing_anchorspend_htlc_tx_rbf-node1",
  "closing_simple-node1",
  "dataloss_protection-node2",
  "fee_limits-node1",
  "fetchinvoice-node1",
  "onchain_their_unilateral_out-node1",
  "pay-node1",
  "penalty_htlc_tx_fulfill-node3",
  "penalty_outhtlc-node2",
  "script_splice_msat-node1",
];

const isSlow = Deno.env.get("SLOW") === "1";
const all = recordingsIn("vectors", "flows");
const played = isSlow
  ? all
  : all.filter((url) => REPRESENTATIVE.includes(recordingName(url)));

Deno.test(`${played.length} of ${all.length} recordings go through the whole path (all with SLOW=1)`, () => {
  assert.equal(played.length, isSlow ? all.length : REPRESENTATIVE.length);
});

for (const url of played) {
  Deno.test({
    name: `The whole path answers ${recordingName(url)} as the stock hsmd did`,
    sanitizeOps: true,
    sanitizeResources: true,
    async fn() {
      const outcome = await playWholePath(url);
      assert.ok(isIdentical(outcome), describeOutcome(outcome));
    },
  });
}
