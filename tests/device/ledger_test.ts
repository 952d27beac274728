/**
 * The book: what a line holds and how it reads, that no byte of it can change
 * unseen, which lines are shown, and how few a thief can have written.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import type { Options } from "../../src/device/arguments.ts";
import { ledgerOn } from "../../src/device/commands/ledger.ts";
import {
  checkExport,
  decodeEntry,
  encodeEntry,
  exportLines,
  findFault,
  isWanted,
  type LedgerEntry,
  type LedgerFilter,
  lineText,
  newLine,
  plainText,
  selectLines,
} from "../../src/device/ledger.ts";
import { LineLimit } from "../../src/device/line_limit.ts";
import { DecodeError, UsageError } from "../../src/errors.ts";
import { MemoryDisk } from "../../src/store/memory.ts";
import type { Ledger, LedgerLine } from "../../src/store/store.ts";

const PEER = `02${"ab".repeat(32)}`;
const OTHER = `03${"cd".repeat(32)}`;
/** 2026-11-21 07:42:18 UTC. */
const NOW = Date.UTC(2026, 10, 21, 7, 42, 18);

const ENTRIES: readonly LedgerEntry[] = [
  { kind: "started", text: "softkey 0.1.0" },
  {
    kind: "signed",
    request: "sign_remote_commitment_tx",
    peer: PEER,
    channel: 3n,
    text: "commitment 812 of 02abababab…/3: we keep 1,203,400 sat",
    allowedBy: "the rules",
  },
  {
    kind: "refused",
    request: "sign_withdrawal",
    text: "sign_withdrawal: policy failure: policy-x: 1, want 2",
  },
  {
    kind: "signed",
    request: "sign_mutual_close_tx",
    peer: OTHER,
    channel: 4n,
    text: "close of 03cdcdcdcd…/4: 500,000 sat to us",
    allowedBy: "--yes",
  },
  { kind: "policy", text: "max_htlcs 30 HTLCs" },
];

/** A book with a line a minute. */
function bookOf(entries: readonly LedgerEntry[] = ENTRIES): Ledger {
  const store = new MemoryDisk().open();
  entries.forEach((entry, i) =>
    store.commit([], [newLine(entry, NOW + 60_000 * i)])
  );
  return store.ledger;
}

const textOf = (ledger: Ledger) => [...exportLines(ledger)].join("");

const printable = fc.string({ maxLength: 60 }).map(plainText);

Deno.test("an entry comes back as it was put down", () => {
  const entry = fc.record({
    kind: fc.constantFrom("signed", "refused", "policy"),
    text: printable,
    request: printable,
    peer: fc.constantFrom(PEER, OTHER),
    channel: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    allowedBy: printable,
  }, { requiredKeys: ["kind", "text"] });
  fc.assert(fc.property(entry, (value) => {
    // Text is made readable once: what is readable stays.
    const read = decodeEntry(encodeEntry(value));
    const texts = ({ text, request, allowedBy }: LedgerEntry) =>
      [text, request, allowedBy].map((each) => each && plainText(each));
    assert.deepEqual(texts(read), texts(value));
    assert.deepEqual(
      [read.kind, read.peer, read.channel],
      [value.kind, value.peer, value.channel],
    );
  }));
});

Deno.test("any bytes are an entry or a decode error", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
    try {
      decodeEntry(bytes);
    } catch (error) {
      assert.ok(error instanceof DecodeError);
    }
  }));
  const good = encodeEntry({ kind: "signed", text: "x" });
  for (let size = 0; size < good.length; size += 1) {
    assert.throws(() => decodeEntry(good.subarray(0, size)), DecodeError);
  }
  assert.throws(() => decodeEntry(Uint8Array.of(...good, 0)), DecodeError);
});

Deno.test("what could steer a terminal or hide is written as its code", () => {
  assert.equal(plainText("a\x1b[2Jb\nc"), "a\\u{1b}[2Jb\\u{a}c");
  assert.equal(plainText("\u202etxt"), "\\u{202e}txt");
  assert.equal(plainText("02ab…/3"), "02ab…/3");
  assert.equal(plainText("x".repeat(9000)).length, 2001);
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    assert.match(plainText(text), /^[\x20-\x7e…]*$/);
  }));
});

