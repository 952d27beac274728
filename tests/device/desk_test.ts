/**
 * The desk with a signer that does as it is told: what is durable before what,
 * what happens when the card fails, what the owner is asked, and what of all of
 * it is in the book.
 *
 * @module
 */

import assert from "node:assert/strict";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { AnswerTail, SLOTS } from "../../src/device/answers.ts";
import type { Approver, Question } from "../../src/device/approver.ts";
import { Desk, type Served } from "../../src/device/desk.ts";
import { decodeEntry, lineText } from "../../src/device/ledger.ts";
import { LedgerWriter } from "../../src/device/ledger_writer.ts";
import type { Standing } from "../../src/device/standing.ts";
import { SIGNER_ERROR_CODES } from "../../src/errors.ts";
import { makeSecretFile } from "../../src/keyderiv.ts";
import { defaultPolicy, withLimit } from "../../src/policy/limits.ts";
import {
  createSigner,
  type Effect,
  type SignerInput,
  type Step,
  step,
} from "../../src/signer/handle.ts";
import { FRESH_NODE, SignerMemory } from "../../src/signer/memory.ts";
import { describeStep } from "../../src/signer/ledger.ts";
import { MemoryDisk } from "../../src/store/memory.ts";
import type { Change, Ledger, NewLine, Store } from "../../src/store/store.ts";
import { REQUESTS } from "../../src/wire/hsmd.ts";
import { messageType } from "../../src/wire/message.ts";
import { NOBODY } from "../../src/wire/types.ts";
import {
  decodeSignerError,
  encodeSignerError,
  SIGNER_ERROR_TYPE,
} from "../../src/wire/vls.ts";
import { INIT } from "../broker/fake.ts";
import { believedPolicy } from "../support/believed.ts";
import {
  readRecording,
  recordingName,
  recordingsIn,
} from "../support/recording.ts";
import { YES } from "../support/strict.ts";

const text = new TextEncoder();

/** A request that the pretended signer counts: type of sign_message. */
function request(n: number, type = REQUESTS.sign_message.type): SignerInput {
  const message = new Uint8Array(6);
  const view = new DataView(message.buffer);
  view.setUint16(0, type);
  view.setUint32(2, n);
  // Each on a connection of its own: of one connection the last one counts.
  return { peerId: NOBODY, dbid: BigInt(n), message };
}

/** What the pretended signer does with a request. */
type Play = (input: SignerInput, consent: ConsentOf) => Partial<Step>;
type ConsentOf = ReturnType<typeof createSigner>["consent"];

interface Setting {
  readonly disk?: MemoryDisk;
  readonly play?: Play;
  readonly approver?: Approver;
  readonly mode?: "ask" | "refuse";
  readonly seed?: number;
  readonly now?: () => number;
  readonly standing?: Standing;
}

/** Counts what it signs and writes the count: each answer differs. */
function countingSigner(): Play {
  let count = 0;
  return () => {
    count += 1;
    const record = { ...FRESH_NODE, walletHighWater: count };
    return {
      reply: Uint8Array.of(0, 123, count >> 8, count & 0xff),
      writes: [{ kind: "node", record }],
    };
  };
}

function openDesk(setting: Setting = {}) {
  const { disk = new MemoryDisk(), play = countingSigner(), mode = "refuse" } =
    setting;
  const store = disk.open();
  const values = [...store.load()];
  const memory = SignerMemory.load(values);
  const said: string[] = [];
  const signer = createSigner({
    secretFile: makeSecretFile(new Uint8Array(16).fill(setting.seed ?? 1)),
    network: NETWORKS.regtest,
    isDeveloper: false,
    memory,
    consent: { mode, granted: new Set(), declined: new Set() },
  });
  const desk = new Desk({
    signer,
    step: (state, input, now) => {
      if (messageType(input.message) === REQUESTS.init.type) {
        return step(state, input, now);
      }
      const played = play(input, state.consent);
      return { state, reply: null, effects: [], writes: [], ...played };
    },
    store,
    memory,
    tail: AnswerTail.load(values),
    node: values.find(({ key }) => key === "card/node")?.value ?? null,
    approver: setting.approver ?? { ask: () => Promise.resolve(false) },
    standing: setting.standing ?? null,
    say: (line) => said.push(line),
    now: setting.now ?? (() => 0),
  });
  return { desk, disk, store, memory, said };
}

