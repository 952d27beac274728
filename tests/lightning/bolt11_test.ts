/**
 * BOLT 11 invoices: the standard's examples, every invoice that recorded nodes
 * paid or signed, invoices built to break one rule each, any text.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import fc from "npm:fast-check@4.10.2";
import * as ecc from "npm:tiny-secp256k1@2.2.4";
import {
  decodeBech32,
  encodeBech32,
  toBytes,
  toPaddedBytes,
  toWords,
} from "../../src/bitcoin/bech32.ts";
import { type Network, NETWORKS } from "../../src/bitcoin/networks.ts";
import { sha256 } from "../../src/crypto/hash.ts";
import { isPoint, publicKey, signRecoverable } from "../../src/crypto/secp.ts";
import { DecodeError } from "../../src/errors.ts";
import { decodeUnsignedInvoice } from "../../src/lightning/bolt11.ts";
import { decodeInvoice } from "../../src/lightning/invoice.ts";
import { REPLIES, REQUESTS } from "../../src/wire/hsmd.ts";
import { decodeMessage } from "../../src/wire/message.ts";
import { runs } from "../support/arbitrary.ts";
import {
  readEvents,
  type RecordedEvent,
  type RecordedMessage,
  type RecordingFolder,
  recordingsIn,
} from "../support/recording.ts";

interface Example {
  readonly name: string;
  readonly invoice: string;
  /** SHA-256 of what is signed. */
  readonly hash?: string;
  readonly signed?: string;
  readonly payment_hash?: string;
  readonly timestamp?: number;
}

const EXAMPLES: {
  readonly valid: readonly Example[];
  readonly invalid: readonly Example[];
} = JSON.parse(
  readFileSync(
    new URL("../fixtures/bolt11/examples.json", import.meta.url),
    "utf8",
  ),
);

const HASH = "0001020304050607080900010203040506070809000102030405060708090102";
const PAYEE =
  "03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad";
/** What libsecp256k1 recovers. */
const HIGH_S_PAYEE =
  "02d0139ce7427d6dfffd26a326c18be754ef1e64672b42694ba5b23ef6e6e7803d";
const CREATED = 1_496_314_658n;
const { bitcoin, testnet, signet, regtest } = NETWORKS;

/** Amount in msat, expiry in seconds, where the example says what they are. */
const TERMS: readonly (readonly [start: string, bigint | null, bigint])[] = [
  ["Please make a donation", null, 3600n],
  ["Please send $3 ", 250_000_000n, 60n],
  ["Please send 0.0025 BTC", 250_000_000n, 60n],
  ["Now send $24", 2_000_000_000n, 3600n],
  ["The same, on testnet", 2_000_000_000n, 3600n],
  ["On mainnet, with fallback address 1Rust", 2_000_000_000n, 3600n],
  ["On mainnet, with fallback (P2SH)", 2_000_000_000n, 3600n],
  ["On mainnet, with fallback (P2WPKH)", 2_000_000_000n, 3600n],
  ["On mainnet, with fallback (P2WSH)", 2_000_000_000n, 3600n],
  ["On mainnet, with fallback (P2TR)", 2_000_000_000n, 3600n],
  ["Please send 0.00967878534 BTC", 967_878_534n, 604_800n],
  ["Please send $30", 2_500_000_000n, 3600n],
  ["Same, but all upper case", 2_500_000_000n, 3600n],
  ["Same, but including fields", 2_500_000_000n, 3600n],
  ["Please send 0.01 BTC", 1_000_000_000n, 3600n],
  ["Public-key recovery with high-S", null, 3600n],
];

/** A high s with the recovery id of the low one is another key's. */
const payeeOf = ({ name }: Example) =>
  name.includes("high-S") ? HIGH_S_PAYEE : PAYEE;
const networkFor = (text: string) => /^lntb/i.test(text) ? testnet : bitcoin;

