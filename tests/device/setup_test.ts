/**
 * The setup of a card as a pure state machine: every event in every state, and
 * what may never happen in any order of events.
 *
 * Words, prefix and seed: vectors M1 and W1 of a stock hsmd (see
 * tests/keyderiv/secret_file_test.ts); BIP 39's own first vector.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { Secret } from "../../src/crypto/secret.ts";
import { isWord, nearWords } from "../../src/crypto/words.ts";
import { startSetup, stepSetup } from "../../src/device/setup.ts";
import {
  candidateOfFile,
  candidateOfWords,
  splitWords,
} from "../../src/device/setup/candidate.ts";
import { countOf, textOf } from "../../src/device/setup/screens.ts";
import { drawn } from "../../src/device/setup/shell.ts";
import type {
  Plan,
  Setup,
  SetupEvent,
  Source,
  Step,
  Turn,
} from "../../src/device/setup/state.ts";
import {
  makeSecretFile,
  makeSecretFileOfWords,
  SecretFileError,
} from "../../src/keyderiv.ts";

const utf8 = new TextEncoder();
const ABOUT = `${"abandon ".repeat(11)}about`;
/** Vector W1: words of a stock hsmd with its passphrase, and its prefix. */
const LOCKED = {
  words:
    "ritual idle hat sunny universe pluck key alpha wing cake have wedding",
  passphrase: "test_passphrase",
  prefix: "61ce9e277eb9894701400a422e43ba27c7d9d10b72bad52c16a411d2dbaf82f1",
};
const lockedFile = () =>
  makeSecretFileOfWords(LOCKED.words, utf8.encode(LOCKED.passphrase));
const ABOUT_NODE = candidateOfWords(ABOUT, null, false).nodeId ?? "";
const OTHER_NODE = `02${"11".repeat(32)}`;

const NODE = {
  url: "mqtt://127.0.0.1:1883",
  brokerKey: new Uint8Array(33).fill(2),
  fingerprint: "k7qm-2xpd",
  network: "regtest",
  expectedNode: null,
};

function planOf(parts: Partial<Plan> = {}): Plan {
  return {
    node: null,
    network: "regtest",
    source: null,
    expected: [],
    passphrase: null,
    ...parts,
  };
}

const line = (text: string): SetupEvent => ({ kind: "line", text });
const SEEN: SetupEvent = { kind: "seen" };
const KEY: SetupEvent = { kind: "key" };
const STORED: SetupEvent = { kind: "stored" };

/** Every event in turn; the last turn. */
function play(plan: Plan, ...events: readonly SetupEvent[]): Turn {
  return events.reduce(
    (turn, event) => stepSetup(turn.setup, event),
    startSetup(plan),
  );
}

function refusalOf(turn: Turn): string {
  const { step } = turn.setup;
  assert.equal(step.kind, "refused", step.kind);
  return step.kind === "refused" ? `${step.missing}: ${step.text}` : "";
}

const askedAt = (turn: Turn): string => {
  const text = turn.question?.text ?? "";
  return text instanceof Secret ? textOf(text) : text;
};

const NEW: Source = { kind: "new", words: 12 };
const made = () =>
  play(planOf({ source: NEW }), {
    kind: "entropy",
    bytes: new Uint8Array(16),
  });

Deno.test("a new seed: words shown once, three typed back, sealed, stored", () => {
  const start = startSetup(planOf({ source: NEW }));
  assert.deepEqual(start.effect, { kind: "drawEntropy", size: 16 });
  const shown = made();
  assert.equal(shown.question?.kind, "once");
  assert.match(askedAt(shown), / 1 {2}abandon/);
  assert.match(askedAt(shown), /12 {2}about/);
  const positions: SetupEvent = { kind: "positions", numbers: [1, 11, 12] };
  let turn = stepSetup(stepSetup(shown.setup, SEEN).setup, positions);
  assert.equal(turn.question?.kind, "hidden");
  assert.match(askedAt(turn), /^Word 1 /);
  turn = stepSetup(turn.setup, line("abandon"));
  turn = stepSetup(turn.setup, line(" Abandon "));
  assert.match(askedAt(turn), /^Word 12 /);
  turn = stepSetup(turn.setup, line("about"));
  assert.deepEqual(turn.effect, { kind: "findKey" });
  assert.match(turn.lines.join("\n"), new RegExp(ABOUT_NODE));
  turn = stepSetup(turn.setup, KEY);
  assert.equal(turn.effect?.kind, "store");
  if (turn.effect?.kind !== "store") return;
  const { file, nodeId, isNew } = turn.effect.candidate;
  assert.equal(isNew, true);
  assert.equal(nodeId, ABOUT_NODE);
  const stock = makeSecretFile(new Uint8Array(16));
  assert.equal(file.reveal().toHex(), stock.toHex());
  turn = stepSetup(turn.setup, STORED);
  assert.equal(turn.setup.step.kind, "done");
});

