/**
 * The ring of answers over restarts: whatever was written and cleared, a card
 * that is read again answers as the one that was running did.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { AnswerTail, SLOTS } from "../../src/device/answers.ts";
import type { SignerInput } from "../../src/signer/state.ts";
import { MemoryDisk } from "../../src/store/memory.ts";
import { REQUESTS } from "../../src/wire/hsmd.ts";
import type { NodeId } from "../../src/wire/types.ts";
import { NOBODY } from "../../src/wire/types.ts";

const REPLY = Uint8Array.of(0, 112, 1);

function request(peer: number, n: number): SignerInput {
  const peerId = Uint8Array.from(NOBODY) as Uint8Array as NodeId;
  peerId[32] = peer;
  const message = new Uint8Array(10);
  const view = new DataView(message.buffer);
  view.setUint16(0, REQUESTS.sign_message.type);
  view.setUint32(2, n);
  return { peerId, dbid: 1n, message };
}

/** A tail with the card that it writes to. */
function openTail() {
  const disk = new MemoryDisk();
  const store = disk.open();
  const tail = AnswerTail.load(store.load());
  return {
    store,
    tail,
    answer(input: SignerInput) {
      const kept = tail.prepare(input, REPLY);
      assert.ok(kept !== null);
      store.commit([kept.change]);
      tail.remember(kept);
    },
    clear() {
      store.commit(tail.prepareClear());
      tail.clear();
    },
    reload: () => AnswerTail.load(store.load()),
  };
}

Deno.test("An overtaken answer is not found again after a clear and a lap", () => {
  const { answer, clear, reload, tail } = openTail();
  for (let n = 0; n < SLOTS / 2; n += 1) answer(request(1, n));
  clear();
  for (let n = 0; n <= SLOTS; n += 1) answer(request(1, 1000 + n));
  const again = reload();
  const last = request(1, 1000 + SLOTS);
  assert.ok(tail.find(last) !== undefined);
  assert.ok(again.find(last) !== undefined);
  assert.equal(again.find(request(1, 1000 + SLOTS - 1)), undefined);
});

Deno.test("A card that is read again finds what the running one finds", () => {
  const act = fc.oneof(
    { weight: 1, arbitrary: fc.constant("clear" as const) },
    {
      weight: 8,
      arbitrary: fc.record({
        peer: fc.integer({ min: 1, max: 3 }),
        count: fc.integer({ min: 1, max: 100 }),
      }),
    },
  );
  fc.assert(
    fc.property(fc.array(act, { maxLength: 12 }), (acts) => {
      const { answer, clear, reload, tail } = openTail();
      const asked: SignerInput[] = [];
      for (const one of acts) {
        if (one === "clear") {
          clear();
          continue;
        }
        for (let n = 0; n < one.count; n += 1) {
          const input = request(one.peer, asked.length);
          asked.push(input);
          answer(input);
        }
      }
      const again = reload();
      for (const input of asked) {
        assert.deepEqual(again.find(input), tail.find(input));
      }
      assert.equal(again.size, tail.size);
    }),
    { numRuns: 60 },
  );
});

Deno.test("An answer in the format of an earlier softkey is forgotten", () => {
  const value = Uint8Array.of(1, ...new Uint8Array(80));
  const tail = AnswerTail.load([{ key: "answer/000", version: 0n, value }]);
  assert.equal(tail.size, 0);
});
