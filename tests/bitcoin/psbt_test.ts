/**
 * PSBTs: what is read, what is refused, how it is written again. What signing
 * does to them is in the recorded exchanges (tests/replay/signer_test.ts).
 *
 * @module
 */

import assert from "node:assert/strict";
import * as btc from "@scure/btc-signer";
import fc from "npm:fast-check@4.10.2";
import { hash160, sha256 } from "../../src/crypto/hash.ts";
import { decodePsbt, encodePsbt, spentOutput } from "../../src/bitcoin/psbt.ts";
import { decodeTx, encodeTxWithoutWitness } from "../../src/bitcoin/tx.ts";
import { DecodeError, RequestError } from "../../src/errors.ts";
import { decodeMessage } from "../../src/wire/message.ts";
import { REQUESTS } from "../../src/wire/hsmd.ts";
import { POINTS, runs } from "../support/arbitrary.ts";
import { readEvents, recordingsIn } from "../support/recording.ts";

const hex = (text: string) => Uint8Array.fromHex(text);

const UNSIGNED = "0200000001" + "04".repeat(32) + "0000000000ffffffff" +
  "01a0860100000000001600" + "14" + "05".repeat(20) + "00000000";
const POINT = POINTS[0]?.toHex() ?? "";
const DER = "3006020101020101" + "01";

/** A key-value pair in hex. */
function pair(key: string, value: string): string {
  const size = (text: string) => {
    const length = text.length / 2;
    const low = (length & 0xff).toString(16).padStart(2, "0");
    if (length < 0xfd) return low;
    return `fd${low}${(length >> 8).toString(16).padStart(2, "0")}`;
  };
  return size(key) + key + size(value) + value;
}

/** Pairs of each map, ended by their separators. */
function psbt(
  parts: { globals?: string[]; input?: string[]; output?: string[] },
): Uint8Array {
  const globals = parts.globals ?? [pair("00", UNSIGNED)];
  const map = (pairs: string[] = []) => pairs.join("") + "00";
  return hex(
    "70736274ff" + map(globals) + map(parts.input) + map(parts.output),
  );
}

function v2(
  { globals = [], input = [], output = [] }: {
    globals?: string[];
    input?: string[];
    output?: string[];
  },
): Uint8Array {
  return psbt({
    globals: [
      pair("fb", "02000000"),
      pair("02", "02000000"),
      pair("04", "01"),
      pair("05", "01"),
      ...globals,
    ],
    input: [pair("0e", "04".repeat(32)), pair("0f", "00000000"), ...input],
    output: [
      pair("03", "a086010000000000"),
      pair("04", "0014" + "05".repeat(20)),
      ...output,
    ],
  });
}

const good: [string, string[]][] = [
  ["nothing", []],
  ["a signature", [pair(`02${POINT}`, DER)]],
  ["a key origin", [pair(`06${POINT}`, "00".repeat(8))]],
  ["a sighash", [pair("03", "83000000")]],
  ["a Taproot key origin", [
    pair(`16${POINT.slice(2)}`, "00" + "00".repeat(8)),
  ]],
  ["a Taproot leaf", [pair("15" + "c0" + "00".repeat(32), "51c0")]],
  ["a preimage", [pair("0b" + sha256(hex("aa")).toHex(), "aa")]],
  ["fields that nobody knows", [pair("fc0969", "01"), pair("19", "02")]],
  ["a final witness", [pair("08", "0201aa00")]],
];

for (const [what, input] of good) {
  Deno.test(`an input with ${what} is written as it was read`, () => {
    const bytes = psbt({ input });
    assert.equal(encodePsbt(decodePsbt(bytes)).toHex(), bytes.toHex());
  });
}