for (const [i, example] of EXAMPLES.valid.entries()) {
  Deno.test(`BOLT 11 example: ${example.name.slice(0, 60)}`, () => {
    const [start = "", amount = null, expiry = 0n] = TERMS[i] ?? [];
    assert.ok(start !== "" && example.name.startsWith(start), example.name);
    const { invoice: text } = example;
    const invoice = decodeInvoice(text, networkFor(text));
    assert.equal(invoice.kind, "bolt11");
    assert.equal(invoice.paymentHash.toHex(), example.payment_hash ?? HASH);
    assert.equal(invoice.amount, amount);
    const created = BigInt(example.timestamp ?? CREATED);
    assert.equal(invoice.createdAt, created);
    assert.equal(invoice.expiresAt, created + expiry);
    assert.equal(invoice.payee.toHex(), payeeOf(example));
    assert.equal(invoice.network, networkFor(text).name);
    const { signed, hash = null } = example;
    if (signed !== undefined) {
      const digest = sha256(Uint8Array.fromHex(signed)).toHex();
      assert.equal(digest, hash);
      assert.equal(invoice.invoiceHash.toHex(), hash);
    }
  });
}

/** What we say of the invalid ones; null for what only the payer refuses. */
const PROBLEMS: readonly (readonly [start: string, RegExp | null])[] = [
  ["Same, but adding invalid unknown feature 100", null],
  ["Bech32 checksum is invalid", /wrong checksum/],
  ["Malformed bech32 string (no 1)", /no Bech32 text/],
  ["Malformed bech32 string (mixed case)", /no Bech32 text/],
  ["Signature is not recoverable", /no key could have made it/],
  ["String is too short", /words, want 104|wrong checksum/],
  ["Invalid multiplier", /bolt11.amount .*no number/],
  ["Invalid sub-millisatoshi", /parts of a millisatoshi/],
  ["Missing required `s`", /no payment secret/],
  ["Non canonical signature (high-S)", /want one with a low s/],
];

Deno.test("a second library recovers the key of the high s", () => {
  const { invoice: text, hash = "" } = EXAMPLES.valid.at(-1) ?? assert.fail();
  const { words } = decodeBech32(text) ?? assert.fail();
  const signature = toBytes(words.subarray(-104)) ?? assert.fail();
  const key = ecc.recover(
    Uint8Array.fromHex(hash),
    signature.subarray(0, 64),
    1,
    true,
  );
  assert.equal(signature[64], 1);
  assert.equal(key?.toHex(), HIGH_S_PAYEE);
});

Deno.test("BOLT 11 invalid examples, and what is wrong with each", () => {
  assert.equal(EXAMPLES.invalid.length, PROBLEMS.length);
  EXAMPLES.invalid.forEach(({ name, invoice }, i) => {
    const [start = "none", problem] = PROBLEMS[i] ?? [];
    assert.ok(name.startsWith(start), name);
    if (problem === null) {
      assert.equal(decodeInvoice(invoice, bitcoin).amount, 2_500_000_000n);
    } else {
      assert.throws(() => decodeInvoice(invoice, bitcoin), (error) => {
        assert.ok(error instanceof DecodeError);
        assert.match(error.message, problem ?? /./, name);
        return true;
      });
    }
  });
});

// ------------------------------------------------------------- recorded nodes

const isMessage = (event: RecordedEvent): event is RecordedMessage =>
  event.kind === "request" || event.kind === "reply";

const messagesIn = (folder: RecordingFolder) =>
  recordingsIn(folder).map((path) => readEvents(path).filter(isMessage));

/** The messages of each recorded node. */
const recorded = messagesIn("flows");

const isRequest = (message: RecordedMessage, ...types: number[]) =>
  message.kind === "request" && types.includes(message.type);
const preapprovals = recorded.flat()
  .filter((message) => isRequest(message, 38, 51));

/** The string of preapprove_invoice (38) or preapprove_invoice_check (51). */
function invoiceString({ type, bytes }: RecordedMessage): Uint8Array {
  return type === 38
    ? decodeMessage(REQUESTS.preapprove_invoice, bytes).invstring
    : decodeMessage(REQUESTS.preapprove_invoice_check, bytes).invstring;
}

