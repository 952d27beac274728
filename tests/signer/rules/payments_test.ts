/**
 * Rules of payments: what may be approved, and what may go out over one channel
 * for what comes in over another.
 *
 * @module
 */

import assert from "node:assert/strict";
import { decodeMessage } from "../../../src/wire/message.ts";
import { REPLIES } from "../../../src/wire/hsmd.ts";
import type { HsmHtlc, NodeId } from "../../../src/wire/types.ts";
import {
  type Asked,
  hash,
  htlcOf,
  invoiceOf,
  type InvoiceTerms,
  msat,
  type NodeOptions,
  NOW,
  PAYEE,
  preapproval,
  TestChannel,
  TestNode,
} from "../../support/channel.ts";
import { YES } from "../../support/strict.ts";
import { type Pair, type RuleCase, testRules } from "./cases.ts";

// ------------------------------------------------------------------ approvals

const ONE: InvoiceTerms = { name: "one", amount: 1_000_000n };

function invoices(
  valid: InvoiceTerms,
  altered: InvoiceTerms,
  options: NodeOptions = {},
  before: readonly InvoiceTerms[] = [],
): Pair {
  const node = new TestNode(options);
  for (const terms of before) node.do(preapproval(node, terms));
  return {
    node,
    valid: preapproval(node, valid),
    altered: preapproval(node, altered),
  };
}

function keysend(node: TestNode, amount: bigint, name = "keysend"): Asked {
  return node.ask("preapprove_keysend", {
    destination: PAYEE.point as Uint8Array as NodeId,
    paymentHash: hash(name),
    amountMsat: msat(amount),
  });
}

const LIMITED: NodeOptions = { limits: { velocity: "day:1000000" } };

const APPROVALS: readonly RuleCase[] = [
  {
    tag: "policy-invoice-not-expired",
    name: "a second too old",
    make: () =>
      invoices(
        { ...ONE, createdAt: NOW - 3600 },
        { ...ONE, createdAt: NOW - 3601 },
      ),
  },
  {
    tag: "policy-invoice-not-expired",
    name: "a second too new",
    make: () =>
      invoices(
        { ...ONE, createdAt: NOW + 60 },
        { ...ONE, createdAt: NOW + 61 },
      ),
  },
  {
    tag: "policy-invoice-reuse",
    name: "another invoice for the same payment hash",
    make: () =>
      invoices(ONE, { ...ONE, description: "something else" }, {}, [ONE]),
  },
  {
    tag: "policy-invoice-reuse",
    name: "another amount for the same keysend",
    make: () => {
      const node = new TestNode();
      node.do(keysend(node, 1000n));
      return {
        node,
        valid: keysend(node, 1000n),
        altered: keysend(node, 999n),
      };
    },
  },
  {
    tag: "policy-invoice-count-limit",
    name: "one too many",
    make: () => {
      const options = { limits: { max_invoices: "2" } };
      const few = new TestNode(options);
      const many = new TestNode(options);
      few.do(preapproval(few, ONE));
      many.do(preapproval(many, ONE));
      many.do(preapproval(many, { ...ONE, name: "two" }));
      const third = { ...ONE, name: "three" };
      return {
        node: few,
        valid: preapproval(few, third),
        elsewhere: many,
        altered: preapproval(many, third),
      };
    },
  },
  {
    tag: "policy-commitment-payment-velocity",
    name: "a millisatoshi over the limit",
    make: () => invoices(ONE, { name: "more", amount: 1_000_001n }, LIMITED),
  },
  {
    tag: "policy-commitment-payment-velocity",
    name: "a keysend over what is left of the limit",
    make: () => {
      const node = new TestNode(LIMITED);
      node.do(preapproval(node, { name: "some", amount: 400_000n }));
      return {
        node,
        valid: keysend(node, 600_000n),
        altered: keysend(node, 600_001n),
      };
    },
  },
];

// ---------------------------------------------------------------- commitments

type Side = "holder" | "counterparty";
const SIDES: readonly Side[] = ["holder", "counterparty"];

/** Two channels with balance on both sides. */
function twoChannels(options: NodeOptions = {}) {
  const node = new TestNode(options);
  const [first, second] = [1n, 2n].map((dbid) =>
    new TestChannel(node, { dbid, push: 400_000_000n }).open()
  );
  if (first === undefined || second === undefined) assert.fail("two channels");
  return { node, first, second };
}

const offer = (channel: TestChannel, side: Side, htlc: HsmHtlc): Asked => {
  const content = channel.adding(htlc);
  const n = channel.number + 1n;
  return side === "holder"
    ? channel.validate(n, content)
    : channel.signTheirs(n, content);
};

