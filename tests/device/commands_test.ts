/**
 * The softkey's commands as an owner runs them, each a process of its own.
 *
 * @module
 */

import assert from "node:assert/strict";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { QuestionBook } from "../../src/device/approver.ts";
import {
  networkChange,
  openCardStore,
  readCardState,
} from "../../src/device/card_state.ts";
import { Desk } from "../../src/device/desk.ts";
import { decodeEntry } from "../../src/device/ledger.ts";
import { startOwnerSocket } from "../../src/device/owner/socket.ts";
import { makeSecretFile } from "../../src/keyderiv.ts";
import { RULES } from "../../src/policy/rules.ts";
import { createSigner, type Step } from "../../src/signer/handle.ts";
import { NOBODY } from "../../src/wire/types.ts";
import { fromFileUrl, withDeno } from "../support/paths.ts";

const ENTRY = fromFileUrl(new URL("../../src/device/main.ts", import.meta.url));

interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function softkey(...args: readonly string[]): Promise<Result> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", ENTRY, ...args],
    env: withDeno(),
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  return { code, out: text.decode(stdout), err: text.decode(stderr) };
}

/** A card with a memory, as an earlier softkey left it. */
async function withCard(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    openCardStore(folder).close();
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("the owner sets, sees and unsets a limit", () =>
  withCard(async (folder) => {
    const where = ["--card", folder, "--network", "regtest"];
    const set = await softkey("policy", "set", "max_htlcs", "30", ...where);
    assert.deepEqual([set.code, set.out], [0, "max_htlcs 30 HTLCs\n"]);
    const shown = await softkey("policy", "show", ...where);
    assert.match(shown.out, /^max_htlcs 30 HTLCs, the default is \d+$/m);
    const unset = await softkey("policy", "unset", "max_htlcs", ...where);
    assert.match(unset.out, /^max_htlcs \d+ HTLCs \(default\)$/m);
    const wrong = await softkey("policy", "set", "max_htlcs", "x", ...where);
    assert.equal(wrong.code, 2);
    assert.match(wrong.err, /Cannot set max_htlcs: "x", want /);
  }));

Deno.test("the owner relaxes a rule until a day and makes it strict again", () =>
  withCard(async (folder) => {
    const where = ["--card", folder, "--network", "regtest"];
    const tags = "policy-mutual-*";
    const warn = await softkey(
      "policy",
      "warn",
      `${tags}@2030-01-31`,
      ...where,
    );
    assert.equal(warn.out, `filter ${tags}:warn@2030-01-31\n`);
    const shown = await softkey("policy", "show", ...where);
    assert.match(shown.out, /^filter policy-mutual-\*:warn@2030-01-31$/m);
    await softkey("policy", "strict", tags, ...where);
    const after = await softkey("policy", "show", ...where);
    assert.doesNotMatch(after.out, /filter/);
  }));

Deno.test("a card is checked whole, and a damaged one with exit code 1", () =>
  withCard(async (folder) => {
    const store = openCardStore(folder);
    store.commit([{
      key: "answer/000",
      value: new Uint8Array(900).fill(0x5a),
    }]);
    store.close();
    const wrong = await softkey("card", "check", "--card", folder);
    assert.equal(wrong.code, 1);
    assert.match(wrong.err, /answer\/000/);
    const again = openCardStore(folder);
    again.commit([{ key: "answer/000", value: null }]);
    again.commit([{ key: "other", value: new Uint8Array(900).fill(0xa5) }]);
    again.close();
    const whole = await softkey("card", "check", "--card", folder);
    assert.equal(whole.code, 0, whole.err);
    assert.match(whole.out, /generation {2}3\n[^]*The card is whole\n$/);
    const path = `${folder}/state.db`;
    const bytes = await Deno.readFile(path);
    const at = bytes.findIndex((byte, i) =>
      byte === 0xa5 && bytes[i + 1] === byte
    );
    bytes[at + 9] = 0;
    await Deno.writeFile(path, bytes);
    const damaged = await softkey("card", "check", "--card", folder);
    assert.equal(damaged.code, 1);
    assert.match(damaged.err, /is damaged: .*restore a copy that is not older/);
  }));

Deno.test("a card that a softkey runs with is left alone", () =>
  withCard(async (folder) => {
    const store = openCardStore(folder);
    const { code, err } = await softkey("card", "check", "--card", folder);
    assert.equal(code, 2);
    assert.match(err, /another softkey runs with this card; stop it first/);
    store.close();
  }));

Deno.test("a folder that is no card, and words that are no command, are told", async () => {
  const folder = await Deno.makeTempDir();
  const none = await softkey("card", "check", "--card", folder);
  assert.deepEqual([none.code, none.out], [2, ""]);
  assert.match(none.err, /it has no state\.db/);
  const wrong = await softkey("sign");
  assert.equal(wrong.code, 2);
  assert.match(wrong.err, /want run, .*card, policy, allowlist, approve/);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("policy rules says of a rule what its row says, and needs no card", async () => {
  const tag = "policy-splice-inflight-revoked";
  const one = await softkey("policy", "rules", tag);
  assert.ok(one.out.startsWith(`${tag} (always strict)\n`), one.out);
  assert.ok(one.out.includes(RULES[tag].summary));
  const all = await softkey("policy", "rules");
  for (const name of Object.keys(RULES)) {
    assert.ok(all.out.includes(`${name} (`), name);
  }
  const wrong = await softkey("policy", "rules", "policy-nothing");
  assert.equal(wrong.code, 2);
  assert.match(wrong.err, /Unknown rule/);
});

/** A card that knows its network. */
function withOwnCard(use: (folder: string) => Promise<void>): Promise<void> {
  return withCard(async (folder) => {
    const store = openCardStore(folder);
    store.commit([networkChange("regtest")]);
    store.close();
    await use(folder);
  });
}

/**
 * A softkey that runs with a card, in this process: a real card, desk, socket and
 * book of questions. Its signer wants the owner's consent for everything.
 */
async function withRunning(
  folder: string,
  use: (running: { desk: Desk; book: QuestionBook }) => Promise<void>,
): Promise<void> {
  const network = NETWORKS.regtest;
  const store = openCardStore(folder);
  const state = readCardState(store, network);
  const say = () => {};
  const now = Date.now;
  const book = new QuestionBook({ deadlineMs: 60_000, say, now });
  const signer = createSigner({
    secretFile: makeSecretFile(new Uint8Array(16).fill(1)),
    network,
    isDeveloper: false,
    memory: state.memory,
    policy: state.policy,
    allowlist: state.allowlist,
    consent: { mode: "ask", granted: new Set(), declined: new Set() },
  });
  const desk = new Desk({
    signer,
    step: askFirst,
    store,
    memory: state.memory,
    tail: state.tail,
    node: null,
    standing: null,
    approver: book,
    say,
    now,
  });
  const access = { store, network, folder, desk, questions: book };
  const socket = await startOwnerSocket({ folder, access, say });
  try {
    await use({ desk, book });
  } finally {
    socket.close();
    book.close();
    desk.close();
    store.close();
  }
}

const ALLOWED = Uint8Array.of(0, 123, 1);
const DECLINED = Uint8Array.of(0, 123, 0);

function askFirst(state: Desk["state"]): Step {
  const { granted, declined } = state.consent;
  const step = { state, effects: [], writes: [] };
  if (granted.has("it")) return { ...step, reply: ALLOWED };
  if (declined.has("it")) return { ...step, reply: DECLINED };
  const question = "Allow it?";
  const consentKind = "unknown_destination" as const;
  const asked = { kind: "ask" as const, consentKind, key: "it", question };
  return { ...step, reply: null, effects: [asked] };
}

const PAYEE =
  "payee:0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

Deno.test("commands on a card say the same through the softkey that runs with it", () =>
  withOwnCard((direct) =>
    withOwnCard((running) =>
      withRunning(running, async () => {
        const commands = [
          ["policy", "set", "max_htlcs", "30"],
          ["policy", "show"],
          ["policy", "set", "max_htlcs", "x"],
          ["allowlist", "add", PAYEE],
          ["allowlist", "list"],
          ["policy", "show", "--network", "bitcoin"],
        ];
        const codes = [];
        for (const command of commands) {
          const name = command.join(" ");
          const here = await softkey(...command, "--card", direct);
          const there = await softkey(...command, "--card", running);
          assert.deepEqual(
            [there.code, there.out],
            [here.code, here.out],
            name,
          );
          codes.push(there.code);
          if (there.code !== 7) assert.equal(there.err, here.err, name);
        }
        assert.deepEqual(codes, [0, 0, 2, 0, 0, 7]);
      })
    )
  ));

Deno.test("a limit set while a softkey runs is in force there, on the card, and in the book", () =>
  withOwnCard(async (folder) => {
    await withRunning(folder, async ({ desk }) => {
      const where = ["--card", folder];
      assert.notEqual(desk.state.policy.maxHtlcs, 30);
      await softkey("policy", "set", "max_htlcs", "30", ...where);
      assert.equal(desk.state.policy.maxHtlcs, 30);
      await softkey("allowlist", "add", PAYEE, ...where);
      assert.equal(desk.state.allowlist.payees.size, 1);
      const wipe = await softkey("card", "wipe", "--yes", ...where);
      assert.notEqual(wipe.code, 0);
    });
    const store = openCardStore(folder);
    const { policy, allowed } = readCardState(store, NETWORKS.regtest);
    const lines = [...store.ledger.lines()].map(({ body }) =>
      decodeEntry(body)
    );
    store.close();
    assert.deepEqual([policy.maxHtlcs, allowed], [30, [PAYEE]]);
    assert.deepEqual(lines.map(({ kind, text }) => [kind, text]), [
      ["policy", "max_htlcs 30 HTLCs"],
      ["allowlist", `added ${PAYEE}`],
    ]);
  }));

Deno.test("a change on a card that nobody runs with leaves its line too", () =>
  withOwnCard(async (folder) => {
    await softkey("policy", "set", "max_htlcs", "30", "--card", folder);
    const store = openCardStore(folder);
    const lines = [...store.ledger.lines()].map(({ body }) =>
      decodeEntry(body)
    );
    store.close();
    assert.deepEqual(lines.map(({ text }) => text), ["max_htlcs 30 HTLCs"]);
  }));

Deno.test("softkey approve from another terminal lets the request go on", () =>
  withOwnCard((folder) =>
    withRunning(folder, async ({ desk, book }) => {
      const message = Uint8Array.of(0, 23, 1);
      const served = desk.serve({ peerId: NOBODY, dbid: 0n, message });
      const same = desk.serve({ peerId: NOBODY, dbid: 1n, message });
      assert.equal(book.waiting().length, 1, "the same thing is asked once");
      const listed = await softkey("approve", "--card", folder);
      assert.match(listed.out, /^1 {2}Allow it\?$/m);
      const { code, out } = await softkey("approve", "1", "--card", folder);
      assert.deepEqual([code, out], [0, "allowed 1: Allow it?\n"]);
      assert.deepEqual((await served).reply, ALLOWED);
      assert.deepEqual((await same).reply, ALLOWED);
    })
  ));

Deno.test("softkey approve says that no softkey runs", () =>
  withOwnCard(async (folder) => {
    const { code, err } = await softkey("approve", "1", "--card", folder);
    assert.equal(code, 2);
    assert.match(err, /no softkey that takes answers runs with the card/);
  }));
