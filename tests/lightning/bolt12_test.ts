/**
 * BOLT 12 invoices: the standard's vectors for texts and Merkle trees, an
 * invoice of Core Lightning's tests, invoices built to break one rule each, any
 * text. `bolt11_test.ts` reads those that recorded nodes paid.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import fc from "npm:fast-check@4.10.2";
import {
  encodeBech32,
  splitWords,
  toBytes,
  toWords,
} from "../../src/bitcoin/bech32.ts";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { taggedHash } from "../../src/crypto/hash.ts";
import { publicKey, signSchnorr } from "../../src/crypto/secp.ts";
import { DecodeError } from "../../src/errors.ts";
import {
  decodeBolt12,
  isBolt12,
  merkleRoot,
  readRecords,
} from "../../src/lightning/bolt12.ts";
import { decodeInvoice } from "../../src/lightning/invoice.ts";
import { Writer } from "../../src/wire/codec.ts";
import { writeBigSize } from "../../src/wire/tlv.ts";
import { runs } from "../support/arbitrary.ts";

const { bitcoin, regtest } = NETWORKS;

function fixture<T>(name: string): readonly T[] {
  const url = new URL(`../fixtures/bolt12/${name}.json`, import.meta.url);
  return JSON.parse(readFileSync(url, "utf8"));
}

interface MerkleVector {
  readonly comment: string;
  readonly bolt12?: string;
  readonly "first-tlv": string;
  readonly leaves: readonly Readonly<Record<string, string>>[];
  readonly merkle: string;
}

/** The stream of a vector: its leaves are named after their records. */
function streamOf({ leaves }: MerkleVector): Uint8Array {
  const names = leaves.flatMap((leaf) => Object.keys(leaf));
  const records = names.flatMap((name) =>
    /^H\(`LnLeaf`,([0-9a-f]+)\)$/.exec(name)?.[1] ?? []
  );
  assert.equal(records.length, leaves.length);
  return Uint8Array.fromHex(records.join(""));
}

const MERKLE = fixture<MerkleVector>("signature_test");

for (const vector of MERKLE) {
  Deno.test(`BOLT 12 Merkle root: ${vector.comment.slice(0, 50)}`, () => {
    const records = readRecords(streamOf(vector));
    assert.equal(records[0]?.bytes.toHex(), vector["first-tlv"]);
    assert.equal(merkleRoot(records).toHex(), vector.merkle);
    if (vector.bolt12 !== undefined) {
      const { words } = splitWords(vector.bolt12) ?? assert.fail();
      const whole = readRecords(toBytes(words) ?? assert.fail());
      assert.equal(whole.length, records.length + 1, "with its signature");
      assert.equal(merkleRoot(whole).toHex(), vector.merkle);
    }
  });
}

interface TextVector {
  readonly comment: string;
  readonly valid: boolean;
  readonly string: string;
}

/**
 * The vectors are offers, which is told only once the text could be read: that
 * it is an offer is the better of the two errors.
 */
Deno.test("BOLT 12 format strings", () => {
  for (
    const { comment, valid, string } of fixture<TextVector>(
      "format_string_test",
    )
  ) {
    assert.throws(() => decodeBolt12(string, bitcoin), (error) => {
      assert.ok(error instanceof DecodeError);
      const problem = valid
        ? /no invoice, want prefix lni/
        : /no Bech32 text|a plus at an end/;
      assert.match(error.message, problem, comment);
      return true;
    });
  }
});

interface InvoiceVector {
  readonly invoice: string;
  readonly amount_msat: string;
  readonly created_at: string;
  readonly relative_expiry: string;
  readonly payment_hash: string;
  readonly node_id: string;
}

Deno.test("an invoice of Core Lightning's tests", () => {
  for (const vector of fixture<InvoiceVector>("invoices")) {
    const { invoice: text } = vector;
    const { invoiceHash, ...found } = decodeInvoice(text, bitcoin);
    const created = BigInt(vector.created_at);
    assert.deepEqual(
      {
        ...found,
        paymentHash: found.paymentHash.toHex(),
        payee: found.payee.toHex(),
      },
      {
        kind: "bolt12",
        paymentHash: vector.payment_hash,
        amount: BigInt(vector.amount_msat),
        payee: vector.node_id,
        createdAt: created,
        expiresAt: created + BigInt(vector.relative_expiry),
        network: "bitcoin",
      },
    );
    assert.equal(invoiceHash.length, 32);
    assert.throws(
      () => decodeInvoice(text, regtest),
      /bolt12.invreq_chain at 0: another chain's, want regtest's/,
    );
  }
});

