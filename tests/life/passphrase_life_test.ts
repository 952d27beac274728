/**
 * A node whose lightningd sends a passphrase, served by a softkey that nobody
 * sits at: the passphrase goes over the sealed link, and is found nowhere, on the
 * link neither.
 *
 * @module
 */

import assert from "node:assert/strict";
import { REPLIES } from "../../src/wire/hsmd.ts";
import { decodeMessage } from "../../src/wire/message.ts";
import { initOn, Place } from "../support/life.ts";
import {
  byteSecret,
  isKeyFile,
  keyFilesIn,
  missedBy,
  SecretHunt,
  secretsOfWords,
} from "../support/secrets.ts";

const PASSPHRASE = new TextEncoder().encode("known to lightningd alone");

Deno.test("a passphrase of lightningd's reaches the device, and is found nowhere", async () => {
  await using place = await Place.make();
  const args = [
    ...["run", "--card", place.path("cards", "card"), "--yes"],
    ...["--key-file", place.path("owner", "key")],
    ...["--words-file", place.path("owner", "words")],
    ...["--broker", place.tap.url],
  ];
  const ids = [];
  for (let life = 0; life < 2; life += 1) {
    await using node = await place.startNode();
    const { master } = node.standin;
    await master.write(initOn("regtest", PASSPHRASE));
    await using terminal = place.terminal(...args);
    const reply = await master.read();
    assert.ok(reply !== null);
    ids.push(decodeMessage(REPLIES.init_reply_v4, reply).nodeId.toHex());
    await terminal.says("serving");
    await terminal.press("\x03");
    assert.equal(await terminal.ends(), 0);
  }
  assert.equal(ids[0], ids[1]);
  const words = await Deno.readTextFile(place.path("owner", "words"));
  const remains = await place.remains();
  const passphrase = byteSecret("lightningd's passphrase", PASSPHRASE);
  const hunt = new SecretHunt([
    passphrase,
    ...secretsOfWords(words.trim().split(" "), [], PASSPHRASE),
    byteSecret("key file", await Deno.readFile(place.path("owner", "key"))),
    ...keyFilesIn(remains),
  ]);
  const found = remains.filter(({ name }) => !isKeyFile(name))
    .flatMap((each) => hunt.find(each));
  assert.deepEqual(found, []);
  // It did go over the link: in clear it would be found there.
  const link = remains.find(({ name }) => name === "link, to the device");
  assert.ok(link !== undefined && link.bytes.length > PASSPHRASE.length);
  assert.deepEqual(missedBy(hunt, link, [passphrase]), []);
});