Deno.test("every invoice that a recorded node was about to pay", () => {
  const kinds = { bolt11: 0, bolt12: 0 };
  for (const request of preapprovals) {
    const bytes = invoiceString(request);
    const invoice = decodeInvoice(bytes, regtest);
    assert.equal(invoice.network, "regtest");
    assert.ok(invoice.expiresAt > invoice.createdAt);
    kinds[invoice.kind] += 1;
    assert.throws(() => decodeInvoice(bytes, bitcoin), DecodeError);
    assert.throws(() => decodeInvoice(bytes, signet), DecodeError);
  }
  assert.ok(kinds.bolt11 > 80, `${kinds.bolt11} of BOLT 11`);
  assert.ok(kinds.bolt12 > 5, `${kinds.bolt12} of BOLT 12`);
});

/** What each recorded node was asked to sign, and what it signed. */
function signings(messages: readonly RecordedMessage[]) {
  return messages.flatMap((message, i) => {
    if (!isRequest(message, 8)) return [];
    const reply = messages.slice(i).find(({ kind, conn }) =>
      kind === "reply" && conn === message.conn
    ) ?? assert.fail("no reply");
    const { sig } = decodeMessage(REPLIES.sign_invoice_reply, reply.bytes);
    return [{ ...decodeMessage(REQUESTS.sign_invoice, message.bytes), sig }];
  });
}

Deno.test("every invoice that a recorded node signed, before and after", () => {
  const paid = new Set(
    preapprovals.map((message) =>
      new TextDecoder().decode(invoiceString(message))
    ),
  );
  const counts = { signed: 0, metAgain: 0 };
  for (const { hrp, u5bytes, sig } of recorded.flatMap(signings)) {
    const words = Uint8Array.of(...u5bytes, ...toWords(sig));
    const text = encodeBech32(new TextDecoder().decode(hrp), words, "bech32");
    const terms = decodeUnsignedInvoice(hrp, u5bytes, regtest);
    const { kind, payee, network, ...rest } = decodeInvoice(text, regtest);
    assert.deepEqual(rest, terms);
    assert.deepEqual([kind, network], ["bolt11", "regtest"]);
    assert.ok(isPoint(payee));
    counts.signed += 1;
    if (paid.has(text)) counts.metAgain += 1;
  }
  assert.ok(counts.signed > 60, `${counts.signed} signed`);
  assert.ok(counts.metAgain > 20, `${counts.metAgain} met at the payer`);
});

Deno.test("random words that a stock hsmd signs are no invoice", () => {
  const all = messagesIn("vectors").flatMap(signings);
  assert.ok(all.length > 0);
  for (const { hrp, u5bytes } of all) {
    assert.throws(
      () => decodeUnsignedInvoice(hrp, u5bytes, regtest),
      DecodeError,
    );
  }
});

// ----------------------------------------------------- built to break one rule

const KEY = new Uint8Array(32).fill(0x42);
const HASH_BYTES = Uint8Array.fromHex(HASH);

type Field = readonly [tag: number, words: Uint8Array];

const field = (tag: number, bytes: Uint8Array): Field => [tag, toWords(bytes)];
const P = field(1, HASH_BYTES);
const S = field(16, new Uint8Array(32).fill(0x11));
const D = field(13, new TextEncoder().encode("a description"));
const N = field(19, publicKey(KEY));

function join(fields: readonly Field[], timestamp = [1, 0, 0, 0, 0, 0, 0]) {
  const parts = fields.flatMap(([tag, words]) => [
    tag,
    words.length >> 5,
    words.length & 31,
    ...words,
  ]);
  return Uint8Array.of(...timestamp, ...parts);
}

function sign(prefix: string, words: Uint8Array): string {
  const hrp = new TextEncoder().encode(prefix);
  const digest = sha256(hrp, toPaddedBytes(words));
  const signature = toWords(signRecoverable(digest, KEY));
  return encodeBech32(prefix, Uint8Array.of(...words, ...signature), "bech32");
}

const build = (prefix: string, ...fields: Field[]) =>
  sign(prefix, join(fields));

const x = (...words: number[]): Field => [6, Uint8Array.from(words)];

function refuses(
  text: string | Uint8Array,
  problem: RegExp,
  network: Network = bitcoin,
) {
  assert.throws(() => decodeInvoice(text, network), (error) => {
    assert.ok(error instanceof DecodeError, String(error));
    assert.match(error.message, problem);
    return true;
  });
}