Deno.test("a wrong word is named, and the words come once more", () => {
  let turn = stepSetup(made().setup, SEEN);
  turn = stepSetup(turn.setup, { kind: "positions", numbers: [2, 5, 9] });
  turn = stepSetup(turn.setup, line("abandon"));
  turn = stepSetup(turn.setup, line("about"));
  assert.equal(turn.setup.step.kind, "shown");
  assert.match(turn.lines.join(), /Word 5 is not right/);
  assert.match(askedAt(turn), /Word 5 was typed otherwise/);
  assert.match(askedAt(turn), /12 {2}about/);
  turn = stepSetup(turn.setup, SEEN);
  assert.deepEqual(turn.effect, { kind: "drawPositions", of: 12 });
});

Deno.test("a passphrase that lightningd sends goes into a new seed's file as the stock hsmd writes it", () => {
  const passphrase = new Secret(utf8.encode(LOCKED.passphrase));
  const candidate = candidateOfWords(LOCKED.words, passphrase, true);
  const file = candidate.file.reveal();
  assert.equal(file.subarray(0, 32).toHex(), LOCKED.prefix);
  assert.equal(new TextDecoder().decode(file.subarray(32)), LOCKED.words);
  const opened = candidateOfFile(file, { passphrase });
  assert.equal(opened.nodeId, candidate.nodeId);
  assert.equal(
    candidateOfFile(file, { passphrase: null }).nodeId,
    null,
  );
  assert.equal(
    makeSecretFileOfWords(ABOUT, null).toHex(),
    makeSecretFile(new Uint8Array(16)).toHex(),
  );
});

Deno.test("typed words: unknown ones are named with their numbers and what was meant", () => {
  const plan = planOf({ source: { kind: "words" } });
  let turn = play(plan, line("abandon abandn"));
  assert.equal(turn.setup.step.kind, "misspelt");
  assert.equal(turn.question?.kind, "once");
  assert.match(askedAt(turn), /word 2 {2}abandn: did you mean abandon/);
  turn = stepSetup(turn.setup, SEEN);
  assert.equal(turn.question?.kind, "hidden");
  turn = stepSetup(turn.setup, line("1. abandon  2) ABANDON"));
  assert.match(askedAt(turn), /^2 words so far/);
  turn = stepSetup(turn.setup, line(`${"abandon ".repeat(9)} zzzz`));
  assert.match(askedAt(turn), /word 12 {2}zzzz/);
  turn = stepSetup(turn.setup, SEEN);
  assert.match(askedAt(turn), /^2 words so far/);
  assert.match(play(plan, line("zoo"), line("!")).lines.join(), /Forgotten/);
});

Deno.test("typed words: a wrong count and a wrong checksum are said as such", () => {
  const plan = planOf({ source: { kind: "words" } });
  const short = play(plan, line("abandon about"), line(""));
  assert.match(short.lines.join(" "), /found 2 words, want one of 12, 15/);
  const unsound = play(plan, line("abandon ".repeat(12)), line(""));
  assert.match(unsound.lines.join(" "), /checksum does not fit/);
  assert.equal(unsound.setup.step.kind, "typing");
});