/** A payment of 100,000 sat that comes in over one channel. */
function forwarding(options: NodeOptions = {}) {
  const { node, first, second } = twoChannels(options);
  const incoming = htlcOf("forward", 100_000n, {
    isOurs: false,
    cltvExpiry: 1000,
  });
  first.move(first.adding(incoming), "ours");
  return { node, first, second, incoming };
}

/** What goes out for an approval, and a bit more. */
function paying(
  side: Side,
  approved: bigint | null,
  [valid, altered]: readonly [bigint, bigint],
  options: NodeOptions = {},
): Pair {
  const { node, first } = twoChannels(options);
  node.do(preapproval(node, { name: "paid", amount: approved }));
  return {
    node,
    valid: offer(first, side, htlcOf("paid", valid)),
    altered: offer(first, side, htlcOf("paid", altered)),
  };
}

const COMMITMENTS = SIDES.flatMap((side): readonly RuleCase[] => [
  ...([
    "policy-routing-balanced",
    "policy-commitment-htlc-routing-balance",
  ] as const)
    .map((tag): RuleCase => ({
      tag,
      name: `a payment that nobody approved (${side}'s)`,
      make: () => {
        const { node, first } = twoChannels();
        node.do(preapproval(node, { name: "paid", amount: 50_000_000n }));
        return {
          node,
          valid: offer(first, side, htlcOf("paid", 50_000n)),
          altered: offer(first, side, htlcOf("unknown", 50_000n)),
        };
      },
    })),
  {
    tag: "policy-commitment-htlc-routing-balance",
    name: `more goes out than comes in (${side}'s)`,
    make: () => {
      const { node, second } = forwarding();
      const out = (amount: bigint) =>
        offer(second, side, htlcOf("forward", amount, { cltvExpiry: 900 }));
      return { node, valid: out(100_000n), altered: out(100_001n) };
    },
  },
  {
    tag: "policy-commitment-htlc-routing-balance",
    name: `a fee above the limit (${side}'s)`,
    make: () =>
      paying(side, 50_000_000n, [50_222n, 50_223n], {
        limits: { max_routing_fee_msat: "222000" },
      }),
  },
  {
    tag: "policy-htlc-fee-range",
    name: `a fee above the part of the amount (${side}'s)`,
    make: () =>
      paying(side, 1_500_000n, [1_664n, 1_665n], {
        limits: { max_routing_fee_msat: "222000", max_fee_percent: "10" },
      }),
  },
  {
    tag: "policy-commitment-payment-velocity",
    name: `an invoice for any amount, over the limit (${side}'s)`,
    make: () =>
      paying(side, null, [50_000n, 50_001n], {
        limits: { velocity: "day:50000000", max_routing_fee_msat: "0" },
      }),
  },
  {
    tag: "policy-routing-cltv-delta",
    name: `too little time to claim what comes in (${side}'s)`,
    make: () => {
      const { node, second } = forwarding();
      const out = (cltvExpiry: number) =>
        offer(second, side, htlcOf("forward", 99_000n, { cltvExpiry }));
      return { node, valid: out(994), altered: out(995) };
    },
  },
]);

testRules([...APPROVALS, ...COMMITMENTS]);

// ------------------------------------------------------------- over time

const refusalOf = (node: TestNode, asked: Asked) => node.try(asked).refusal;

Deno.test("an approval counts once for a payment hash", () => {
  const { node, first, second } = twoChannels();
  node.do(preapproval(node, { name: "paid", amount: 50_000_000n }));
  first.move(first.adding(htlcOf("paid", 50_000n)));
  assert.match(
    refusalOf(node, offer(second, "counterparty", htlcOf("paid", 50_000n))) ??
      "",
    /policy-commitment-htlc-routing-balance/,
  );
  const [htlc = assert.fail("there is one")] = first.content.htlcs;
  // It was paid: the approval is used up.
  first.move(first.settling(htlc, true), "ours");
  assert.match(
    refusalOf(node, offer(second, "counterparty", htlcOf("paid", 50_000n))) ??
      "",
    /policy-commitment-htlc-routing-balance/,
  );
});

Deno.test("a payment that failed may be tried again over another channel", () => {
  const { node, first, second } = twoChannels();
  node.do(preapproval(node, { name: "paid", amount: 50_000_000n }));
  first.move(first.adding(htlcOf("paid", 50_000n)));
  const [htlc = assert.fail("there is one")] = first.content.htlcs;
  first.move(first.settling(htlc, false), "ours");
  const again = offer(second, "counterparty", htlcOf("paid", 50_000n));
  assert.equal(refusalOf(node, again), null);
});

