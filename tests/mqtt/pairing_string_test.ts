/**
 * The pairing string: what goes in comes out, and every slip is told.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { bech32m } from "@scure/base";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { publicKey } from "../../src/crypto/secp.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { describeError, UsageError } from "../../src/errors.ts";
import {
  formatPairingString,
  type PairingInvitation,
  parsePairingString,
  urlProblem,
} from "../../src/mqtt/pairing_string.ts";

const KEY = publicKey(new Uint8Array(32).fill(7));
const CODE = new Uint8Array(16).map((_, i) => i);
const EXAMPLE: PairingInvitation = {
  url: "mqtt://192.168.1.10:1883",
  network: "bitcoin",
  brokerKey: KEY,
  code: new Secret(CODE),
  certHash: null,
};
const TEXT = formatPairingString(EXAMPLE);

const hostname = fc.oneof(
  fc.domain(),
  fc.ipV4(),
  fc.ipV6().map((address) => `[${address}]`),
);
const url = fc.tuple(
  fc.constantFrom("mqtt", "mqtts", "ws", "wss"),
  hostname,
  fc.integer({ min: 1, max: 65_535 }),
  fc.constantFrom("", "/node", "/a/b"),
).map(([scheme, host, port, path]) => `${scheme}://${host}:${port}${path}`)
  .filter((url) => urlProblem(url) === null);
const bytes = (size: number) =>
  fc.uint8Array({ minLength: size, maxLength: size });
const invitation = fc.record({
  url,
  network: fc.constantFrom(...Object.values(NETWORKS).map(({ name }) => name)),
  brokerKey: fc.integer({ min: 1, max: 250 })
    .map((n) => publicKey(new Uint8Array(32).fill(n))),
  code: bytes(16).map((code) => new Secret(code)),
  certHash: fc.option(bytes(32)),
});

/** With its code in clear, to be compared. */
const plain = (pairing: PairingInvitation) => ({
  ...pairing,
  code: pairing.code.reveal().toHex(),
});

const problemOf = (text: string): string => {
  try {
    parsePairingString(text);
    return "none";
  } catch (error) {
    assert.ok(error instanceof UsageError, String(error));
    return describeError(error);
  }
};

Deno.test("what a string was made of is read from it, however it is typed", () => {
  fc.assert(fc.property(invitation, (pairing) => {
    const text = formatPairingString(pairing);
    assert.match(text, /^RHS1[02-9AC-HJ-NP-Z]+$/);
    for (
      const typed of [
        text,
        text.toLowerCase(),
        `  ${text.slice(0, 40)}\n${text.slice(40)} `,
      ]
    ) assert.deepEqual(plain(parsePairingString(typed)), plain(pairing));
  }));
});

Deno.test("it is bech32m by another library too, of the bytes in the table", () => {
  const { prefix, words } = bech32m.decode(
    TEXT.toLowerCase() as `${string}1${string}`,
    false,
  );
  assert.equal(prefix, "rhs");
  const url = new TextEncoder().encode(EXAMPLE.url);
  assert.equal(
    bech32m.fromWords(words).toHex(),
    `010000${url.length.toString(16).padStart(2, "0")}${url.toHex()}` +
      `${KEY.toHex()}${CODE.toHex()}00`,
  );
});

Deno.test("a QR code holds it in capitals and digits", () => {
  fc.assert(fc.property(invitation, (pairing) => {
    // ISO 18004, alphanumeric mode.
    assert.match(formatPairingString(pairing), /^[0-9A-Z $%*+\-./:]+$/);
  }));
});

Deno.test("one wrong, missing or swapped character is named by its place", () => {
  const letter = fc.constantFrom(..."QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L");
  const at = fc.integer({ min: 4, max: TEXT.length - 1 });
  const run = { numRuns: 8 };
  fc.assert(
    fc.property(at, letter, (i, wrong) => {
      fc.pre(TEXT.charAt(i) !== wrong);
      const typed = TEXT.slice(0, i) + wrong + TEXT.slice(i + 1);
      assert.match(problemOf(typed), new RegExp(`character ${i + 1} is wrong`));
    }),
    run,
  );
  fc.assert(
    fc.property(at, (i) => {
      const typed = TEXT.slice(0, i) + TEXT.slice(i + 1);
      assert.match(problemOf(typed), /a character is missing at \d+/);
    }),
    run,
  );
  fc.assert(
    fc.property(at, letter, (i, extra) => {
      const typed = TEXT.slice(0, i) + extra + TEXT.slice(i);
      assert.match(problemOf(typed), /character \d+ is (one too many|wrong)/);
    }),
    run,
  );
  fc.assert(
    fc.property(at, (i) => {
      const [a, b] = [TEXT.charAt(i), TEXT.charAt(i + 1)];
      fc.pre(b !== "" && a !== b);
      const typed = TEXT.slice(0, i) + b + a + TEXT.slice(i + 2);
      assert.match(problemOf(typed), /characters \d+ and \d+ are swapped/);
    }),
    run,
  );
});

Deno.test("what is none is told, and never repeated", () => {
  for (
    const [typed, told] of [
      ["", /does not begin with RHS1/],
      ["abandon abandon about", /does not begin with RHS1/],
      ["LNBC1QQQQ", /does not begin with RHS1/],
      ["RHS1", /checksum/],
      [TEXT.slice(0, 60), /checksum/],
      [TEXT.replace(/^(.{30})./, "$1O"), /character 31 .*no B, I, O or 1/],
      [TEXT.replace(/^(.{30})./, "$1'"), /character 31 is none/],
      [`RHS1${"Q".repeat(900)}`, /too long/],
      ["R".repeat(5_000), /far too long/],
    ] as const
  ) {
    const found = problemOf(typed);
    assert.match(found, told);
    if (typed.length > 10) assert.ok(!found.includes(typed), found);
  }
});

Deno.test("a right checksum around what is no pairing is told", () => {
  const made = (hex: string) => {
    const words = bech32m.toWords(Uint8Array.fromHex(hex));
    return bech32m.encode("rhs", words, false).toUpperCase();
  };
  const body = (url: string, key = KEY.toHex()) => {
    const text = new TextEncoder().encode(url);
    return `0100${text.length.toString(16).padStart(4, "0")}${text.toHex()}` +
      `${key}${CODE.toHex()}00`;
  };
  assert.equal(problemOf(made(body("mqtt://a:1"))), "none");
  for (
    const [text, told] of [
      [made("02"), /of version 2/],
      [made("01"), /none of a pairing/],
      [made(""), /of version none/],
      [made(body("mqtt://a:1") + "00"), /none of a pairing/],
      [made(body("http://a:1")), /address cannot be used/],
      [made(body("mqtt://u:p@a:1")), /no user/],
      [made(body("mqtt://a:0")), /want a port/],
      [made(body("mqtt://a:1", `05${"11".repeat(32)}`)), /its key is none/],
    ] as const
  ) assert.match(problemOf(text), told);
});

Deno.test("any text is a string, or told why not", () => {
  fc.assert(fc.property(
    fc.oneof(
      fc.string(),
      fc.string({ unit: "binary" }).map((text) => `RHS1${text}`),
    ),
    (text) => assert.notEqual(problemOf(text), ""),
  ));
});

Deno.test("no such address gets into a string", () => {
  for (const url of ["http://a", "mqtt://", "mqtt://a:0", "mqtt://a?b", "x"]) {
    assert.throws(() => formatPairingString({ ...EXAMPLE, url }), RangeError);
  }
});