const bad: [string, Uint8Array][] = [
  ["no magic", hex("70736274fe")],
  ["no transaction", psbt({ globals: [] })],
  ["an unknown version", psbt({ globals: [pair("fb", "01000000")] })],
  [
    "a transaction with a signature",
    psbt({
      globals: [
        pair(
          "00",
          UNSIGNED.replace("0000000000ffffffff", "000000000151ffffffff"),
        ),
      ],
    }),
  ],
  ["a field of version 2", psbt({ input: [pair("0f", "00000000")] })],
  [
    "a global of version 2",
    psbt({
      globals: [pair("00", UNSIGNED), pair("04", "01")],
    }),
  ],
  ["an output's field of version 2", psbt({ output: [pair("04", "51")] })],
  [
    "a key twice",
    psbt({ input: [pair("0401", "01")].concat(pair("0401", "01")) }),
  ],
  [
    "an unknown key twice",
    psbt({ input: [pair("fc", "01"), pair("fc", "02")] }),
  ],
  ["key data where none belongs", psbt({ input: [pair("0400", "51")] })],
  [
    "a signature of no key",
    psbt({ input: [pair("02" + "00".repeat(33), DER)] }),
  ],
  ["a signature that is not DER", psbt({ input: [pair(`02${POINT}`, "00")] })],
  [
    "a signature of another sighash",
    psbt({
      input: [pair(`02${POINT}`, DER), pair("03", "02000000")],
    }),
  ],
  ["a short sighash", psbt({ input: [pair("03", "01")] })],
  ["an empty redeem script", psbt({ input: [pair("04", "")] })],
  [
    "a key origin without fingerprint",
    psbt({
      input: [pair(`06${POINT}`, "0000")],
    }),
  ],
  [
    "a preimage of something else",
    psbt({
      input: [pair("0c" + hash160(hex("aa")).toHex(), "ab")],
    }),
  ],
  [
    "a Taproot origin with leaves missing",
    psbt({
      input: [pair(`16${POINT.slice(2)}`, "01" + "00".repeat(8))],
    }),
  ],
  [
    "a control block of odd length",
    psbt({
      input: [pair("15" + "c0".repeat(34), "51c0")],
    }),
  ],
  [
    "a leaf signature of odd length",
    psbt({
      input: [pair("14" + "00".repeat(64), "00".repeat(63))],
    }),
  ],
  [
    "a witness UTXO with more behind it",
    psbt({
      input: [pair("01", "a086010000000000" + "0151" + "00")],
    }),
  ],
  ["a witness with more behind it", psbt({ input: [pair("08", "0000")] })],
  ["a previous transaction that is none", psbt({ input: [pair("00", "00")] })],
  [
    "an extended key of another depth",
    psbt({
      globals: [
        pair("00", UNSIGNED),
        pair("01" + "0488b21e02" + "00".repeat(40) + POINT, "00".repeat(8)),
      ],
    }),
  ],
  [
    "an output key origin of no key",
    psbt({
      output: [pair("02" + "00".repeat(33), "00".repeat(8))],
    }),
  ],
  ["a short Taproot tree", psbt({ output: [pair("06", "000000")] })],
  ["version 2 with a transaction", v2({ globals: [pair("00", UNSIGNED)] })],
  [
    "version 2 with modifiable flags unknown",
    v2({ globals: [pair("06", "08")] }),
  ],
  [
    "version 2 with locks that exclude each other",
    v2({
      globals: [],
      input: [pair("11", "00000000")],
    }),
  ],
  [
    "version 2 with a height that is a time",
    v2({
      input: [pair("12", "ffffffff")],
    }),
  ],
  [
    "version 2 with more inputs than bytes",
    psbt({
      globals: [
        pair("fb", "02000000"),
        pair("02", "02000000"),
        pair("04", "feffffffff"),
        pair("05", "01"),
      ],
    }),
  ],
  [
    "version 2 of transaction version 1",
    psbt({
      globals: [
        pair("fb", "02000000"),
        pair("02", "01000000"),
        pair("04", "00"),
        pair("05", "00"),
      ],
    }),
  ],
];

for (const [what, bytes] of bad) {
  Deno.test(`a PSBT with ${what} is refused`, () => {
    assert.throws(() => decodePsbt(bytes), DecodeError);
  });
}

Deno.test("version 2 is written as version 0", () => {
  const found = encodePsbt(decodePsbt(v2({})));
  assert.equal(found.toHex(), psbt({}).toHex());
});

Deno.test("version 2 takes the strictest lock", () => {
  const locks: [string[], string[], number][] = [
    [[], [], 0],
    [[pair("03", "07000000")], [], 7],
    [[pair("03", "07000000")], [pair("12", "09000000")], 9],
    [[], [pair("11", "0065cd1d")], 500_000_000],
    [[], [pair("11", "0065cd1d"), pair("12", "09000000")], 9],
  ];
  for (const [globals, input, wanted] of locks) {
    const { tx } = decodePsbt(v2({ globals, input }));
    assert.equal(tx.locktime, wanted);
  }
});