Deno.test("a line reads as time, number, kind, sentence and right", () => {
  const lines = [...bookOf().lines()].map(lineText);
  assert.deepEqual(lines, [
    "2026-11-21 07:42:18  #1  started   softkey 0.1.0",
    "2026-11-21 07:43:18  #2  signed    commitment 812 of 02abababab…/3: " +
    "we keep 1,203,400 sat; allowed by the rules",
    "2026-11-21 07:44:18  #3  refused   sign_withdrawal: policy failure: " +
    "policy-x: 1, want 2",
    "2026-11-21 07:45:18  #4  signed    close of 03cdcdcdcd…/4: 500,000 sat " +
    "to us; allowed by --yes",
    "2026-11-21 07:46:18  #5  policy    max_htlcs 30 HTLCs",
  ]);
});

Deno.test("a line of a later softkey is shown as one that cannot be read", () => {
  const store = new MemoryDisk().open();
  store.commit([], [{ time: 0n, body: Uint8Array.of(9, 1, 2) }]);
  const [line] = store.ledger.lines();
  assert.ok(line !== undefined);
  assert.match(lineText(line), /#1 {2}unknown {3}cannot be read by this/);
  assert.equal(checkExport(textOf(store.ledger)).fault, null);
});

Deno.test("a whole chain has no fault, and every changed line has one", () => {
  const { anchor, tip, lines } = bookOf();
  const good = [...lines.call(bookOf())];
  assert.equal(findFault({ anchor, tip, lines: good }), null);
  const changed = (at: number, change: Partial<LedgerLine>) =>
    findFault({
      anchor,
      tip,
      lines: good.map((line, i) => i === at ? { ...line, ...change } : line),
    })?.number;
  for (const [at, line] of good.entries()) {
    const { number, time, body } = line;
    const other = body.slice();
    other[3] = (other[3] ?? 0) ^ 1;
    assert.equal(changed(at, { body: other }), number);
    assert.equal(changed(at, { time: time + 1n }), number);
    assert.equal(changed(at, { hash: new Uint8Array(32) }), number);
    const without = good.filter((_, i) => i !== at);
    assert.equal(findFault({ anchor, tip, lines: without })?.number, number);
  }
});

Deno.test("one flipped bit anywhere in an export is found", () => {
  const text = textOf(bookOf());
  assert.deepEqual(checkExport(text).fault, null);
  const bytes = new TextEncoder().encode(text);
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  // Which row a byte belongs to: row 0 is the head, row n is line n.
  let row = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    const bit = 1 << at % 8;
    bytes[at] = (bytes[at] ?? 0) ^ bit;
    const { fault } = checkExport(decoder.decode(bytes));
    assert.ok(fault !== null, `byte ${at}`);
    // The end that the head names is missed at the end.
    if (row > 0) assert.equal(fault.number, BigInt(row), `byte ${at}`);
    bytes[at] = (bytes[at] ?? 0) ^ bit;
    if (bytes[at] === 10) row += 1;
  }
  assert.equal(row, 6);
});

Deno.test("an export that was cut, added to or put together is found", () => {
  const [head = "", ...rows] = exportLines(bookOf());
  const check = (...parts: readonly string[]) =>
    checkExport(parts.join("")).fault?.number;
  assert.equal(check(head, ...rows), undefined);
  assert.equal(check(head, ...rows.slice(0, 3)), 4n);
  assert.equal(check(head, ...rows.slice(1)), 1n);
  assert.equal(check(...rows), 0n);
  assert.equal(check(""), 0n);
  assert.equal(check(head, ...rows, "\n"), 6n);
  assert.equal(check(head, ...rows, ...rows), 6n);
  const [a = "", b = "", ...rest] = rows;
  assert.equal(check(head, b, a, ...rest), 1n);
});

Deno.test("an export of a book whose first lines are gone is whole", () => {
  const store = new MemoryDisk({ ledgerLines: 10 }).open();
  for (let i = 0; i < 3000; i += 1) {
    store.commit([], [newLine({ kind: "signed", text: `line ${i}` }, NOW)]);
  }
  assert.ok(store.ledger.anchor.number > 0n);
  const check = checkExport(textOf(store.ledger));
  assert.equal(check.fault, null);
  assert.equal(check.tip?.number, 3000n);
});

