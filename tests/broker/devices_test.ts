/**
 * The book of devices and the codes, as two programs change them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { publicKey } from "../../src/crypto/secp.ts";
import { ConfigError } from "../../src/errors.ts";
import {
  DeviceBook,
  devicesNamed,
  MOST_DEVICES,
  type NativeDevice,
} from "../../src/broker/devices.ts";
import { CODE_LIFE_MS, PairingCodes } from "../../src/broker/pairing_codes.ts";
import { IDENTITY } from "./pairing_parts.ts";
import { inFolder } from "../support/softkey.ts";

const keyOf = (n: number) => publicKey(new Uint8Array(32).fill(n)).toHex();

const native = (n: number): NativeDevice => ({
  kind: "native",
  cid: `device-${n}`,
  cardKey: keyOf(n),
  software: "softkey",
  pairedAt: n,
});

const NOW = 1_000_000;

Deno.test("what one program writes the other reads, and none is lost", () =>
  inFolder(async (folder) => {
    const path = `${folder}/devices.json`;
    const [a, b] = [
      await DeviceBook.open(path, null, NOW),
      await DeviceBook.open(path, null, NOW),
    ];
    await Promise.all(
      [1, 2, 3, 4, 5, 6, 7, 8].map((n) => (n % 2 === 0 ? a : b).add(native(n))),
    );
    assert.deepEqual(
      a.devices.map((device) => device.pairedAt).toSorted(),
      [1, 2, 3, 4, 5, 6, 7, 8],
    );
    assert.deepEqual(await b.remove("device-3"), [native(3)]);
    assert.equal(a.byCardKey(keyOf(3)), null);
    const { mode = 0 } = await Deno.stat(path);
    assert.equal((mode ?? 0) & 0o777, 0o600);
  }));

Deno.test("card keys of an earlier broker are taken over once", () =>
  inFolder(async (folder) => {
    const path = `${folder}/devices.json`;
    const pairing = { identity: IDENTITY, cardKeys: [keyOf(1), "junk"] };
    const book = await DeviceBook.open(path, pairing, NOW);
    assert.equal(book.byCardKey(keyOf(1))?.cid, "");
    await book.rename(keyOf(1), "device-1", "softkey 2");
    assert.equal(book.byCardKey(keyOf(1))?.software, "softkey 2");
    await book.remove("all");
    const again = await DeviceBook.open(path, pairing, NOW);
    assert.deepEqual(again.devices, []);
  }));

Deno.test("a device is called by its client id, its key, or how one begins", () => {
  const devices = [
    native(1),
    native(2),
    { kind: "sphinx" as const, nodeKey: keyOf(3), pairedAt: 3 },
  ];
  const found = (name: string) =>
    devicesNamed(devices, name).map(({ pairedAt }) => pairedAt);
  assert.deepEqual(found("device-1"), [1]);
  assert.deepEqual(found(keyOf(2)), [2]);
  assert.deepEqual(found(keyOf(3).slice(0, 12)), [3]);
  assert.deepEqual(found("devi"), [1, 2]);
  assert.deepEqual(found("all"), [1, 2, 3]);
  assert.deepEqual(found("dev"), []);
  assert.deepEqual(found(""), []);
});

Deno.test("a beginning that fits several forgets none", async () => {
  const book = DeviceBook.inMemory();
  await book.add(native(1));
  await book.add(native(2));
  assert.equal((await book.remove("device")).length, 2);
  assert.equal(book.devices.length, 2);
});

Deno.test("there is an end to devices", async () => {
  const book = DeviceBook.inMemory();
  for (let n = 1; n <= MOST_DEVICES; n++) await book.add(native(n));
  await assert.rejects(book.add(native(100)), /64 devices are paired/);
  // One that is known takes its own place.
  await book.add(native(1));
  assert.equal(book.devices.length, MOST_DEVICES);
});

Deno.test("a damaged file is told by its path", () =>
  inFolder(async (folder) => {
    const path = `${folder}/devices.json`;
    const bad = [
      "",
      "{}",
      '{"devices":[{"kind":"native"}]}',
      JSON.stringify({
        devices: [{ ...native(1), software: "\u001b[2J" }],
      }),
    ];
    for (const text of bad) {
      await Deno.writeTextFile(path, text);
      await assert.rejects(
        DeviceBook.open(path, null, NOW),
        (error) => error instanceof ConfigError && error.message.includes(path),
      );
    }
  }));

Deno.test("a change by another program is heard of", () =>
  inFolder(async (folder) => {
    const path = `${folder}/devices.json`;
    const book = await DeviceBook.open(path, null, NOW);
    const heard = Promise.withResolvers<void>();
    const watcher = book.watch(() => {
      if (book.devices.length === 1) heard.resolve();
    });
    const other = await DeviceBook.open(path, null, NOW);
    await other.add(native(1));
    await heard.promise;
    watcher.close();
  }));

const CODE = new Uint8Array(16).fill(5);
const ONE = { cid: "one", cardKey: keyOf(1) };
const TWO = { cid: "two", cardKey: keyOf(2) };

Deno.test("a code is for the first that shows it, once, for ten minutes", async () => {
  let now = NOW;
  const codes = PairingCodes.inMemory(() => now);
  assert.equal(codes.isOutstanding, false);
  assert.match(codes.problemOf(CODE, ONE) ?? "", /none of this node/);
  const { hash } = await codes.make(CODE);
  assert.equal(codes.isOutstanding, true);
  assert.equal(codes.problemOf(CODE, ONE), null);
  assert.equal(await codes.ask(CODE, ONE), null);
  assert.deepEqual(codes.find(hash)?.state, { kind: "asked", by: ONE });
  assert.match(await codes.ask(CODE, TWO) ?? "", /in use by device one/);
  assert.match(await codes.use(CODE, TWO) ?? "", /in use by device one/);
  assert.equal(await codes.use(CODE, ONE), null);
  assert.deepEqual(codes.find(hash)?.state, { kind: "paired", by: ONE });
  assert.equal(codes.isOutstanding, false);
  assert.match(codes.problemOf(CODE, TWO) ?? "", /was used before/);
  // Its own device may have missed the answer.
  assert.equal(await codes.ask(CODE, ONE), null);
  assert.deepEqual(codes.find(hash)?.state, { kind: "paired", by: ONE });
  now += CODE_LIFE_MS;
  assert.match(codes.problemOf(CODE, ONE) ?? "", /has expired/);
});

Deno.test("an expired code is of no use, and forgotten with the next one", async () => {
  let now = NOW;
  const codes = PairingCodes.inMemory(() => now);
  const { hash } = await codes.make(CODE);
  now += CODE_LIFE_MS;
  assert.equal(codes.isOutstanding, false);
  assert.match(await codes.ask(CODE, ONE) ?? "", /has expired/);
  await codes.make(new Uint8Array(16));
  assert.equal(codes.find(hash), null);
});

Deno.test("there is an end to codes, and a code that is forgotten is none", async () => {
  const codes = PairingCodes.inMemory(() => NOW);
  const hashes: string[] = [];
  for (let n = 0; n < 20; n++) {
    hashes.push((await codes.make(new Uint8Array(16).fill(n))).hash);
  }
  assert.equal(hashes.filter((hash) => codes.find(hash) !== null).length, 16);
  await codes.forget(hashes.at(-1) ?? "");
  assert.match(
    codes.problemOf(new Uint8Array(16).fill(19), ONE) ?? "",
    /none of this node/,
  );
});

Deno.test("the file of codes has no code in it", () =>
  inFolder(async (folder) => {
    const path = `${folder}/codes.json`;
    const codes = PairingCodes.open(path, () => NOW);
    await codes.make(CODE);
    await codes.ask(CODE, ONE);
    const text = await Deno.readTextFile(path);
    assert.ok(!text.includes(CODE.toHex()));
    assert.ok(!text.includes(CODE.toBase64()));
    const again = PairingCodes.open(path, () => NOW);
    assert.equal(again.problemOf(CODE, ONE), null);
    assert.notEqual(again.problemOf(CODE, TWO), null);
  }));

Deno.test("a file that is spoiled while it is in use says what it said last, and is not changed", () =>
  inFolder(async (folder) => {
    const path = `${folder}/devices.json`;
    const book = await DeviceBook.open(path, null, NOW);
    await book.add(native(1));
    assert.equal(book.devices.length, 1);
    for (const spoiled of ["", '{"devices":[', '{"devices":[{}]}']) {
      await Deno.writeTextFile(path, spoiled);
      assert.deepEqual(book.devices, [native(1)]);
      await assert.rejects(book.add(native(2)), ConfigError);
      assert.equal(await Deno.readTextFile(path), spoiled);
    }
    await Deno.remove(path);
    assert.deepEqual(book.devices, []); // that is a word
  }));