Deno.test("typed words make the node that is expected, or are refused with both ids", () => {
  const source: Source = { kind: "words" };
  const expect = (nodeId: string) =>
    planOf({ source, expected: [{ nodeId, by: "the node" }] });
  const typed = [line(ABOUT), line(""), line("")];
  const right = play(expect(ABOUT_NODE), ...typed);
  assert.deepEqual(right.effect, { kind: "findKey" });
  assert.match(right.lines.join("\n"), /the one that the node names/);
  const text = refusalOf(play(expect(OTHER_NODE), ...typed));
  assert.match(text, new RegExp(`rightNode.*${ABOUT_NODE}.*${OTHER_NODE}`));
  const wrong = [line(ABOUT), line(""), line("a wrong passphrase")];
  assert.match(refusalOf(play(expect(ABOUT_NODE), ...wrong)), /rightNode/);
});

Deno.test("with nothing to compare with, the owner says whether it is the node", () => {
  const plan = planOf({ source: { kind: "words" } });
  const asked = play(plan, line(ABOUT), line(""), line(""));
  assert.equal(asked.setup.step.kind, "confirm");
  assert.match(asked.lines.join("\n"), new RegExp(ABOUT_NODE));
  assert.equal(stepSetup(asked.setup, line("what?")).setup, asked.setup);
  const yes = stepSetup(asked.setup, line("yes"));
  assert.deepEqual(yes.effect, { kind: "findKey" });
  assert.match(refusalOf(stepSetup(asked.setup, line("n"))), /rightNode/);
});

Deno.test("a file: wrong kinds, wrong passphrases and none are told apart", () => {
  const source: Source = { kind: "file", path: "/x/hsm_secret" };
  const file = (bytes: Uint8Array): SetupEvent => ({ kind: "file", bytes });
  assert.deepEqual(startSetup(planOf({ source })).effect, {
    kind: "readFile",
    path: "/x/hsm_secret",
  });
  const short = play(planOf({ source }), file(new Uint8Array(31)));
  assert.match(refusalOf(short), /validSeed: .*no hsm_secret, want 32 bytes/);
  const plain = play(planOf({ source }), file(new Uint8Array(32).fill(1)));
  assert.equal(plain.setup.step.kind, "confirm");
  const closed = play(planOf({ source }), file(lockedFile()));
  assert.equal(closed.setup.step.kind, "unlock");
  const wrong = stepSetup(closed.setup, line("guess"));
  assert.match(wrong.lines.join(), /this passphrase does not fit/);
  const opened = stepSetup(wrong.setup, line(LOCKED.passphrase));
  assert.equal(opened.setup.step.kind, "confirm");
  const skipped = stepSetup(closed.setup, line(""));
  assert.deepEqual(skipped.effect, { kind: "findKey" });
  assert.match(skipped.lines.join("\n"), /until the node sends its passphrase/);
  const sent = new Secret(utf8.encode("guess"));
  const misfit = play(planOf({ source, passphrase: sent }), file(lockedFile()));
  assert.match(refusalOf(misfit), /rightKey: /);
  const missing = play(planOf({ source }), { kind: "failed", text: "No file" });
  assert.match(refusalOf(missing), /validSeed: No file/);
});

Deno.test("a first contact asks for consent before anything else", () => {
  const plan = planOf({ node: NODE });
  const start = startSetup(plan);
  assert.match(start.lines.join("\n"), /fingerprint {2}k7qm-2xpd/);
  assert.equal(start.setup.step.kind, "consent");
  assert.match(refusalOf(play(plan, line("no"))), /consent/);
  const chosen = play(plan, line("yes"));
  assert.equal(chosen.setup.step.kind, "source");
  assert.equal(stepSetup(chosen.setup, line("5")).setup, chosen.setup);
  const sizes = ["1", "2"].map((choice) =>
    stepSetup(chosen.setup, line(choice)).effect
  );
  assert.deepEqual(sizes, [
    { kind: "drawEntropy", size: 16 },
    { kind: "drawEntropy", size: 32 },
  ]);
  const path = stepSetup(chosen.setup, line("4"));
  const again = stepSetup(
    stepSetup(path.setup, line("/nowhere")).setup,
    { kind: "failed", text: "Cannot read /nowhere" },
  );
  assert.equal(again.setup.step.kind, "path");
});