Deno.test("amounts: every multiplier, none, and what is no amount", () => {
  const good: readonly (readonly [string, bigint | null])[] = [
    ["", null],
    ["1", 100_000_000_000n],
    ["1m", 100_000_000n],
    ["1u", 100_000n],
    ["1n", 100n],
    ["10p", 1n],
    ["0", 0n],
    ["007u", 700_000n],
    ["184467440737095516150p", 2n ** 64n - 1n],
  ];
  for (const [amount, msat] of good) {
    const found = decodeInvoice(build(`lnbc${amount}`, P, S, D), bitcoin);
    assert.equal(found.amount, msat, amount);
  }
  const bad: readonly (readonly [string, RegExp])[] = [
    ["1x", /no number/],
    ["1mm", /no number/],
    ["1m1", /no number/],
    ["1-", /no number/],
    ["1 m", /Bech32 text/],
    ["9p", /parts of a millisatoshi/],
    ["11p", /parts of a millisatoshi/],
    ["184467440737095516160p", /want 0 to 2\^64-1/],
    ["184467441", /want 0 to 2\^64-1/],
    ["1".repeat(33), /no number/],
  ];
  for (const [amount, problem] of bad) {
    refuses(build(`lnbc${amount}`, P, S, D), problem);
  }
});

Deno.test("the prefix is the network's, the longest that fits", () => {
  const networks = { bc: bitcoin, tb: testnet, tbs: signet, bcrt: regtest };
  for (const prefix of Object.keys(networks)) {
    const text = build(`ln${prefix}20m`, P, S, D);
    for (const [other, network] of Object.entries(networks)) {
      if (other !== prefix) refuses(text, /bolt11.prefix at 0: no/, network);
      else assert.equal(decodeInvoice(text, network).network, network.name);
    }
  }
  const text = build("lntb1", P, S, D);
  assert.equal(decodeInvoice(text, NETWORKS.testnet4).network, "testnet4");
  for (const prefix of ["bc", "ln", "lnb", "lnbcx", "xlnbc", "lni", "lno"]) {
    refuses(build(`${prefix}1`, P, S, D), /.*/);
  }
});

Deno.test("expiry: default, shortest form, and what a u64 holds", () => {
  const start = 2n ** 30n;
  const good: readonly (readonly [Field[], bigint])[] = [
    [[], 3600n],
    [[x()], 0n],
    [[x(0)], 0n],
    [[x(1, 28)], 60n],
    [[x(1, 28), x(31)], 60n], // the first one counts
    [[x(...new Array(12).fill(31))], 2n ** 60n - 1n],
  ];
  for (const [fields, expiry] of good) {
    const found = decodeInvoice(build("lnbc", P, S, D, ...fields), bitcoin);
    assert.equal(found.createdAt, start);
    assert.equal(found.expiresAt, start + expiry);
  }
  refuses(build("lnbc", P, S, x(0, 1)), /bolt11.x .*zero in front/);
  refuses(build("lnbc", P, S, x(...new Array(13).fill(1))), /13 words/);
});

Deno.test("the first payment hash of the right length counts", () => {
  const other = field(1, new Uint8Array(32).fill(9));
  const short: Field = [1, new Uint8Array(51)];
  const text = build("lnbc", short, P, other, S);
  assert.equal(decodeInvoice(text, bitcoin).paymentHash.toHex(), HASH);
  refuses(build("lnbc", short, S), /bolt11.p .*no payment hash/);
  refuses(build("lnbc", P), /bolt11.s .*no payment secret/);
  const unclean = Uint8Array.from(P[1]);
  unclean[51] = (unclean[51] ?? 0) | 1;
  refuses(build("lnbc", [1, unclean], S), /bolt11.p .*bits left over/);
});