Deno.test("a finalised input is written without what finalised it", () => {
  const input = [
    pair(`02${POINT}`, DER),
    pair("03", "01000000"),
    pair("04", "51"),
    pair("05", "51"),
    pair(`06${POINT}`, "00".repeat(8)),
    pair("07", "51"),
    pair("fc01", "02"),
  ];
  const wanted = psbt({ input: [pair("07", "51"), pair("fc01", "02")] });
  assert.equal(
    encodePsbt(decodePsbt(psbt({ input }))).toHex(),
    wanted.toHex(),
  );
});

Deno.test("transaction version 1 is written as 2, a sighash of zero not at all", () => {
  const globals = [pair("00", UNSIGNED.replace("02000000", "01000000"))];
  const input = [pair("03", "00000000")];
  const found = encodePsbt(decodePsbt(psbt({ globals, input })));
  assert.equal(found.toHex(), psbt({}).toHex());
});

Deno.test("an outpoint of zeros can be read and not be written", () => {
  const globals = [
    pair("00", UNSIGNED.replace("04".repeat(32), "00".repeat(32))),
  ];
  const decoded = decodePsbt(psbt({ globals }));
  assert.throws(() => encodePsbt(decoded), RequestError);
});

Deno.test("a previous transaction is written without its witnesses", () => {
  const witnessed = "020000000001" + UNSIGNED.slice(8, -8) + "0101aa" +
    "00000000";
  const input = [pair("00", witnessed)];
  const decoded = decodePsbt(psbt({ input }));
  assert.equal(
    spentOutput(decoded.inputs[0] ?? assert.fail())?.amount,
    100_000n,
  );
  const wanted = psbt({ input: [pair("00", UNSIGNED)] });
  assert.equal(encodePsbt(decoded).toHex(), wanted.toHex());
});

/** The PSBTs of the recorded wallet requests. */
function recorded(): Uint8Array[] {
  return recordingsIn("flows", "vectors")
    .flatMap((url) => readEvents(url))
    .flatMap((event) =>
      event.kind === "request" && event.type === REQUESTS.sign_withdrawal.type
        ? [decodeMessage(REQUESTS.sign_withdrawal, event.bytes).psbt]
        : []
    );
}

Deno.test("recorded PSBTs hold the transaction that another library reads", () => {
  for (const bytes of recorded()) {
    const theirs = btc.Transaction.fromPSBT(bytes, {
      allowUnknown: true,
      allowUnknownInputs: true,
      allowUnknownOutputs: true,
      disableScriptCheck: true,
    });
    const { tx } = decodePsbt(bytes);
    assert.equal(
      encodeTxWithoutWitness(tx).toHex(),
      theirs.unsignedTx.toHex(),
    );
  }
});

Deno.test("writing is reading's inverse: twice is as good as once", () => {
  for (const bytes of recorded()) {
    const once = encodePsbt(decodePsbt(bytes));
    assert.equal(encodePsbt(decodePsbt(once)).toHex(), once.toHex());
  }
});

/** Whatever happens, it is one of these. */
function isTotal(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    assert.ok(error instanceof DecodeError, String(error));
  }
}

Deno.test("any bytes are a PSBT or a DecodeError, cut or changed anywhere", () => {
  const [first] = recorded();
  assert.ok(first !== undefined);
  for (const at of first.keys()) {
    isTotal(() => decodePsbt(first.subarray(0, at)));
    isTotal(() => decodePsbt(first.with(at, 0xff)));
    isTotal(() => decodePsbt(first.with(at, 0)));
  }
  const any = fc.uint8Array({ maxLength: 200 });
  fc.assert(
    fc.property(any, (bytes) => {
      isTotal(() => decodePsbt(bytes));
      isTotal(() => decodePsbt(Uint8Array.of(...hex("70736274ff"), ...bytes)));
      isTotal(() => decodeTx(bytes));
      isTotal(() => decodeTx(bytes, { isLegacy: true }));
    }),
    { numRuns: runs(300) },
  );
});