Deno.test("lines are found by kind, peer, channel, time and words", () => {
  const lines = [...bookOf().lines()];
  const numbers = (filter: LedgerFilter) =>
    lines.filter((line) => isWanted(filter, line))
      .map(({ number }) => Number(number));
  assert.deepEqual(numbers({}), [1, 2, 3, 4, 5]);
  assert.deepEqual(numbers({ kind: "signed" }), [2, 4]);
  assert.deepEqual(numbers({ peer: "02AB" }), [2]);
  assert.deepEqual(numbers({ peer: OTHER, channel: 4n }), [4]);
  assert.deepEqual(numbers({ peer: OTHER, channel: 3n }), []);
  assert.deepEqual(numbers({ since: BigInt(NOW + 120_000) }), [3, 4, 5]);
  assert.deepEqual(numbers({ until: BigInt(NOW + 120_000) }), [1, 2]);
  assert.deepEqual(numbers({ text: "500,000" }), [4]);
});

Deno.test("of many lines the newest are shown, in order", () => {
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 40 }),
    fc.integer({ min: 0, max: 300 }),
    (last, count) => {
      const lines = Array.from({ length: count }, (_, i): LedgerLine => ({
        ...newLine({ kind: i % 3 === 0 ? "policy" : "signed", text: "" }, i),
        number: BigInt(i + 1),
        hash: new Uint8Array(32),
      }));
      const wanted = lines.filter((line) =>
        decodeEntry(line.body).kind === "signed"
      ).slice(-last);
      assert.deepEqual(selectLines(lines, { kind: "signed" }, last), wanted);
    },
  ));
});

// ------------------------------------------------------------------ command

const NO_OPTIONS: Options = {
  yes: false,
  decline: false,
  json: false,
  "new-storage": false,
  list: false,
  move: false,
  developer: false,
  help: false,
};

interface Given {
  readonly words?: readonly string[];
  readonly options?: Partial<Options>;
  readonly ledger?: Ledger;
}

function run({ words = [], options = {}, ledger = bookOf() }: Given) {
  const said: string[] = [];
  const code = ledgerOn({
    store: { ledger },
    print: (text) => said.push(text),
    path: (text) => text,
  }, { words, options: { ...NO_OPTIONS, ...options } });
  return { code, said };
}