Deno.test("a forward that was paid has to be paid to us", () => {
  const { node, first, second, incoming } = forwarding({
    limits: { max_unpaid_loss_sat: "0" },
  });
  const outgoing = htlcOf("forward", 99_000n, { cltvExpiry: 900 });
  second.move(second.adding(outgoing));
  second.move(second.settling(outgoing, true), "ours");
  const failed = first.settling(incoming, false);
  const paid = first.settling(incoming, true);
  const n = first.number + 1n;
  assert.match(
    refusalOf(node, first.signTheirs(n, failed)) ?? "",
    /policy-commitment-balance/,
  );
  assert.equal(refusalOf(node, first.signTheirs(n, paid)), null);
});

Deno.test("a forward that failed goes back where it came from", () => {
  const { first, second, incoming } = forwarding({
    limits: { max_unpaid_loss_sat: "0" },
  });
  const outgoing = htlcOf("forward", 99_000n, { cltvExpiry: 900 });
  second.move(second.adding(outgoing));
  second.move(second.settling(outgoing, false), "ours");
  first.move(first.settling(incoming, false));
});

Deno.test("what comes in counts only when both sides hold it for good", () => {
  const { node, first, second } = twoChannels();
  const incoming = htlcOf("forward", 100_000n, { isOurs: false });
  const outgoing = htlcOf("forward", 99_000n, { cltvExpiry: 900 });
  const out = offer(second, "counterparty", outgoing);
  first.moveOurs(first.adding(incoming));
  assert.match(refusalOf(node, out) ?? "", /routing-balance/);
  node.do(first.signTheirs(1n, first.adding(incoming)));
  assert.match(refusalOf(node, out) ?? "", /routing-balance/);
  node.do(first.revocation(0n));
  assert.equal(refusalOf(node, out), null);
});

Deno.test("losses without a payment add up over channels", () => {
  const { node, first, second } = twoChannels();
  const losing = ({ content }: TestChannel, amount: bigint) => ({
    ...content,
    ours: content.ours - amount * 1000n,
    theirs: content.theirs + amount * 1000n,
  });
  first.move(losing(first, 30_000n));
  const n = second.number + 1n;
  assert.equal(
    refusalOf(node, second.signTheirs(n, losing(second, 20_000n))),
    null,
  );
  assert.match(
    refusalOf(node, second.signTheirs(n, losing(second, 20_010n))) ?? "",
    /policy-commitment-balance/,
  );
});

Deno.test("an owner who says yes pays without an invoice", () => {
  const { node, first } = twoChannels({ consent: YES });
  first.move(first.adding(htlcOf("unknown", 50_000n)));
  const { consented } = node.memory.payment(hash("unknown")) ??
    assert.fail("it is remembered");
  assert.equal(consented, 50_000_000n);
});

Deno.test("a friend's invoice is over no limit", () => {
  const node = new TestNode({
    ...LIMITED,
    allowlist: [`payee:${PAYEE.point.toHex()}`],
  });
  const reply = node.do(preapproval(node, { name: "big", amount: 10n ** 10n }));
  const { approved } = decodeMessage(REPLIES.preapprove_invoice_reply, reply);
  assert.equal(approved, true);
  // A keysend does not prove who gets it.
  assert.match(
    refusalOf(node, keysend(node, 10n ** 10n)) ?? "",
    /payment-velocity/,
  );
});

Deno.test("old approvals make place for new ones, a day after they end", () => {
  const node = new TestNode({ limits: { max_invoices: "1" } });
  node.do(preapproval(node, ONE));
  const later = (seconds: number) => {
    node.now = NOW + 3600 + seconds;
    return refusalOf(
      node,
      preapproval(node, { name: "two", amount: 1n, createdAt: node.now }),
    );
  };
  assert.match(later(86_400) ?? "", /policy-invoice-count-limit/);
  assert.equal(later(86_401), null);
});

Deno.test("the owner is asked about what is over the limit, and not to check", () => {
  const consent = { ...YES, mode: "ask" } as const;
  const node = new TestNode({ ...LIMITED, consent });
  const terms = { name: "big", amount: 2_000_000n };
  const check = (checkOnly: boolean) =>
    node.ask("preapprove_invoice_check", {
      invstring: invoiceOf(terms),
      checkOnly,
    });
  assert.match(refusalOf(node, preapproval(node, terms)) ?? "", /more than/);
  assert.match(refusalOf(node, check(false)) ?? "", /more than/);
  node.do(check(true));
  assert.equal(node.memory.approvalCount, 0);
  const declined = new Set([`payment_over_limit/${hash("big").toHex()}`]);
  node.change({ ...LIMITED, consent: { ...consent, declined } });
  assert.match(
    refusalOf(node, check(true)) ?? "",
    /policy-commitment-payment-velocity/,
  );
});