Deno.test("a node that has an id gets no new seed", () => {
  const expected = [{ nodeId: OTHER_NODE, by: "the node" }];
  const asked = play(planOf({ node: NODE, expected }), line("y"), line("1"));
  assert.equal(asked.setup.step.kind, "source");
  assert.match(asked.lines.join("\n"), new RegExp(OTHER_NODE));
  const source = NEW;
  assert.match(
    refusalOf(startSetup(planOf({ source, expected }))),
    /rightNode: Cannot make a new seed/,
  );
});

// ------------------------------------------------ every event in every state

const words = (text: string) => new Secret(utf8.encode(text));
const CANDIDATE = candidateOfWords(ABOUT, null, true);
const STEPS: readonly Step[] = [
  { kind: "consent" },
  { kind: "source" },
  { kind: "entropy", words: 12 },
  { kind: "shown", words: words(ABOUT), note: "" },
  { kind: "positions", words: words(ABOUT) },
  { kind: "typeBack", words: words(ABOUT), positions: [12] },
  { kind: "typing", words: words("") },
  { kind: "misspelt", words: words(""), problem: words("x") },
  { kind: "wordsPassphrase", words: words(ABOUT) },
  { kind: "path" },
  { kind: "reading", path: "/x" },
  { kind: "unlock", file: new Secret(lockedFile()) },
  { kind: "confirm", candidate: CANDIDATE },
  { kind: "seal", candidate: CANDIDATE },
  { kind: "storing", candidate: CANDIDATE },
  { kind: "done", candidate: CANDIDATE },
  { kind: "refused", missing: "consent", text: "no" },
];

const EVENTS: readonly SetupEvent[] = [
  ...["", "yes", "no", "1", "3", "about", ABOUT, "!", "/x", "\x00\ufffd", "zzz"]
    .map(line),
  SEEN,
  { kind: "entropy", bytes: new Uint8Array(16) },
  { kind: "entropy", bytes: new Uint8Array(7) },
  { kind: "positions", numbers: [1, 2, 3] },
  { kind: "positions", numbers: [0, 99, 1.5] },
  { kind: "positions", numbers: [] },
  { kind: "file", bytes: new Uint8Array(32).fill(1) },
  { kind: "file", bytes: new Uint8Array(3) },
  { kind: "file", bytes: new Uint8Array(73) },
  { kind: "file", bytes: new Uint8Array(500).fill(65) },
  KEY,
  { kind: "failed", text: "it failed" },
  STORED,
];

const PLANS: readonly Plan[] = [
  planOf(),
  planOf({ node: NODE }),
  planOf({ source: { kind: "words" } }),
  planOf({ source: NEW, passphrase: words("sent") }),
  planOf({ expected: [{ nodeId: OTHER_NODE, by: "--node-id" }] }),
];

Deno.test("every event in every state gives a screen that fits, and never throws", () => {
  for (const plan of PLANS) {
    for (const step of STEPS) {
      for (const event of EVENTS) checkTurn(stepSetup({ plan, step }, event));
    }
  }
});

/** Something is asked, or done, or it is over; and it can be read. */
function checkTurn(turn: Turn): void {
  const { step } = turn.setup;
  const isOver = step.kind === "done" || step.kind === "refused";
  const waits = new Set(["entropy", "positions", "reading", "seal", "storing"]);
  assert.equal(turn.question === null, isOver || waits.has(step.kind));
  for (const text of [...turn.lines, ...askedAt(turn).split("\n")]) {
    const isSentence = text.startsWith("Cannot ");
    assert.ok(text.length <= 70 || isSentence, `${text.length}: ${text}`);
  }
}

Deno.test("at the end nothing moves any more", () => {
  const plan = planOf();
  for (const step of STEPS.slice(-2)) {
    const setup: Setup = { plan, step };
    for (const event of EVENTS) {
      const turn = stepSetup(setup, event);
      assert.equal(turn.setup, setup);
      assert.equal(turn.effect, null);
    }
  }
});

// ------------------------------------------------------------ any run at all