Deno.test("the owner sees the newest lines that were asked for", () => {
  assert.equal(run({}).said.length, 5);
  assert.equal(run({ options: { last: "2" } }).said.length, 2);
  const [line = ""] = run({ options: { kind: "policy" } }).said;
  assert.match(line, /#5 {2}policy/);
  const since = run({ options: { since: "2026-11-21T07:45" } }).said;
  assert.equal(since.length, 2);
  assert.equal(
    run({ options: { since: "2026-11-22" } }).said[0],
    "No such line",
  );
  const [json = ""] = run({ options: { json: true, channel: "3" } }).said;
  const { hash, ...rest } = JSON.parse(json);
  assert.match(hash, /^[0-9a-f]{64}$/);
  assert.deepEqual(rest, {
    number: 2,
    time: "2026-11-21T07:43:18Z",
    kind: "signed",
    request: "sign_remote_commitment_tx",
    peer: PEER,
    channel: 3,
    text: "commitment 812 of 02abababab…/3: we keep 1,203,400 sat",
    allowedBy: "the rules",
  });
});

Deno.test("what cannot be meant is said before anything is shown", () => {
  const cases: readonly [Given, RegExp][] = [
    [{ options: { peer: "xyz" } }, /--peer "xyz": want the start of a node id/],
    [{ options: { channel: "-1" } }, /--channel "-1": want a number/],
    [{ options: { since: "yesterday" } }, /--since "yesterday": want a date/],
    [{ options: { since: "2026-13-41" } }, /--since/],
    [{ options: { last: "0" } }, /--last "0": want a number of lines/],
    [{ words: ["erase"] }, /ledger "erase": want verify or export/],
    [{ words: ["export"] }, /Missing a file/],
  ];
  for (const [given, text] of cases) {
    assert.throws(() => run(given), (error) => {
      assert.ok(error instanceof UsageError);
      assert.match(error.message, text);
      return true;
    });
  }
});

async function withFolder(use: (folder: string) => void): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("an export is the owner's alone, and verified without the card", () =>
  withFolder((folder) => {
    const file = `${folder}/book.jsonl`;
    const ledger = bookOf();
    const written = run({ words: ["export", file], ledger });
    assert.equal(written.code, 0);
    assert.match(written.said[0] ?? "", /^Wrote 5 lines to .*the last is #5/);
    assert.equal((Deno.statSync(file).mode ?? 0) & 0o777, 0o600);
    assert.throws(
      () => run({ words: ["export", file], ledger }),
      /it is there already, want a new file/,
    );
    const whole = run({ words: ["verify", file], ledger });
    assert.equal(whole.code, 0);
    assert.match(whole.said.join("\n"), /The file is whole: 5 lines/);
    assert.match(whole.said.join("\n"), /The card has the same line #5/);
    // Whole in itself, and of another card.
    const other = run({
      words: ["verify", file],
      ledger: bookOf(ENTRIES.toReversed()),
    });
    assert.equal(other.code, 1);
    assert.match(other.said.at(-1) ?? "", /line #5: the card has another/);
    const shorter = bookOf(ENTRIES.slice(0, 2));
    const older = run({ words: ["verify", file], ledger: shorter });
    assert.match(older.said.at(-1) ?? "", /the card's ledger ends at #2/);
    const text = Deno.readTextFileSync(file);
    Deno.writeTextFileSync(file, text.replace("500,000", "900,000"));
    const bad = run({ words: ["verify", file], ledger });
    assert.equal(bad.code, 1);
    assert.match(bad.said[0] ?? "", /^The ledger is wrong at line #4: /);
  }));

Deno.test("the card's own chain is verified, and its first wrong line named", () => {
  assert.match(run({ words: ["verify"] }).said[0] ?? "", /whole: 5 lines/);
  const good = bookOf();
  const ledger: Ledger = {
    anchor: good.anchor,
    tip: good.tip,
    *lines(range) {
      for (const line of good.lines(range)) {
        yield line.number === 3n ? { ...line, time: 0n } : line;
      }
    },
  };
  const { code, said } = run({ words: ["verify"], ledger });
  assert.equal(code, 1);
  assert.match(said[0] ?? "", /^The ledger is wrong at line #3: /);
});

// -------------------------------------------------------------------- floods

const refusal = (text: string): LedgerEntry => ({ kind: "refused", text });

Deno.test("the same refusal is one line in ten minutes, then its count", () => {
  const limit = new LineLimit();
  assert.deepEqual(limit.take(refusal("no"), "x", 0), refusal("no"));
  for (let i = 1; i <= 412; i += 1) {
    assert.equal(limit.take(refusal("no"), "x", i * 1000), null);
  }
  assert.deepEqual(limit.due(599_999), []);
  const [count, ...more] = limit.due(600_000);
  assert.equal(count?.text, "… and 412 more of x in 10 min");
  assert.deepEqual(more, []);
  assert.deepEqual(limit.take(refusal("no"), "x", 600_001), refusal("no"));
});

Deno.test("another refusal of its kind is a line once a minute", () => {
  const limit = new LineLimit();
  const times = [0, 1, 59_999, 60_000, 60_001, 119_999, 120_000];
  const written = times.filter((now) =>
    limit.take(refusal(`no ${now}`), "x", now) !== null
  );
  assert.deepEqual(written, [0, 60_000, 120_000]);
  assert.equal(limit.due(0, true)[0]?.text, "… and 4 more of x in 1 min");
});

Deno.test("whatever is asked, a day of it is a small part of the book", () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(5000), { minLength: 50, maxLength: 200 }),
      (steps) => {
        const limit = new LineLimit();
        let now = 0;
        let lines = 0;
        for (let i = 0; now < 86_400_000; i += 1) {
          now += 1 + (steps[i % steps.length] ?? 0) * 10;
          const taken = limit.take(refusal(`r${i}`), `kind ${i % 40}`, now);
          lines += limit.due(now).length + (taken === null ? 0 : 1);
        }
        assert.ok(lines < 60 + 1441 + 17 * 145, `${lines} lines`);
      },
    ),
    { numRuns: 20 },
  );
});

Deno.test("what was counted is written at the end, and a clock may go back", () => {
  const limit = new LineLimit();
  limit.take(refusal("a"), "x", 1000);
  limit.take(refusal("a"), "x", 2000);
  assert.equal(limit.due(500).length, 1);
  assert.deepEqual(limit.due(500, true), []);
});