Deno.test("small payments may go out as dust, up to what was approved", () => {
  const credit = (amounts: readonly bigint[]) => {
    const node = new TestNode();
    amounts.forEach((amount, i) =>
      node.do(preapproval(node, { name: `small ${i}`, amount }))
    );
    return node.memory.node().credit;
  };
  assert.equal(credit([20_000_000n]), 20_000n);
  assert.equal(credit([20_000_001n]), 0n);
  assert.equal(credit([1n, 1_000n]), 2n);
  assert.equal(credit([20_000_000n, 20_000_000n, 20_000_000n]), 50_000n);
});

Deno.test("two channels with one peer, and two peers with one number, are two", () => {
  const pairs = [
    [{ dbid: 1n, peer: "one" }, { dbid: 2n, peer: "one" }],
    [{ dbid: 1n, peer: "one" }, { dbid: 1n, peer: "two" }],
  ] as const;
  for (const pair of pairs) {
    const node = new TestNode();
    const [first, second] = pair.map((options) =>
      new TestChannel(node, { ...options, push: 400_000_000n })
    );
    if (first === undefined || second === undefined) assert.fail("two");
    second.funding = {
      ...second.funding,
      outpoint: { ...second.funding.outpoint, index: 5 },
    };
    first.open();
    second.open();
    const incoming = htlcOf("forward", 100_000n, { isOurs: false });
    first.move(first.adding(incoming), "ours");
    const outgoing = htlcOf("forward", 99_000n, { cltvExpiry: 900 });
    second.move(second.adding(outgoing));
  }
});

Deno.test("a loss is noted for the side whose commitment shows it", () => {
  const { node, first } = twoChannels();
  const { content } = first;
  const losing = {
    ...content,
    ours: content.ours - 30_000_000n,
    theirs: content.theirs + 30_000_000n,
  };
  const losses = () => {
    const { holderLoss, counterpartyLoss } = node.memory.channel(first.id) ??
      assert.fail("the channel is known");
    return [holderLoss > 29_000n, counterpartyLoss > 29_000n];
  };
  first.moveTheirs(losing);
  assert.deepEqual(losses(), [false, true]);
  first.moveOurs(losing);
  assert.deepEqual(losses(), [true, true]);
});

Deno.test("a payment is settled by the peer's commitment, and once", () => {
  const { node, first } = twoChannels();
  node.do(preapproval(node, { name: "paid", amount: 50_000_000n }));
  const htlc = htlcOf("paid", 50_000n);
  first.move(first.adding(htlc));
  const settled = () => node.memory.payment(hash("paid"))?.settled;
  assert.equal(settled(), 0n);
  const paid = first.settling(htlc, true);
  first.moveOurs(paid);
  assert.equal(settled(), 0n);
  first.moveTheirs(paid);
  assert.equal(settled(), 50_000_000n);
});

Deno.test("of several parts the one that expires last counts", () => {
  const { node, second } = forwarding();
  const parts = (...expiries: number[]) =>
    second.signTheirs(
      1n,
      expiries.reduce(
        (content, cltvExpiry) =>
          second.adding(htlcOf("forward", 40_000n, { cltvExpiry }), content),
        second.content,
      ),
    );
  assert.equal(refusalOf(node, parts(994, 990)), null);
  for (const late of [parts(995, 990), parts(990, 995)]) {
    assert.match(refusalOf(node, late) ?? "", /policy-routing-cltv-delta/);
  }
});

Deno.test("who did not open the channel loses nothing by offering", () => {
  const node = new TestNode({ limits: { max_unpaid_loss_sat: "0" } });
  const channel = new TestChannel(node, {
    isOutbound: false,
    push: 400_000_000n,
  }).open();
  node.do(preapproval(node, { name: "paid", amount: 60_000_000n }));
  const htlc = htlcOf("paid", 60_000n);
  channel.move(channel.adding(htlc));
  channel.move(channel.settling(htlc, true), "ours");
});

Deno.test("an invoice for any amount may be paid within a routing fee", () => {
  const { node, first } = twoChannels({
    limits: { max_routing_fee_msat: "2000000", velocity: "day:5000000" },
  });
  node.do(preapproval(node, { name: "paid", amount: null }));
  first.move(first.adding(htlcOf("paid", 1_500n)));
});

Deno.test("amounts are told in satoshi", () => {
  const node = new TestNode(LIMITED);
  const words = (amount: bigint) => refusalOf(node, keysend(node, amount));
  assert.match(words(1_000_001n) ?? "", /1000\.001 sat to/);
  assert.match(words(2_000_000n) ?? "", /: 2000 sat to/);
});