const init: SignerInput = { peerId: NOBODY, dbid: 0n, message: INIT };

/** A desk whose signer has its keys. */
function readyDesk(setting: Setting = {}) {
  const parts = openDesk(setting);
  assert.equal(errorOf(parts.desk.serve(init)), null);
  return parts;
}

function errorOf(served: Served | Promise<Served>) {
  assert.ok(!(served instanceof Promise));
  const { reply } = served;
  if (reply === null || messageType(reply) !== SIGNER_ERROR_TYPE) return null;
  const { code, message } = decodeSignerError(reply);
  return { code, message: new TextDecoder().decode(message) };
}

async function replyOf(served: Served | Promise<Served>): Promise<string> {
  return (await served).reply?.toHex() ?? "none";
}

Deno.test("the same request gets the recorded bytes, now and after a restart", async () => {
  const { desk, disk, memory, store } = readyDesk();
  const first = await replyOf(desk.serve(request(1)));
  const second = await replyOf(desk.serve(request(2)));
  assert.notEqual(first, second);
  assert.equal(await replyOf(desk.serve(request(1))), first);
  assert.equal(memory.node().walletHighWater, 2);
  store.close();
  const again = readyDesk({ disk });
  assert.equal(again.memory.node().walletHighWater, 2);
  assert.equal(await replyOf(again.desk.serve(request(2))), second);
  assert.equal(await replyOf(again.desk.serve(request(1))), first);
});

Deno.test("a request of another channel or peer is another request", async () => {
  const { desk } = readyDesk();
  const first = await replyOf(desk.serve(request(1)));
  const other = { ...request(1), dbid: 77n };
  assert.notEqual(await replyOf(desk.serve(other)), first);
  const peerId = NOBODY.slice() as typeof NOBODY;
  peerId[0] = 2;
  assert.notEqual(await replyOf(desk.serve({ ...request(1), peerId })), first);
});

Deno.test("the last 256 answers are remembered, over restarts, and not one more", async () => {
  const disk = new MemoryDisk();
  let parts = readyDesk({ disk });
  const replies: string[] = [];
  for (let n = 0; n < SLOTS + 60; n += 1) {
    if (n % 100 === 99) {
      parts.store.close();
      const play = countingSigner();
      for (let i = 0; i < n; i += 1) play(request(i), parts.desk.state.consent);
      parts = readyDesk({ disk, play });
    }
    replies.push(await replyOf(parts.desk.serve(request(n))));
  }
  for (let n = 60; n < SLOTS + 60; n += 1) {
    assert.equal(await replyOf(parts.desk.serve(request(n))), replies[n]);
  }
  assert.notEqual(await replyOf(parts.desk.serve(request(59))), replies[59]);
});

Deno.test("errors, reads, check_outpoint and long replies are not remembered", async () => {
  const record = { ...FRESH_NODE, walletHighWater: 1 };
  const writes = [{ kind: "node", record }] as const;
  const error = encodeSignerError({ code: 400, message: text.encode("bad") });
  const cases: readonly [SignerInput, Partial<Step>][] = [
    [request(1), { reply: error, writes }],
    [request(1), { reply: Uint8Array.of(0, 1) }],
    [request(1, REQUESTS.check_outpoint.type), {
      reply: Uint8Array.of(0, 1),
      writes,
    }],
    [request(1), { reply: new Uint8Array(0x10000), writes }],
  ];
  for (const [input, answer] of cases) {
    let calls = 0;
    const play: Play = () => {
      calls += 1;
      return answer;
    };
    const { desk } = readyDesk({ play });
    await desk.serve(input);
    await desk.serve(input);
    assert.equal(calls, 2);
  }
});

