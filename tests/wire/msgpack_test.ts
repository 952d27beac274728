/** MessagePack against the library that everybody uses. @module */

import { decode, encode } from "@msgpack/msgpack";
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { DecodeError } from "../../src/errors.ts";
import {
  array,
  bin,
  count,
  fields,
  orNil,
  pack,
  type Packed,
  text,
  tuple,
  uint,
  unpack,
  variants,
} from "../../src/wire/msgpack.ts";

const read = <T>(form: Packed<T>, hex: string): T =>
  unpack(form, Uint8Array.fromHex(hex), "test");

function refuses<T>(form: Packed<T>, hex: string, words: RegExp): void {
  assert.throws(() => read(form, hex), (error) => {
    assert.ok(error instanceof DecodeError, String(error));
    assert.match(error.message, words);
    return true;
  });
}

/** The library writes large integers short only when they are numbers. */
function byLibrary(value: bigint): Uint8Array {
  return value <= BigInt(Number.MAX_SAFE_INTEGER)
    ? encode(Number(value))
    : encode(value, { useBigInt64: true });
}

Deno.test("integers are the library's, shortest form first", () => {
  const edges = [7, 8, 15, 16, 31, 32, 63].flatMap((bits) => [
    2n ** BigInt(bits) - 1n,
    2n ** BigInt(bits),
  ]);
  const values = fc.oneof(
    fc.constantFrom(...edges, 0n, 2n ** 64n - 1n),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  );
  fc.assert(fc.property(values, (value) => {
    const packed = pack(uint, value);
    assert.equal(packed.toHex(), byLibrary(value).toHex());
    assert.equal(unpack(uint, packed, "test"), value);
  }));
});

Deno.test("text, bytes and lists are the library's", () => {
  const form = array(tuple(text, bin(), orNil(uint)));
  const rows = fc.array(fc.tuple(
    fc.string({ unit: "grapheme", maxLength: 400 }),
    fc.uint8Array({ maxLength: 70_000 }),
    fc.option(fc.nat()),
  ));
  fc.assert(
    fc.property(rows, (values) => {
      const sent = values.map(([name, bytes, n]) =>
        [name, bytes, n === null ? null : BigInt(n)] as const
      );
      const packed = pack(form, sent);
      assert.equal(packed.toHex(), encode(values).toHex());
      assert.deepEqual(unpack(form, packed, "test"), sent);
    }),
    { numRuns: 50 },
  );
});

Deno.test("every form of an integer is read, as long as it is not negative", () => {
  const forms = [
    "05",
    "cc05",
    "cd0005",
    "ce00000005",
    "cf0000000000000005",
    "d005",
    "d10005",
    "d200000005",
    "d30000000000000005",
  ];
  for (const form of forms) assert.equal(read(uint, form), 5n, form);
  refuses(uint, "ff", /byte 0xff, want an unsigned integer/);
  refuses(uint, "d0ff", /-1, want an unsigned integer/);
  refuses(uint, "d3ffffffffffffffff", /-1, want/);
  refuses(uint, "cb3ff0000000000000", /byte 0xcb/);
  refuses(count, "cf0020000000000000", /want less than 2\^53/);
});

Deno.test("all lengths of bytes and text are read in any form", () => {
  assert.equal(read(bin(), "c40101").toHex(), "01");
  assert.equal(read(bin(), "c5000101").toHex(), "01");
  assert.equal(read(bin(), "c60000000101").toHex(), "01");
  for (const form of ["a161", "d90161", "da000161", "db0000000161"]) {
    assert.equal(read(text, form), "a");
  }
  refuses(bin(2), "c40101", /1 bytes, want 2/);
  refuses(bin(), "920102", /byte 0x92, want bin/);
  refuses(text, "a1ff", /not UTF-8/);
});

const pair = fields({ firstName: uint, last: text });

Deno.test("fields come in order, all of them, and no other", () => {
  const packed = pack(pair, { firstName: 1n, last: "x" });
  assert.deepEqual(decode(packed), { first_name: 1, last: "x" });
  assert.deepEqual(unpack(pair, packed, "test"), { firstName: 1n, last: "x" });
  const hexOf = (value: unknown) => encode(value).toHex();
  refuses(pair, hexOf({ last: "x", first_name: 1 }), /want first_name/);
  refuses(pair, hexOf({ first_name: 1 }), /a map of 1, want 2/);
  refuses(
    pair,
    hexOf({ first_name: 1, last: "x", more: 1 }),
    /a map of 3, want 2/,
  );
  refuses(pair, hexOf({ first_name: 1, other: "x" }), /want last/);
  refuses(pair, hexOf([1, "x"]), /want a map/);
  refuses(pair, packed.toHex() + "c0", /1 bytes left over/);
});

const choice = variants({ Nothing: null, Some: pair });

Deno.test("a variant is its name, or a map from its name to its value", () => {
  assert.equal(
    pack(choice, { kind: "Nothing" }).toHex(),
    encode("Nothing").toHex(),
  );
  assert.deepEqual(read(choice, encode("Nothing").toHex()), {
    kind: "Nothing",
  });
  const wrapped = encode({ Nothing: null }).toHex();
  assert.deepEqual(read(choice, wrapped), { kind: "Nothing" });
  const some = { kind: "Some", value: { firstName: 2n, last: "" } } as const;
  assert.deepEqual(decode(pack(choice, some)), {
    Some: { first_name: 2, last: "" },
  });
  assert.deepEqual(unpack(choice, pack(choice, some), "test"), some);
  refuses(choice, encode("Some").toHex(), /want Nothing or Some/);
  refuses(choice, encode("toString").toHex(), /another variant/);
  refuses(choice, encode({ Nothing: 1 }).toHex(), /want nil/);
});

Deno.test("a header that announces more than there is makes nothing", () => {
  refuses(array(uint), "ddffffffff", /0 bytes for 4294967295 items/);
  refuses(bin(), "c6ffffffff", /0 bytes left, want 4294967295/);
  refuses(text, "dbffffffff", /0 bytes left, want 4294967295/);
});
