/**
 * The desk with a signer that does as it is told: what is durable before what,
 * what happens when the card fails, and what the owner is asked.
 *
 * @module
 */

import assert from "node:assert/strict";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { AnswerTail, SLOTS } from "../../src/device/answers.ts";
import type { Approver, Question } from "../../src/device/approver.ts";
import { Desk, type Served } from "../../src/device/desk.ts";
import { SIGNER_ERROR_CODES } from "../../src/errors.ts";
import { makeSecretFile } from "../../src/keyderiv.ts";
import {
  createSigner,
  type Effect,
  type SignerInput,
  type Step,
  step,
} from "../../src/signer/handle.ts";
import { FRESH_NODE, SignerMemory } from "../../src/signer/memory.ts";
import { MemoryDisk } from "../../src/store/memory.ts";
import { REQUESTS } from "../../src/wire/hsmd.ts";
import { messageType } from "../../src/wire/message.ts";
import { NOBODY } from "../../src/wire/types.ts";
import {
  decodeSignerError,
  encodeSignerError,
  SIGNER_ERROR_TYPE,
} from "../../src/wire/vls.ts";
import { INIT } from "../broker/fake.ts";

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
  readonly answers: ((isGranted: boolean) => void)[] = [];

  ask(question: Question): Promise<boolean> {
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