Deno.test("a commit that fails changes nothing and signs nothing", async () => {
  const { desk, disk, memory, said } = readyDesk();
  disk.fault = () => "before";
  const error = errorOf(desk.serve(request(1)));
  assert.equal(error?.code, SIGNER_ERROR_CODES.internal);
  assert.match(error?.message ?? "", /^Cannot write the card: /);
  assert.equal(memory.node().walletHighWater, 0);
  assert.match(said.join("\n"), /broken: Cannot write the card/);
  disk.fault = () => null;
  assert.match(await replyOf(desk.serve(request(1))), /^007b/);
});

Deno.test("after a commit of which nobody can tell nothing is signed until a restart", async () => {
  for (const fault of ["torn", "after"] as const) {
    const { desk, disk, said, store } = readyDesk();
    disk.fault = () => fault;
    const lost = await replyOf(desk.serve(request(1)));
    disk.fault = () => null;
    assert.equal(errorOf(desk.serve(request(2)))?.code, 500);
    assert.equal(errorOf(desk.serve(init))?.code, 500);
    assert.match(said.at(-1) ?? "", /until this softkey is restarted/);
    store.close();
    const again = readyDesk({ disk, play: countingSigner() });
    const reply = await replyOf(again.desk.serve(request(1)));
    assert.equal(reply, "007b0001", `${fault} ${lost}`);
    assert.equal(again.memory.node().walletHighWater, 1);
  }
});

Deno.test("a card serves the node that it first served and no other", () => {
  const { disk, store } = readyDesk();
  store.close();
  const other = openDesk({ disk, seed: 2 });
  assert.match(
    errorOf(other.desk.serve(init))?.message ?? "",
    /its memory belongs to node 0[23]/,
  );
  assert.equal(other.desk.state.kind, "locked");
  other.store.close();
  readyDesk({ disk });
});

Deno.test("the owner hears of a refusal and of a warning, not of debug lines", async () => {
  const refusal = encodeSignerError({
    code: SIGNER_ERROR_CODES.refused,
    message: text.encode("policy failure: policy-x: 1, want 2"),
  });
  const effects: readonly Effect[] = [
    { kind: "log", level: "unusual", text: "policy-y only warns" },
    { kind: "log", level: "debug", text: "chatter" },
  ];
  const { desk, said } = readyDesk({
    play: () => ({ reply: refusal, effects }),
  });
  await desk.serve(request(1));
  assert.deepEqual(said.slice(-2), [
    "unusual: policy-y only warns",
    `refused sign_message of channel 1, ${NOBODY.toHex()}: ` +
    "policy failure: policy-x: 1, want 2",
  ]);
  assert.ok(!said.some((line) => line.includes("chatter")));
});

/** Asks about every request whose number is odd, under its number. */
const asking: Play = ({ message }, consent) => {
  const key = `${message[5]}`;
  const isFree = Number(key) % 2 === 0;
  if (isFree || consent.granted.has(key)) {
    return { reply: Uint8Array.of(0, 123, Number(key)) };
  }
  if (consent.declined.has(key)) {
    const code = SIGNER_ERROR_CODES.refused;
    return { reply: encodeSignerError({ code, message: text.encode("no") }) };
  }
  const code = SIGNER_ERROR_CODES.internal;
  const ask: Effect = {
    kind: "ask",
    consentKind: "unknown_destination",
    key,
    question: `Send ${key}?`,
  };
  return {
    reply: encodeSignerError({ code, message: text.encode("ask") }),
    effects: [ask],
  };
};

/** An owner who answers when the test does. */
class FakeOwner implements Approver {
  readonly asked: Question[] = [];
  readonly answers: ((answer: boolean | null) => void)[] = [];

  ask(question: Question): Promise<boolean | null> {
    this.asked.push(question);
    return new Promise((resolve) => this.answers.push(resolve));
  }
}

