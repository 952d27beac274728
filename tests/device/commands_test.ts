/**
 * The softkey's commands as an owner runs them, each a process of its own.
 *
 * @module
 */

import assert from "node:assert/strict";
import { RULES } from "../../src/policy/rules.ts";
import { openCardStore } from "../../src/device/card_state.ts";
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

/** A card with a memory, as a first run leaves it. */
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
    assert.match(shown.out, /^max_htlcs 30 HTLCs$/m);
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
  assert.match(wrong.err, /want run, card, policy, allowlist/);
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
