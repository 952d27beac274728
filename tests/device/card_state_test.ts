/**
 * The rows of a card that say who it is, for whom, and in what standing.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import {
  allowlistChange,
  bindIdentity,
  birthdayChange,
  identityChange,
  identityOf,
  networkChange,
  networkFor,
  networkOf,
  nonceChange,
  openCardStore,
  pairingChange,
  policyChange,
  readCardFacts,
  readCardState,
  standingChange,
} from "../../src/device/card_state.ts";
import { OwnerError } from "../../src/device/owner_error.ts";
import { StoreError, UsageError } from "../../src/errors.ts";
import { defaultPolicy } from "../../src/policy/limits.ts";
import type { Change } from "../../src/store/store.ts";
import { NODE, withCard } from "../support/card_folder.ts";

/** A store of these changes, as far as reading goes. */
const holding = (...changes: readonly Change[]) => ({
  load: () =>
    changes.flatMap(({ key, value }) =>
      value === null ? [] : [{ key, value, version: 0n }]
    ),
});

const u64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });

Deno.test("a new card is in good standing, unpaired, without network or nonce", () => {
  const { network, pairing, standing, nonce, node, birthday } = readCardFacts(
    holding(),
  );
  assert.deepEqual(
    [network, pairing, standing, nonce, node, birthday],
    [null, null, null, 0n, null, null],
  );
});

Deno.test("pairing, standing, network and nonce are read as they were written", () => {
  fc.assert(fc.property(
    fc.record({
      brokerKey: fc.uint8Array({ minLength: 33, maxLength: 33 }),
      url: fc.webUrl(),
      pairedAt: u64,
      certHash: fc.option(fc.uint8Array({ minLength: 32, maxLength: 32 })),
    }),
    fc.record({
      kind: fc.constantFrom("restored" as const, "moved" as const),
      generation: u64,
      at: u64,
    }),
    fc.constantFrom("bitcoin", "testnet", "regtest"),
    u64,
    (pairing, standing, network, nonce) => {
      const facts = readCardFacts(holding(
        pairingChange(pairing),
        standingChange(standing),
        networkChange(network),
        nonceChange(nonce),
      ));
      assert.deepEqual(
        {
          pairing: facts.pairing,
          standing: facts.standing,
          network: facts.network,
          nonce: facts.nonce,
        },
        {
          pairing: { ...pairing },
          standing: { ...standing },
          network,
          nonce,
        },
      );
    },
  ));
  const none = holding(pairingChange(null), standingChange(null));
  assert.deepEqual([...none.load()], []);
});

Deno.test("a birthday is eight bytes, or not known", () => {
  const change = birthdayChange(0x65536500n);
  assert.equal(change.value?.toHex(), "0000000065536500");
  assert.equal(readCardFacts(holding(change)).birthday, 0x65536500n);
  assert.equal(readCardFacts(holding(birthdayChange(null))).birthday, null);
});

Deno.test("records have the bytes that the table says", () => {
  const at = 0x0102030405060708n;
  assert.equal(
    standingChange({ kind: "moved", generation: 5n, at }).value?.toHex(),
    "01020000000000000005" + "0102030405060708",
  );
  assert.equal(
    pairingChange({
      brokerKey: new Uint8Array(33).fill(2),
      url: "mqtt://a",
      pairedAt: at,
      certHash: new Uint8Array(32).fill(3),
    }).value?.toHex(),
    `02${"02".repeat(33)}0008${
      new TextEncoder().encode("mqtt://a").toHex()
    }010203040506070801${"03".repeat(32)}`,
  );
});

Deno.test("a pairing of an earlier softkey is read, without a certificate", () => {
  const url = new TextEncoder().encode("mqtt://a").toHex();
  const value = Uint8Array.fromHex(
    `01${"02".repeat(33)}0008${url}0102030405060708`,
  );
  const store = holding({ key: "card/pairing", value });
  assert.deepEqual(readCardFacts(store).pairing, {
    brokerKey: new Uint8Array(33).fill(2),
    url: "mqtt://a",
    pairedAt: 0x0102030405060708n,
    certHash: null,
  });
});

Deno.test("a record of a later format is not guessed at", () => {
  for (
    const key of [
      "card/standing",
      "card/pairing",
      "card/nonce",
      "card/birthday",
    ]
  ) {
    const store = holding({ key, value: new Uint8Array(18).fill(9) });
    assert.throws(
      () => readCardFacts(store),
      (error) =>
        error instanceof StoreError && /a newer softkey/.test(error.message),
    );
  }
});

Deno.test("the network is the card's, or the one that is named for a new card", () => {
  const card = holding(networkChange("regtest"));
  assert.equal(networkFor({}, card).name, "regtest");
  assert.equal(networkFor({ network: "regtest" }, card).name, "regtest");
  assert.equal(networkFor({ network: "signet" }, holding()).name, "signet");
  assert.throws(() => networkFor({}, holding()), UsageError);
  assert.throws(() => networkFor({ network: "moon" }, card), UsageError);
  assert.throws(
    () => networkFor({ network: "bitcoin" }, card),
    (error) =>
      error instanceof OwnerError && error.code === 7 &&
      error.message === "Cannot use the card on bitcoin: it is a card for " +
          "regtest, want that network or another card",
  );
  assert.equal(networkOf(holding()), null);
  assert.throws(
    () => networkOf(holding(networkChange("moon"))),
    /network "moon", which this softkey does not know/,
  );
});

Deno.test("the memory knows the id and the key that it was made with", () =>
  withCard(({ card, folder }) => {
    const store = openCardStore(folder);
    assert.equal(identityChange(store, card), null);
    const other = { ...card, cid: "0".repeat(32) };
    assert.throws(
      () => bindIdentity(store, other),
      (error) =>
        error instanceof StoreError &&
        error.message.includes(`${folder}/id or ${folder}/card_key is damaged`),
    );
    assert.notEqual(identityOf(card).toHex(), identityOf(other).toHex());
    store.close();
    return Promise.resolve();
  }));

Deno.test("an older card without an identity gets one, once", () =>
  withCard(({ card, folder }) => {
    const store = openCardStore(folder);
    store.commit([{ key: "card/identity", value: null }]);
    bindIdentity(store, card);
    const { generation } = store.head;
    bindIdentity(store, card);
    assert.equal(store.head.generation, generation);
    store.close();
    return Promise.resolve();
  }));

Deno.test("all of a card is read with its network, the facts without", () =>
  withCard(({ folder }) => {
    const store = openCardStore(folder);
    const entry = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    const policy = { ...defaultPolicy("regtest"), maxHtlcs: 30 };
    store.commit([allowlistChange([entry]), policyChange(policy)]);
    const state = readCardState(store, NETWORKS.regtest);
    assert.deepEqual(state.allowed, [entry]);
    assert.equal(state.policy.maxHtlcs, 30);
    assert.equal(state.node?.toHex(), NODE);
    // An address of another network is no reason not to count channels.
    assert.throws(() => readCardState(store, NETWORKS.bitcoin), StoreError);
    assert.equal(readCardFacts(store).memory.channelCount, 2);
    store.commit([allowlistChange([])]);
    assert.deepEqual(readCardState(store, NETWORKS.regtest).allowed, []);
    store.close();
    return Promise.resolve();
  }));