// ----------------------------------------------------- built to break one rule

const KEY = new Uint8Array(32).fill(0x42);

/** Values by type; what is undefined is left out. */
type Values = Readonly<Record<number, Uint8Array | undefined>>;

const GOOD: Values = {
  0: new Uint8Array(16).fill(1),
  80: regtest.genesisHash,
  164: Uint8Array.fromHex("5f000000"),
  168: new Uint8Array(32).fill(0x68),
  170: Uint8Array.fromHex("0f4240"),
  176: publicKey(KEY),
};

function stream(values: Values): Uint8Array {
  const writer = new Writer();
  for (const [type, value] of Object.entries(values)) {
    if (value === undefined) continue;
    writeBigSize(writer, BigInt(type));
    writeBigSize(writer, BigInt(value.length));
    writer.bytes(value);
  }
  return writer.finish();
}

/** Signed with the key, whatever its node id says. */
function sign(values: Values): Values {
  const root = merkleRoot(readRecords(stream(values)));
  const digest = taggedHash("lightning", "invoice", "signature")(root);
  return { ...values, 240: signSchnorr(digest, KEY) };
}

function toText(bytes: Uint8Array, prefix = "lni"): string {
  return encodeBech32(prefix, toWords(bytes), "bech32").slice(0, -6);
}

const build = (changes: Values = {}) =>
  toText(stream(sign({ ...GOOD, ...changes })));

function refuses(text: string | Uint8Array, problem: RegExp) {
  assert.throws(() => decodeInvoice(text, regtest), (error) => {
    assert.ok(error instanceof DecodeError, String(error));
    assert.match(error.message, problem);
    return true;
  });
}

Deno.test("an invoice's terms, with the default expiry and with its own", () => {
  const found = decodeInvoice(build(), regtest);
  assert.equal(found.kind, "bolt12");
  assert.equal(found.amount, 1_000_000n);
  assert.equal(found.paymentHash.toHex(), "68".repeat(32));
  assert.equal(found.payee.toHex(), publicKey(KEY).toHex());
  assert.equal(found.createdAt, 0x5f000000n);
  assert.equal(found.expiresAt, found.createdAt + 7200n);
  assert.equal(found.network, "regtest");
  const root = merkleRoot(readRecords(stream(GOOD)));
  const digest = taggedHash("lightninginvoicesignature")(root);
  assert.equal(found.invoiceHash.toHex(), digest.toHex());
  assert.ok(!Object.hasOwn(found, "description"));

  const hour = decodeInvoice(
    build({ 166: Uint8Array.fromHex("0e10") }),
    regtest,
  );
  assert.equal(hour.expiresAt, hour.createdAt + 3600n);
  const none = decodeInvoice(build({ 166: new Uint8Array() }), regtest);
  assert.equal(none.expiresAt, none.createdAt);
  const last = decodeInvoice(
    build({ 164: new Uint8Array(8).fill(255) }),
    regtest,
  );
  assert.equal(last.expiresAt, 2n ** 64n - 1n);
});