Deno.test("a request waits for the owner, others go on, a repeat joins it", async () => {
  const owner = new FakeOwner();
  const { desk } = readyDesk({ play: asking, approver: owner, mode: "ask" });
  const waiting = [desk.serve(request(1)), desk.serve(request(1))];
  assert.equal(await replyOf(desk.serve(request(2))), "007b02");
  assert.equal(owner.asked.length, 1);
  owner.answers[0]?.(true);
  for (const served of waiting) {
    assert.equal(await replyOf(served), "007b01");
  }
  assert.equal(await replyOf(desk.serve(request(1))), "007b01");
  assert.equal(owner.asked.length, 1);
});

Deno.test("what the owner declines is refused, and asked about again only later", async () => {
  const owner = new FakeOwner();
  let now = 0;
  const { desk } = readyDesk({
    play: asking,
    approver: owner,
    mode: "ask",
    now: () => now,
  });
  const first = desk.serve(request(1));
  owner.answers[0]?.(false);
  assert.equal(errorOf(await first)?.code, SIGNER_ERROR_CODES.refused);
  assert.equal(errorOf(desk.serve(request(1)))?.code, 403);
  assert.equal(owner.asked.length, 1);
  now = 600_001;
  const later = desk.serve(request(1));
  owner.answers[1]?.(true);
  assert.equal(await replyOf(later), "007b01");
});

// ------------------------------------------------------------------ the book

/** What the book says, without times and numbers. */
function bookOf({ ledger }: { readonly ledger: Ledger }): readonly string[] {
  return [...ledger.lines()].map((line) => {
    const { kind, text, allowedBy } = decodeEntry(line.body);
    return [kind, text, ...(allowedBy === undefined ? [] : [allowedBy])]
      .join(" | ");
  });
}

const EMPTY_MESSAGE = "signed | message of 0 bytes under the node key, " +
  "SHA-256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" +
  " | the rules";

Deno.test("a signature is one line, a repeat that the tail answers is none", async () => {
  const { desk, store } = readyDesk();
  await desk.serve(request(1));
  assert.deepEqual(bookOf(store), [EMPTY_MESSAGE]);
  await desk.serve(request(1));
  assert.equal(bookOf(store).length, 1);
  await desk.serve(request(2));
  assert.equal(bookOf(store).length, 2);
});

Deno.test("a signature that changes nothing is durable in the book too", async () => {
  const { desk, disk, store } = readyDesk({
    play: () => ({ reply: Uint8Array.of(0, 123) }),
  });
  const { head } = store;
  await desk.serve(request(1));
  assert.equal(store.head.generation, head.generation);
  disk.cutPower();
  assert.deepEqual(bookOf(disk.open()), [EMPTY_MESSAGE]);
});

Deno.test("when the card fails there is neither a signature nor a line", async () => {
  for (const writes of [undefined, []]) {
    const play: Play | undefined = writes &&
      (() => ({ reply: Uint8Array.of(0, 123), writes }));
    const { desk, disk, store } = readyDesk(play ? { play } : {});
    disk.fault = () => "before";
    assert.equal(errorOf(desk.serve(request(1)))?.code, 500);
    assert.deepEqual(bookOf(store), []);
    disk.fault = () => null;
    assert.match(await replyOf(desk.serve(request(1))), /^007b/);
    assert.deepEqual(bookOf(store), [EMPTY_MESSAGE]);
  }
});

Deno.test("a refusal is a line, a thousand of it are that line and a count", async () => {
  const code = SIGNER_ERROR_CODES.refused;
  const message = text.encode("policy failure: policy-x: 1, want 2");
  let now = 0;
  const { desk, store } = readyDesk({
    play: () => ({ reply: encodeSignerError({ code, message }) }),
    now: () => now,
  });
  for (now = 0; now < 1000; now += 1) await desk.serve(request(7));
  const line = "refused | sign_message: policy failure: policy-x: 1, want 2";
  assert.deepEqual(bookOf(store), [line]);
  const [first] = store.ledger.lines();
  const entry = first && decodeEntry(first.body);
  assert.deepEqual([entry?.peer, entry?.channel], [NOBODY.toHex(), 7n]);
  desk.close();
  assert.deepEqual(bookOf(store), [
    line,
    "refused | … and 999 more of refusals of sign_message, policy-x in 1 min",
  ]);
  desk.close();
  assert.equal(bookOf(store).length, 2);
  // What was counted goes with whatever is written when its time is over.
  await desk.serve(request(7));
  await desk.serve(request(7));
  now += 600_000;
  desk.note({ kind: "policy", text: "x" });
  assert.deepEqual(bookOf(store).slice(2), [
    line,
    "refused | … and 1 more of refusals of sign_message, policy-x in 10 min",
    "policy | x",
  ]);
});