/** An event that moves a setup on, as a person and a shell would. */
function helpful({ plan, step }: Setup): SetupEvent {
  switch (step.kind) {
    case "consent":
    case "confirm":
      return line("yes");
    case "source":
      return line(plan.expected.length > 0 ? "3" : "1");
    case "entropy":
      return {
        kind: "entropy",
        bytes: new Uint8Array(16 * step.words / 12),
      };
    case "shown":
    case "misspelt":
      return SEEN;
    case "positions":
      return { kind: "positions", numbers: [1, 5, countOf(step.words)] };
    case "typeBack": {
      const list = textOf(step.words).split(" ");
      return line(list[(step.positions[0] ?? 1) - 1] ?? "");
    }
    case "typing":
      return line(countOf(step.words) === 0 ? ABOUT : "");
    case "wordsPassphrase":
    case "unlock":
      return line("");
    case "path":
      return line("/x/hsm_secret");
    case "reading":
      return { kind: "file", bytes: makeSecretFile(new Uint8Array(16)) };
    case "seal":
    case "refused":
      return KEY;
    case "storing":
    case "done":
      return STORED;
  }
}

Deno.test("no order of events stores twice, or without consent, or a new seed that was not typed back", () => {
  const move = fc.oneof(
    { weight: 4, arbitrary: fc.constant(null) },
    { weight: 1, arbitrary: fc.constantFrom(...EVENTS) },
  );
  const plans = fc.constantFrom(...PLANS, planOf({ source: NEW }));
  let stored = 0;
  const property = fc.property(
    plans,
    fc.array(move, { minLength: 5, maxLength: 40 }),
    (plan, moves) => {
      const events: SetupEvent[] = [];
      let turn = startSetup(plan);
      let isConsented = plan.node === null;
      let right = 0;
      let stores = 0;
      for (const move of moves) {
        const { step } = turn.setup;
        const event = move ?? helpful(turn.setup);
        events.push(event);
        turn = stepSetup(turn.setup, event);
        checkTurn(turn);
        if (step.kind === "consent" && turn.setup.step.kind !== "consent") {
          isConsented ||= event.kind === "line" && /^y/.test(event.text);
        }
        if (step.kind === "shown") right = 0;
        if (step.kind === "typeBack" && turn.setup.step.kind !== "shown") {
          if (turn.setup.step.kind !== step.kind || turn.lines.length > 0) {
            right += 1;
          }
        }
        if (turn.effect?.kind !== "store") continue;
        stores += 1;
        assert.ok(isConsented);
        if (turn.effect.candidate.isNew) assert.equal(right, 3);
      }
      assert.ok(stores <= 1);
      stored += stores;
    },
  );
  fc.assert(property, { numRuns: 100 });
  assert.ok(stored > 10, `only ${stored} of 100 runs stored anything`);
});

Deno.test("the positions that are asked for differ, and every one can come up", () => {
  const seen = new Set<number>();
  for (let i = 0; i < 400; i++) {
    const numbers = drawn(
      12,
      (size) => crypto.getRandomValues(new Uint8Array(size)),
    );
    assert.equal(new Set(numbers).size, 3);
    for (const number of numbers) seen.add(number);
  }
  assert.deepEqual(
    [...seen].sort((a, b) => a - b),
    Array.from(
      { length: 12 },
      (_, i) => i + 1,
    ),
  );
});

Deno.test("near words: a slip, a swap, four letters that tell", () => {
  assert.equal(nearWords("abandn")[0], "abandon");
  assert.equal(nearWords("letetr")[0], "letter");
  assert.ok(isWord("zoo") && !isWord("zoology"));
  assert.equal(nearWords("abanxxxx")[0], "abandon");
  assert.deepEqual(nearWords("qqqqqqqq"), []);
  assert.deepEqual(splitWords(" 1. zoo\n2 Zoo, zoo"), ["zoo", "zoo", "zoo"]);
});

Deno.test("words that are no mnemonic make no file", () => {
  assert.throws(
    () => makeSecretFileOfWords("abandon abandon", null),
    SecretFileError,
  );
});