Deno.test("each rule of an invoice, broken alone", () => {
  const cases: readonly (readonly [Values, RegExp])[] = [
    [{ 80: undefined }, /invreq_chain at 0: another chain's/],
    [{ 80: bitcoin.genesisHash }, /another chain's/],
    [{ 80: new Uint8Array(31) }, /another chain's/],
    [{ 164: undefined }, /invoice_created_at at 0: no such record/],
    [{ 164: new Uint8Array(9).fill(1) }, /9 bytes, want 8 or fewer/],
    [{ 164: Uint8Array.of(0, 1) }, /invoice_created_at .*zero in front/],
    [{ 166: Uint8Array.of(0) }, /invoice_relative_expiry .*zero in front/],
    [{ 166: new Uint8Array(5).fill(1) }, /5 bytes, want 4 or fewer/],
    [{ 168: undefined }, /invoice_payment_hash at 0: no such record/],
    [{ 168: new Uint8Array(31) }, /31 bytes, want 32/],
    [{ 170: undefined }, /invoice_amount at 0: no such record/],
    [{ 170: Uint8Array.of(0, 1) }, /invoice_amount .*zero in front/],
    [{ 176: undefined }, /invoice_node_id at 0: no such record/],
    [{ 176: publicKey(KEY).subarray(1) }, /32 bytes, want 33/],
    [{ 176: new Uint8Array(33).fill(5) }, /no point of the curve/],
    [{ 176: publicKey(new Uint8Array(32).fill(7)) }, /not the payee's/],
    [{ 92: new Uint8Array() }, /unknown even type 92/],
    [{ 178: new Uint8Array() }, /unknown even type 178/],
    [{ 242: new Uint8Array() }, /unknown even type 242/],
    [{ 1002: new Uint8Array() }, /unknown even type 1002/],
    [{ 4_000_000_000: new Uint8Array() }, /unknown even type 4000000000/],
  ];
  for (const [changes, problem] of cases) refuses(build(changes), problem);
});

Deno.test("records that are not read are still signed", () => {
  const more: Values = { 10: Uint8Array.of(1), 89: Uint8Array.of(2), 999: KEY };
  const values = sign({ ...GOOD, ...more, 1001: Uint8Array.of(3) });
  assert.equal(decodeInvoice(toText(stream(values)), regtest).kind, "bolt12");
  for (const type of [0, 10, 89, 1001]) {
    const changed = { ...values, [type]: Uint8Array.of(9) };
    refuses(toText(stream(changed)), /not the payee's/);
    refuses(
      toText(stream({ ...values, [type]: undefined })),
      /not the payee's/,
    );
  }
  // 999 is a signature's type: no other signature is over it.
  const without = { ...values, 999: undefined };
  assert.equal(decodeInvoice(toText(stream(without)), regtest).kind, "bolt12");
});

Deno.test("signatures that are none", () => {
  const values = sign(GOOD);
  refuses(toText(stream({ ...values, 240: undefined })), /no such record/);
  for (const size of [0, 63, 65]) {
    const changed = { ...values, 240: new Uint8Array(size) };
    refuses(toText(stream(changed)), /bytes, want 64/);
  }
  for (const fill of [0, 1, 255]) {
    const changed = { ...values, 240: new Uint8Array(64).fill(fill) };
    refuses(toText(stream(changed)), /not the payee's/);
  }
});

Deno.test("a stream that is none", () => {
  const bytes = stream(sign(GOOD));
  for (let size = 0; size < bytes.length; size++) {
    refuses(toText(bytes.subarray(0, size)), /Cannot decode bolt12/);
  }
  refuses(toText(Uint8Array.of(...bytes, 240, 0)), /type 240 after 240/);
  refuses(toText(Uint8Array.of(...bytes, 1, 0)), /type 1 after 240/);
  refuses(toText(Uint8Array.of(1, 5, 1)), /1 bytes left, want 5/);
  refuses(toText(Uint8Array.fromHex("01ffffffffffffffffff")), /bytes left/);
  refuses(toText(Uint8Array.fromHex("fd0001")), /BigSize/);
  assert.throws(() => merkleRoot([]), /no records/);
  const signature = readRecords(Uint8Array.of(240, 1, 1));
  assert.throws(() => merkleRoot(signature), /signatures only/);
});

Deno.test("a text is read in one case, joined with plus signs or not", () => {
  const text = build();
  const wanted = decodeInvoice(text, regtest);
  const forms = [
    text.toUpperCase(),
    `lightning:${text}`,
    `LIGHTNING:${text.toUpperCase()}`,
    `l+${text.slice(1)}`,
    [...text].join("+"),
    `${text.slice(0, 30)}+ \r\n\t${text.slice(30)}`,
  ];
  for (const form of forms) {
    assert.ok(isBolt12(form.replace(/^lightning:/i, "")));
    assert.deepEqual(decodeInvoice(form, regtest), wanted);
    const bytes = new TextEncoder().encode(form);
    assert.deepEqual(decodeInvoice(bytes, regtest), wanted);
  }
  const broken = [
    `${text}+`,
    `+${text}`,
    `${text}+ `,
    `${text} `,
    `${text.slice(0, 9)}++${text.slice(9)}`,
    `${text.slice(0, 9)} +${text.slice(9)}`,
    `${text.slice(0, 9)}${text.slice(9).toUpperCase()}`,
    `${text.slice(0, 9)}\u00a0${text.slice(9)}`,
    `${text}q`,
    `${text}qq`,
  ];
  for (const form of broken) refuses(form, /Cannot decode/);
  for (const prefix of ["lno", "lnr", "ln", "lnii"]) {
    refuses(toText(stream(sign(GOOD)), prefix), /Cannot decode/);
  }
});

Deno.test("every change of one letter of an invoice is found", () => {
  // A signature is looked at for each: all letters with SLOW=1.
  const isSlow = runs(1) > 1;
  const letters = isSlow
    ? "1qpzry9x8gf2tvdw0s3jn54khce6mua7lbioQM :+"
    : "1qlbQ+";
  const text = build();
  for (let i = 0; i < text.length; i++) {
    for (const letter of letters) {
      if (letter === text[i]) continue;
      const changed = text.slice(0, i) + letter + text.slice(i + 1);
      refuses(changed, /Cannot decode/);
    }
  }
});

Deno.test("the Merkle root is that of a tree built another way", () => {
  const leaf = taggedHash("LnLeaf");
  const inner = taggedHash("LnBranch");
  const join = (a: Uint8Array, b: Uint8Array) => {
    const [left, right] = [a, b].sort((x, y) => x.toHex() < y.toHex() ? -1 : 1);
    return inner(left ?? a, right ?? b);
  };
  /** From the top: the left side is the largest power of two that fits. */
  const root = (nodes: readonly Uint8Array[]): Uint8Array => {
    const [only] = nodes;
    if (only !== undefined && nodes.length === 1) return only;
    const half = 2 ** Math.floor(Math.log2(nodes.length - 1));
    return join(root(nodes.slice(0, half)), root(nodes.slice(half)));
  };
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 8 }), {
        minLength: 1,
        maxLength: 40,
      }),
      (values) => {
        const bytes = stream(Object.fromEntries(values.entries()));
        const records = readRecords(bytes);
        const first = Uint8Array.of(
          0,
          values[0]?.length ?? 0,
          ...values[0] ?? [],
        );
        const nonce = taggedHash("LnNonce", first);
        const nodes = values.map((value, type) =>
          join(
            leaf(Uint8Array.of(type, value.length, ...value)),
            nonce(Uint8Array.of(type)),
          )
        );
        assert.equal(merkleRoot(records).toHex(), root(nodes).toHex());
      },
    ),
    { numRuns: runs() },
  );
});

Deno.test("any text and any bytes are an invoice or a DecodeError", () => {
  const types = Object.keys(GOOD).map(Number);
  const good = fc.constantFrom(...types, 166, 10, 91, 242).chain((type) =>
    fc.uint8Array({ maxLength: 70 }).map((value) => build({ [type]: value }))
  );
  const text = fc.oneof(
    good,
    fc.string().map((rest) => `lni1${rest}`),
    fc.uint8Array().map((bytes) => toText(bytes)),
    fc.uint8Array().map((bytes) =>
      toText(Uint8Array.of(...stream(sign(GOOD)), ...bytes))
    ),
  );
  const found = { invoices: 0 };
  fc.assert(
    fc.property(text, (input) => {
      try {
        const { payee, amount } = decodeInvoice(input, regtest);
        assert.equal(payee.length, 33);
        assert.ok(amount !== null);
        found.invoices += 1;
      } catch (error) {
        assert.ok(error instanceof DecodeError, String(error));
      }
    }),
    { numRuns: runs(300) },
  );
  assert.ok(found.invoices > 0);
});

Deno.test("texts of 64 KiB are done with at once", () => {
  const size = 0xffff;
  const started = performance.now();
  const many: Record<number, Uint8Array> = {};
  for (let i = 0; i < 9000; i++) many[2001 + 2 * i] = new Uint8Array();
  const text = build(many);
  assert.ok(text.length > 50_000 && text.length < size);
  assert.equal(decodeInvoice(text, regtest).kind, "bolt12");
  refuses(`lni1${"q".repeat(size - 4)}`, /Cannot decode/);
  refuses(`lni1${"+ ".repeat(30_000)}`, /Cannot decode/);
  refuses(`lni1q+${" ".repeat(60_000)}`, /Cannot decode/);
  refuses(`lni1${"q+".repeat(30_000)}`, /Cannot decode/);
  // Quadratic time would be minutes.
  assert.ok(performance.now() - started < 10_000);
});