Deno.test("a refusal whose line cannot be written is a refusal all the same", () => {
  const code = SIGNER_ERROR_CODES.refused;
  const reply = encodeSignerError({ code, message: text.encode("no") });
  const { desk, disk, said } = readyDesk({ play: () => ({ reply }) });
  disk.fault = () => "before";
  assert.equal(errorOf(desk.serve(request(1)))?.code, code);
  assert.match(said.at(-1) ?? "", /^broken: Cannot write the card/);
  disk.fault = () => "torn";
  assert.equal(errorOf(desk.serve(request(1, 8)))?.code, code);
  disk.fault = () => null;
  assert.equal(errorOf(desk.serve(request(2)))?.code, 500);
  desk.close();
});

Deno.test("what the owner is asked, and says, is in the book", async () => {
  const owner = new FakeOwner();
  const { desk, store } = readyDesk({
    play: asking,
    approver: owner,
    mode: "ask",
  });
  const first = desk.serve(request(1));
  assert.deepEqual(bookOf(store), ["asked | Send 1?"]);
  owner.answers[0]?.(true);
  await first;
  assert.deepEqual(bookOf(store).slice(1), [
    "approved | Send 1? | the owner",
    EMPTY_MESSAGE,
  ]);
  const second = desk.serve(request(3));
  owner.answers[1]?.(false);
  await second;
  assert.deepEqual(bookOf(store).slice(3), [
    "asked | Send 3?",
    "declined | Send 3?",
    "refused | sign_message: no",
  ]);
  const third = desk.serve(request(5));
  owner.answers[2]?.(null);
  await third;
  const fourth = desk.serve(request(7));
  owner.answers[3]?.(false);
  await fourth;
  // Refusals are bounded, answers are not.
  assert.deepEqual(bookOf(store).slice(6), [
    "asked | Send 5?",
    "declined | Send 5? Nobody answered",
    "asked | Send 7?",
    "declined | Send 7?",
  ]);
  desk.close();
});

Deno.test("questions that nobody answers do not fill the book, an owner's answer is in it", async () => {
  const isOwners = (key: string) => Number(key) > 200;
  const { desk, store } = readyDesk({
    play: asking,
    approver: {
      ask: ({ key }) => Promise.resolve(isOwners(key) ? false : null),
    },
    mode: "ask",
  });
  for (let number = 1; number < 210; number += 2) {
    await desk.serve(request(number));
  }
  const book = bookOf(store);
  const asked = book.filter((line) => /^asked|Nobody answered$/.test(line));
  assert.equal(asked.length, 60);
  assert.deepEqual(
    book.filter((line) => /^declined.*[?]$/.test(line)),
    [201, 203, 205, 207, 209].map((number) => `declined | Send ${number}?`),
  );
  desk.close();
  const counts = bookOf(store).slice(book.length).join("\n");
  assert.match(counts, /asked \| … and 75 more of asked unknown_destination/);
  assert.match(counts, /declined \| … and 70 more of declined unknown_/);
});

Deno.test("what the owner does is put down at once", () => {
  const { desk, store, disk } = readyDesk();
  desk.note({ kind: "policy", text: "max_htlcs 30 HTLCs" });
  assert.deepEqual(bookOf(store), ["policy | max_htlcs 30 HTLCs"]);
  const [line] = store.ledger.lines();
  assert.equal(
    line && lineText(line),
    "1970-01-01 00:00:00  #1  policy    max_htlcs 30 HTLCs",
  );
  disk.fault = () => "before";
  assert.throws(
    () => desk.note({ kind: "policy", text: "x" }),
    /Cannot write the card/,
  );
});

