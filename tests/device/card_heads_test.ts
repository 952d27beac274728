/** What a node remembers of a card, and which cards it then takes. @module */

import assert from "node:assert/strict";
import { CardHeads, type CardStand } from "../../src/broker/card_heads.ts";
import { standIn } from "../../src/broker/device.ts";
import { ConfigError, DecodeError } from "../../src/errors.ts";
import {
  decodeCardHead,
  decodeHello,
  decodeRefusal,
  encodeCardHead,
  encodeHello,
  encodeRefusal,
} from "../../src/wire/control.ts";

function stand(generation: bigint, { hash = 1, card = 1 } = {}): CardStand {
  const hex = (value: number, size: number) =>
    new Uint8Array(size).fill(value).toHex();
  return { generation, hash: hex(hash, 32), card: hex(card, 16) };
}

Deno.test("a card that is newer or the same passes, an older one does not", () => {
  const heads = CardHeads.inMemory();
  assert.equal(heads.problemOf(stand(0n)), null);
  assert.equal(heads.problemOf(null), null);
  heads.note(stand(1004n));
  assert.equal(heads.problemOf(stand(1004n)), null);
  assert.equal(heads.problemOf(stand(1005n, { hash: 2 })), null);
  assert.equal(
    heads.problemOf(stand(812n)),
    "card is rolled back: it stands at 812, this node has seen 1,004; put " +
      "the newer card back; an older one could sign a revoked state",
  );
  assert.match(
    heads.problemOf(stand(1004n, { hash: 2 })) ?? "",
    /rolled back: it stands at 1,004 with another history/,
  );
  assert.match(heads.problemOf(stand(2000n, { card: 2 })) ?? "", /another one/);
  assert.match(heads.problemOf(null) ?? "", /has no memory/);
});

Deno.test("what was older is not remembered over what is newer", () => {
  const heads = CardHeads.inMemory();
  heads.note(stand(5n));
  heads.note(stand(4n, { hash: 2 }));
  assert.deepEqual(heads.newest, stand(5n));
});

Deno.test("the newest stand is there after a restart, however it ended", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/pairing.json.card`;
  const heads = CardHeads.open(path);
  heads.note(stand(7n));
  heads.note(stand(8n));
  heads.flush();
  await heads.written;
  assert.equal(heads.problem, null);
  assert.deepEqual(CardHeads.open(path).newest, stand(8n));
  heads.note(stand(9n));
  heads.close();
  assert.deepEqual(CardHeads.open(path).newest, stand(9n));
  assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), [
    "pairing.json.card",
  ]);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a record that cannot be written is told and tried again", async () => {
  const folder = await Deno.makeTempDir();
  const heads = CardHeads.open(`${folder}/none/card`);
  heads.note(stand(1n));
  heads.flush();
  await heads.written;
  assert.match(heads.problem ?? "", /none/);
  await Deno.mkdir(`${folder}/none`);
  heads.note(stand(2n));
  heads.flush();
  await heads.written;
  assert.equal(heads.problem, null);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a record that is damaged stops the broker with words", async () => {
  const path = await Deno.makeTempFile();
  for (const text of ["", "{}", '{"generation":"1","hash":"x","card":"y"}']) {
    await Deno.writeTextFile(path, text);
    assert.throws(() => CardHeads.open(path), ConfigError);
  }
  await Deno.remove(path);
});

Deno.test("a hello carries where the card stands", () => {
  const hash = new Uint8Array(32).fill(7);
  const id = new Uint8Array(16).fill(9);
  const hello = decodeHello(
    encodeHello({ generation: 812n, headHash: hash, cardId: id }),
  );
  assert.deepEqual(standIn(hello), {
    generation: 812n,
    hash: hash.toHex(),
    card: id.toHex(),
  });
  assert.equal(standIn(decodeHello(encodeHello({}))), null);
  assert.equal(standIn(null), null);
});

Deno.test("a head and a refusal are read as they were written", () => {
  const head = { generation: 3n, hash: new Uint8Array(32).fill(1) };
  const bytes = encodeCardHead(head);
  assert.deepEqual(decodeCardHead(bytes), head);
  for (let end = 0; end < bytes.length; end += 1) {
    assert.throws(() => decodeCardHead(bytes.subarray(0, end)), DecodeError);
  }
  assert.throws(() => decodeCardHead(bytes.with(0, 0)), DecodeError);
  assert.equal(decodeRefusal(encodeRefusal("no")), "no");
  assert.equal(decodeRefusal(new Uint8Array(40)), null);
});
