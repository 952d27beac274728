/**
 * Login tokens: the published ones, our own, and what must not pass.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { publicKey } from "../../src/crypto/secp.ts";
import { checkLogin, makeToken } from "../../src/mqtt/auth.ts";
import { runs } from "../support/arbitrary.ts";

const KEY = new Uint8Array(32).fill(0xcd);
const USER =
  "02b98a7fb8cc007048625b6446ad49a1b3a722df8c1ca975b87160023e14d19097";
const TIME = 1_700_000_000;
const TOKEN =
  "ZVPxAB_xWpSdxpjNdjpsv9itrK8gZiqKWx8SGKJLBOg7Xf0sy2jr3fK5PTmNaMTy" +
  "voG0PjuBGt6XL8OqjOa3noAF1xYe";

/** Tokens that the Sphinx projects published, with the keys that signed them. */
const PUBLISHED = [
  {
    token: "YvM0wyAZBWdHaVsS4sqy-ub3X0JRx7zVTY9O6aL0q_CIV9zOKykO_grPE4DSelin" +
      "HNX9pTFZ3wEoLhg5QT7EVZpOlj0x",
    time: 1_660_105_923,
    key: USER,
  },
  {
    token: "ZtiimCAbrMtzEO5sUeQQmCqPjFb7jujSaaKCUEECAlPYz3x2jgA6CKfCfW_8v9Tp" +
      "MkpTfTSpRE46yORvE53qxjcrlpIk",
    time: 1_725_473_432,
    key: "0259924ce02d1887a19fbc91573b732c2dad9f4e974bccaead61a445e2ffbb927b",
  },
  {
    token: "XuOp5B9kC3CcL52svtl_LJJJFbV1OTgnq7thtOjdKJMnOuETIw_hlLkVfonozVIw" +
      "z5wADlya_i946GiKFZAgMto0cDuk",
    time: 1_591_978_468,
    key: "02290714deafd0cb33d2be3b634fc977a98a9c9fa1dd6c53cf17d99b350c08c67b",
  },
  {
    token: "Yy3k2R-sD5A0XDzoHewiYxUu4xC7ArV7hYkE67wG_zxiMJKA7Vz26z9lNEbklPOA" +
      "oNQlEqG6TlE-SUDgaxLnAceT1SDq",
    time: 1_663_952_089,
    key: "03a769efb79e88f7b6ec0db2d02187cb7dd1b52f930289d0a16849e55f573f2261",
  },
  {
    token: "ZNzJlyB95W-znrsq0esBvavOWYKwbjaj-50U02nq1BRp9TLfqFfH8j9EDRih7QzP" +
      "9O3V9eHVrWuH9JDFZWhs_pD8LFJg",
    time: 1_692_191_127,
    key: "02cbe4f3693d7caf2a9ec10e0e4795c54ae0d214d7e385aaeee408a973ffad25bd",
  },
  {
    token: "ZRxQoB-4ROZ1PtIewNJlZT7NJLUtINmg2NYiV1DtFri1Q9E8NQob8pax1s6zphcK" +
      "J7f_eSxZSYO5qkWWtzo1_d9Xok3y",
    time: 1_696_354_464,
    key: "02bc855fd72bc8f9240917f848651de15614334de1db5ab4eef014fc4e6c187a4f",
  },
] as const;

const at = (now: number, window = 60) => ({ now, window });

Deno.test("The worked example's token is made byte for byte", () => {
  assert.equal(publicKey(KEY).toHex(), USER);
  assert.equal(makeToken(KEY, TIME), TOKEN);
  assert.ok("key" in checkLogin(USER, TOKEN, at(TIME)));
});

Deno.test("Signing a published token's time again gives its bytes", () => {
  const [{ token, time }] = PUBLISHED;
  assert.equal(makeToken(KEY, time), token);
});

for (const { token, time, key } of PUBLISHED) {
  Deno.test(`The published token of ${time} verifies with its key only`, () => {
    const login = checkLogin(key, token, at(time));
    assert.ok("key" in login);
    assert.equal(login.key.toHex(), key);
    const other = key === USER ? PUBLISHED[1].key : USER;
    assert.ok("refusal" in checkLogin(other, token, at(time)));
  });
}

Deno.test("A token is taken as far off as the window says, either way", () => {
  for (
    const [now, isTaken] of [
      [TIME - 61, false],
      [TIME - 60, true],
      [TIME + 60, true],
      [TIME + 61, false],
      [TIME + 10 ** 8, false],
    ] as const
  ) {
    assert.equal("key" in checkLogin(USER, TOKEN, at(now)), isTaken, `${now}`);
  }
  assert.ok("key" in checkLogin(USER, TOKEN, at(TIME + 10 ** 8, 0)));
});

Deno.test("A token of a real phone is refused today", () => {
  const { key, token } = PUBLISHED[4];
  const login = checkLogin(key, token, at(Math.floor(Date.now() / 1000), 300));
  assert.ok("refusal" in login && /s old/.test(login.refusal));
});

Deno.test("A user name that is no key in lower-case hex is refused", () => {
  for (
    const user of [
      "",
      USER.toUpperCase(),
      USER.slice(2),
      `${USER}00`,
      `04${USER.slice(2)}`,
      ` ${USER.slice(1)}`,
    ]
  ) assert.ok("refusal" in checkLogin(user, TOKEN, at(TIME)), user);
});

Deno.test("A token with any character changed is refused", () => {
  for (let i = 0; i < TOKEN.length; i++) {
    const changed = TOKEN[i] === "A" ? "B" : "A";
    const token = TOKEN.slice(0, i) + changed + TOKEN.slice(i + 1);
    assert.ok("refusal" in checkLogin(USER, token, at(TIME, 0)), `${i}`);
  }
});

Deno.test("A token of another length, alphabet or padding is refused", () => {
  for (
    const token of [
      "",
      TOKEN.slice(1),
      `${TOKEN}A`,
      `${TOKEN.slice(0, -1)}=`,
      TOKEN.replaceAll("_", "/"),
      `${TOKEN.slice(0, -1)}é`,
      `${TOKEN.slice(0, -1)} `,
    ]
  ) assert.ok("refusal" in checkLogin(USER, token, at(TIME)), token);
});

Deno.test("Any name and password are a login or a refusal", () => {
  const user = fc.oneof(fc.string(), fc.constant(USER));
  const base64 = fc.uint8Array({ minLength: 69, maxLength: 69 })
    .map((bytes) => bytes.toBase64({ alphabet: "base64url" }));
  const password = fc.oneof(fc.string(), base64);
  fc.assert(
    fc.property(user, password, (name, word) => {
      assert.ok("refusal" in checkLogin(name, word, at(0, 0)));
    }),
    { numRuns: runs() },
  );
});