Deno.test("a policy that the owner changes counts from the next request on", async () => {
  const seen: unknown[] = [];
  const policy = withLimit(defaultPolicy("regtest"), "max_htlcs", "30");
  const parts = openDesk();
  const desk = new Desk({
    signer: parts.desk.state,
    step: (state, input, now) => {
      seen.push(state.policy.maxHtlcs);
      return step(state, input, now);
    },
    store: parts.store,
    memory: parts.memory,
    tail: AnswerTail.load([]),
    node: null,
    standing: null,
    approver: { ask: () => Promise.resolve(false) },
    say: () => {},
    now: () => 0,
  });
  await desk.serve(init);
  desk.own({ policy });
  await desk.serve(request(1));
  const { maxHtlcs } = defaultPolicy("regtest");
  assert.deepEqual(seen, [maxHtlcs, 30]);
  assert.equal(desk.state.kind, "ready");
});

Deno.test("a card that is not the last word refuses before the signer is asked", () => {
  const at = { generation: 1n, at: 0n };
  const restored = readyDesk({ standing: { kind: "restored", ...at } });
  const { sign_remote_commitment_tx: commitment } = REQUESTS;
  const error = errorOf(restored.desk.serve(request(1, commitment.type)));
  assert.equal(error?.code, SIGNER_ERROR_CODES.refused);
  assert.equal(errorOf(restored.desk.serve(request(1))), null);
  const book = bookOf(restored.store);
  assert.equal(book.length, 2);
  assert.match(book[0] ?? "", /^refused \| sign_remote_commitment_tx: Cannot/);
  const moved = openDesk({ standing: { kind: "moved", ...at } });
  assert.equal(errorOf(moved.desk.serve(init))?.code, 403);
  assert.equal(moved.desk.state.kind, "locked");
});

/** Counts the commits of a store, with and without changes and lines. */
class CountingStore implements Store {
  readonly #store: Store;
  readonly commits: { changes: number; lines: number }[] = [];
  /** Hears of each commit that writes. */
  heard: () => void = () => {};

  constructor(store: Store) {
    this.#store = store;
  }

  get head() {
    return this.#store.head;
  }

  get ledger() {
    return this.#store.ledger;
  }

  get isCertain() {
    return this.#store.isCertain;
  }

  load() {
    return this.#store.load();
  }

  commit(changes: readonly Change[], lines: readonly NewLine[] = []): void {
    this.#store.commit(changes, lines);
    if (changes.length + lines.length === 0) return;
    this.commits.push({ changes: changes.length, lines: lines.length });
    this.heard();
  }

  close(): void {
    this.#store.close();
  }
}

/** A real node's first life, at a desk: what each request had written. */
async function playLife(name: string) {
  const [url] = recordingsIn("flows")
    .filter((path) => recordingName(path) === name);
  assert.ok(url !== undefined);
  const { lives: [life] } = await readRecording(url);
  assert.ok(life !== undefined);
  const store = new CountingStore(new MemoryDisk().open());
  const memory = new SignerMemory();
  let described: ReturnType<typeof describeStep> = null;
  const desk = new Desk({
    signer: createSigner({
      secretFile: life.secret,
      network: NETWORKS.regtest,
      isDeveloper: true,
      memory,
      policy: believedPolicy("regtest"),
      consent: YES,
    }),
    step: (state, input, now) => {
      const taken = step(state, input, now);
      described = describeStep(taken, input, now);
      return taken;
    },
    store,
    memory,
    tail: AnswerTail.load([]),
    node: null,
    standing: null,
    approver: { ask: () => Promise.resolve(true) },
    say: () => {},
    now: Date.now,
  });
  const connections = new Map([[0, { peerId: NOBODY, dbid: 0n }]]);
  const served = [];
  for (const event of life.events) {
    if (event.kind === "open") {
      connections.set(event.conn, { peerId: event.peer, dbid: event.dbid });
    }
    const connection = event.kind === "request"
      ? connections.get(event.conn)
      : undefined;
    const isAsked = event.kind === "request" &&
      event.type !== REQUESTS.client_hsmfd.type;
    if (!isAsked || connection === undefined) continue;
    described = null;
    const before = store.commits.length;
    await desk.serve({ ...connection, message: event.bytes });
    const commits = store.commits.slice(before);
    // The step above sets it, which the compiler cannot see.
    const line = described as ReturnType<typeof describeStep>;
    served.push({ line, commits });
  }
  return { desk, store, served };
}