Deno.test("a named payee has to be who signed", () => {
  const found = decodeInvoice(build("lnbc", P, S, N), bitcoin);
  assert.deepEqual(Uint8Array.from(found.payee), publicKey(KEY));
  const other = field(19, publicKey(new Uint8Array(32).fill(7)));
  refuses(build("lnbc", P, S, other), /not the payee's/);
  const nobody = field(19, new Uint8Array(33).fill(5));
  refuses(build("lnbc", P, S, nobody), /no point of the curve/);
  const short: Field = [19, new Uint8Array(52)];
  const skipped = decodeInvoice(build("lnbc", P, S, short), bitcoin);
  assert.deepEqual(Uint8Array.from(skipped.payee), publicKey(KEY));
});

Deno.test("signatures that are none give a DecodeError", () => {
  const words = join([P, S]);
  const made = (signature: Uint8Array, ...fields: Field[]) =>
    encodeBech32(
      "lnbc",
      Uint8Array.of(...join([P, S, ...fields]), ...toWords(signature)),
      "bech32",
    );
  for (const recovery of [4, 27, 255]) {
    const signature = new Uint8Array(65).fill(1);
    signature[64] = recovery;
    refuses(made(signature), /recovery id/);
  }
  for (const fill of [0, 255]) {
    const signature = new Uint8Array(65).fill(fill);
    signature[64] = 0;
    refuses(made(signature), /no key could have made it/);
    refuses(made(signature, N), /not the payee's/);
  }
  const unsigned = encodeBech32("lnbc", words, "bech32");
  refuses(unsigned, /.*/);
});

Deno.test("words that end too early name where", () => {
  refuses(sign("lnbc", Uint8Array.of(1, 2, 3)), /bolt11.timestamp at 0/);
  const words = join([P, S]);
  for (let size = 0; size < words.length; size++) {
    refuses(sign("lnbc", words.subarray(0, size)), /Cannot decode bolt11/);
  }
  refuses(sign("lnbc", Uint8Array.of(...words, 13, 31, 31)), /want 1023/);
});

Deno.test("terms to be signed are read as strictly", () => {
  const hrp = new TextEncoder().encode("lnbcrt20m");
  const words = join([P, S, D]);
  const terms = decodeUnsignedInvoice(hrp, words, regtest);
  assert.equal(terms.amount, 2_000_000_000n);
  assert.equal(terms.paymentHash.toHex(), HASH);
  const digest = sha256(hrp, toPaddedBytes(words));
  assert.deepEqual(Uint8Array.from(terms.invoiceHash), digest);
  const refused = (prefix: Uint8Array, of: Uint8Array, network = regtest) =>
    assert.throws(
      () => decodeUnsignedInvoice(prefix, of, network),
      DecodeError,
    );
  refused(hrp, words, bitcoin);
  refused(new Uint8Array(), words);
  refused(Uint8Array.of(...hrp, 0xff), words);
  refused(Uint8Array.of(...hrp, 0), words);
  refused(hrp, Uint8Array.of(...words.subarray(0, -1), 32));
  refused(hrp, new Uint8Array());
  refused(hrp, words.subarray(0, -1));
  refused(hrp, Uint8Array.of(...words, 1));
});

Deno.test("a scheme, capitals and bytes are read like the bare text", () => {
  const text = build("lnbc20m", P, S, D);
  const wanted = decodeInvoice(text, bitcoin);
  const upper = text.toUpperCase();
  const forms = [
    `lightning:${text}`,
    `LIGHTNING:${upper}`,
    `Lightning:${text}`,
    upper,
  ];
  for (const form of forms) {
    assert.deepEqual(decodeInvoice(form, bitcoin), wanted);
    const bytes = new TextEncoder().encode(form);
    assert.deepEqual(decodeInvoice(bytes, bitcoin), wanted);
  }
  refuses(`lightning:lightning:${text}`, /Cannot decode/);
  refuses(`\ufeff${text}`, /no Bech32 text/);
  refuses(new TextEncoder().encode(`\ufeff${text}`), /no Bech32 text/);
  const { prefix, words } = decodeBech32(text) ?? assert.fail();
  refuses(encodeBech32(prefix, words, "bech32m"), /want Bech32's/);
  refuses(` ${text}`, /no Bech32 text/);
  assert.ok(!Object.hasOwn(wanted, "description"));
});

Deno.test("every change of one letter of an invoice is found", () => {
  const texts = [
    EXAMPLES.valid[1]?.invoice ?? "",
    build("lnbc20m", P, S, N, D),
  ];
  const letters = "1qpzry9x8gf2tvdw0s3jn54khce6mua7lbioQM :+";
  for (const text of texts) {
    assert.equal(decodeInvoice(text, bitcoin).kind, "bolt11");
    for (let i = 0; i < text.length; i++) {
      for (const letter of letters) {
        if (letter === text[i]) continue;
        const changed = text.slice(0, i) + letter + text.slice(i + 1);
        refuses(changed, /Cannot decode/);
      }
    }
  }
});

Deno.test("a changed word with a new checksum changes what is signed", () => {
  const text = build("lnbc20m", P, S, N, D);
  const { prefix, words } = decodeBech32(text) ?? assert.fail();
  for (let i = 0; i < words.length - 104; i++) {
    const changed = Uint8Array.from(words);
    changed[i] = (changed[i] ?? 0) ^ 1;
    const again = encodeBech32(prefix, changed, "bech32");
    // A broken tag of field n leaves nobody but the key that fits to name.
    try {
      const { payee } = decodeInvoice(again, bitcoin);
      assert.notDeepEqual(Uint8Array.from(payee), publicKey(KEY));
    } catch (error) {
      assert.ok(error instanceof DecodeError, String(error));
    }
  }
});

Deno.test("any text and any bytes are an invoice or a DecodeError", () => {
  const word = fc.integer({ min: 0, max: 31 });
  const words = fc.array(word, { maxLength: 400 });
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string().map((rest) => `lnbc${rest}`),
    words.map((all) => encodeBech32("lnbc", Uint8Array.from(all), "bech32")),
    words.map((all) => sign("lnbc1m", Uint8Array.from(all))),
    words.map((rest) => sign("lnbc", join([P, S, [2, Uint8Array.from(rest)]]))),
    words.map((rest) => sign("lnbc", Uint8Array.of(...join([P, S]), ...rest))),
  );
  const found = { invoices: 0 };
  const decodeAny = (input: string | Uint8Array) => {
    try {
      const { payee, kind } = decodeInvoice(input, bitcoin);
      assert.equal(payee.length, 33);
      assert.equal(kind, "bolt11");
      found.invoices += 1;
    } catch (error) {
      assert.ok(error instanceof DecodeError, String(error));
    }
  };
  fc.assert(fc.property(text, decodeAny), { numRuns: runs(300) });
  fc.assert(fc.property(fc.uint8Array(), decodeAny), { numRuns: runs() });
  assert.ok(found.invoices > 0);
});

Deno.test("texts of 64 KiB are done with at once", () => {
  const size = 0xffff;
  const started = performance.now();
  const many = join([P, S, ...new Array(60).fill([2, new Uint8Array(1000)])]);
  assert.equal(decodeInvoice(sign("lnbc", many), bitcoin).amount, null);
  refuses("1".repeat(size), /no Bech32 text/);
  refuses(`lnbc${"1".repeat(size - 4)}`, /.*/);
  refuses(`lnbc1${"q".repeat(size - 5)}`, /.*/);
  refuses("l".repeat(size), /.*/);
  refuses("+ ".repeat(size / 2), /.*/);
  refuses(`a+${" ".repeat(size - 2)}`, /.*/);
  refuses("a+".repeat(size / 2), /.*/);
  const digits = build(`lnbc${"9".repeat(60_000)}`, P, S);
  refuses(digits, /no number/);
  // Quadratic time would be minutes.
  assert.ok(performance.now() - started < 5000);
  refuses("q".repeat(size + 1), /65536 letters, want 65535 or fewer/);
  refuses(`lightning:${"q".repeat(size)}`, /want 65535 or fewer/);
});

Deno.test("no error carries a part of the invoice", () => {
  const secretive = new TextEncoder().encode("XyzzyPlugh");
  const text = build("lnbc1x", P, S, field(13, secretive));
  try {
    decodeInvoice(text, bitcoin);
    assert.fail();
  } catch (error) {
    assert.ok(error instanceof DecodeError);
    assert.ok(!error.message.includes(text.slice(4, 20)));
    assert.ok(error.cause === undefined);
  }
  assert.ok(toBytes(toWords(secretive)) !== null);
});