Deno.test("no signature of a real node costs a second commit, and each has its line", async () => {
  const { desk, store, served } = await playLife(
    "closing_anchorspend_htlc_tx_rbf-node1",
  );
  let waiting = 0;
  let waited = 0;
  const wanted: string[] = [];
  for (const { line, commits } of served) {
    assert.ok(commits.length <= 1);
    const [commit] = commits;
    if (line !== null) wanted.push(line.text);
    if (commit === undefined) {
      // Only what rides on its commitment's line is not written yet.
      assert.ok(line === null || line.rides);
      waiting += line === null ? 0 : 1;
      waited += line === null ? 0 : 1;
      continue;
    }
    // A commit with changes is one that there was before there was a book.
    assert.equal(commit.lines, waiting + (line === null ? 0 : 1));
    assert.ok(commit.changes > 0 || line !== null);
    waiting = 0;
  }
  assert.ok(waited > 0 && wanted.length > 10);
  desk.close();
  const texts = [...store.ledger.lines()].map(({ body }) =>
    decodeEntry(body).text
  );
  assert.deepEqual(texts, wanted);
});

Deno.test("a line that may wait goes with the next commit, or is written by itself", async () => {
  const store = new CountingStore(new MemoryDisk().open());
  const failed: unknown[] = [];
  const fail = (error: unknown) => void failed.push(error);
  const writer = new LedgerWriter({ store, now: () => 0, fail });
  const wait = (text: string) =>
    writer.keep({
      changes: [],
      entry: { kind: "signed", text },
      mayWait: true,
    });
  wait("a");
  wait("b");
  assert.deepEqual(store.commits, []);
  const change = { key: "node", value: Uint8Array.of(1) };
  writer.keep({
    changes: [change],
    entry: { kind: "signed", text: "c" },
    mayWait: false,
  });
  assert.deepEqual(store.commits, [{ changes: 1, lines: 3 }]);
  // With a change of its own it is written at once.
  const entry = { kind: "signed", text: "d" };
  writer.keep({ changes: [change], entry, mayWait: true });
  assert.equal(store.commits.length, 2);
  // Reading waits for nothing and writes nothing.
  wait("e");
  writer.keep({ changes: [], entry: null, mayWait: false });
  assert.equal(store.commits.length, 2);
  await new Promise<void>((resolve) => store.heard = resolve);
  assert.deepEqual(store.commits.at(-1), { changes: 0, lines: 1 });
  const book = bookOf(store).map((line) => line.slice("signed | ".length));
  assert.deepEqual(book, ["a", "b", "c", "d", "e"]);
  wait("f");
  writer.close();
  assert.equal(bookOf(store).length, 6);
  assert.deepEqual(failed, []);
});

Deno.test("lines that wait outlive a commit that fails", () => {
  const disk = new MemoryDisk();
  const store = disk.open();
  const failed: unknown[] = [];
  const fail = (error: unknown) => void failed.push(error);
  const writer = new LedgerWriter({ store, now: () => 0, fail });
  const entry = { kind: "signed", text: "a" };
  writer.keep({ changes: [], entry, mayWait: true });
  disk.fault = () => "before";
  assert.throws(() => writer.note({ kind: "policy", text: "b" }));
  writer.tell({ kind: "policy", text: "c" });
  assert.equal(failed.length, 1);
  disk.fault = () => null;
  writer.note({ kind: "policy", text: "d" });
  assert.deepEqual(bookOf(store), ["signed | a", "policy | d"]);
});
