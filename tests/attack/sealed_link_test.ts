/**
 * An attacker in the middle of the link: the server is in its hands, and it
 * reads, changes, repeats, reorders, drops, and speaks for either side.
 *
 * 10,000 actions, from seeds. After those of each seed:
 *
 * - what each end heard in a session is what the other end said in it, in that
 *   order, from the first word on; the attacker can only cut it short;
 * - neither end took the attacker for the other;
 * - nothing that was said stands in clear in anything that the attacker saw;
 * - when the attacker stops, the next request is answered within 75 seconds of
 *   the clock that the test moves.
 *
 * `SEED=n` begins with other seeds; SLOW=1 acts 20 times as often.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { runs } from "../support/arbitrary.ts";
import type { Heard } from "../mqtt/sealed_rig.ts";
import {
  BROKER_POINT,
  DEVICE_POINT,
  HELLO,
  SealedRig,
  text,
} from "../mqtt/sealed_rig.ts";
import { ACTIONS, Attacker, ATTACKER_POINT, seeded } from "./attacker.ts";

const SEEDS = 50;
const ACTIONS_A_SEED = 200;
const SEED = Number(Deno.env.get("SEED") ?? "1");
/** The device notices a dead session after 60 s, the broker after 25 s. */
const RECOVERY_MS = 75_000;

/** What was told in each session, by its transcript. */
function bySession<T extends Heard>(
  list: readonly T[],
  transcriptOf: (told: T) => Uint8Array | null,
): Map<string, string[]> {
  const sessions = new Map<string, string[]>();
  for (const told of list) {
    const transcript = transcriptOf(told)?.toHex() ?? "none";
    const words = sessions.get(transcript) ?? [];
    words.push(`${told.name} ${new TextDecoder().decode(told.payload)}`);
    sessions.set(transcript, words);
  }
  return sessions;
}

/** Whoever heard something heard the beginning of what was said, unchanged. */
function assertHeardAsSaid(
  heard: Map<string, string[]>,
  said: Map<string, string[]>,
): void {
  for (const [transcript, words] of heard) {
    const wanted = said.get(transcript)?.slice(0, words.length);
    assert.deepEqual(words, wanted, `session ${transcript}`);
  }
}

function assertNothingForged(rig: SealedRig): void {
  for (const { key } of rig.met) assert.deepEqual(key, BROKER_POINT);
  const met = new Set(rig.met.map(({ transcript }) => transcript.toHex()));
  assert.equal(met.size, rig.met.length);
  const sealed = rig.atBroker.filter(({ session }) => session.isSealed);
  const ours = sealed.filter(({ session }) =>
    session.key?.toHex() === DEVICE_POINT.toHex()
  );
  for (const { session } of sealed) {
    const isOurs = met.has(session.transcript?.toHex() ?? "");
    assert.deepEqual(session.key, isOurs ? DEVICE_POINT : ATTACKER_POINT);
  }
  const saidByDevice = bySession(rig.said, ({ transcript }) => transcript);
  const saidByBroker = bySession(rig.asked, ({ transcript }) => transcript);
  assertHeardAsSaid(
    bySession(ours, ({ session }) => session.transcript),
    saidByDevice,
  );
  assertHeardAsSaid(
    bySession(rig.atDevice, ({ transcript }) => transcript),
    saidByBroker,
  );
}

/** In clear it would be somewhere in what was published. */
function assertNothingLeaked(rig: SealedRig): void {
  const seen = Buffer.concat(rig.server.seen.map(({ payload }) => payload));
  const secrets = [HELLO, text("secret"), text("not for the eyes"), PRIVATE];
  for (const secret of secrets) assert.equal(seen.indexOf(secret), -1);
  assert.equal(seen.indexOf(DEVICE_POINT), -1, "who the device is");
}

/** In every answer of the device. */
const PRIVATE = text("signature that nobody else may see");

/** The attacker leaves: a request is answered, and the device is the device. */
async function assertGoesOn(rig: SealedRig): Promise<void> {
  rig.server.queue = [];
  await rig.pass(RECOVERY_MS);
  const { session } =
    rig.atBroker.findLast(({ session }) => session.isSealed) ??
      { session: null };
  assert.ok(session);
  assert.deepEqual(session.key, DEVICE_POINT);
  const heard = rig.atBroker.length;
  assert.ok(rig.ask(session, "vls", text("are you there again")));
  rig.server.run();
  const answers = rig.atBroker.slice(heard)
    .map(({ session, name }) => ({ session, name }));
  assert.deepEqual(answers, [{ session, name: "vls-res" }]);
}

/** One seed's actions; returns how many of each there were. */
async function attack(seed: number): Promise<ReadonlyMap<string, number>> {
  const random = seeded(seed);
  const bytes = seeded(seed + 1_000_003);
  using rig = new SealedRig({
    isShared: random() < 0.5,
    random: (length) =>
      Uint8Array.from({ length }, () => Math.floor(bytes() * 256)),
  });
  rig.answer = ({ payload }) => ({
    name: "vls-res",
    payload: Uint8Array.of(...payload, ...PRIVATE),
  });
  // As the broker does with a device that is not the node's.
  rig.greet = ({ key, isSealed }) =>
    isSealed && key?.toHex() !== DEVICE_POINT.toHex() && random() < 0.5;
  rig.link.start();
  const attacker = new Attacker(rig, random);
  for (let i = 0; i < ACTIONS_A_SEED; i++) await attacker.act();
  assertNothingForged(rig);
  await assertGoesOn(rig);
  assertNothingForged(rig);
  assertNothingLeaked(rig);
  return attacker.taken;
}

Deno.test("whoever runs the server can lose what is said, and nothing else", async () => {
  const taken = new Map<string, number>();
  for (let seed = SEED; seed < SEED + runs(SEEDS); seed++) {
    try {
      for (const [action, count] of await attack(seed)) {
        taken.set(action, (taken.get(action) ?? 0) + count);
      }
    } catch (error) {
      console.error(`the attack of SEED=${seed} succeeded`);
      throw error;
    }
  }
  assert.deepEqual([...taken.keys()].sort(), Object.keys(ACTIONS).sort());
  const sum = [...taken.values()].reduce((sum, count) => sum + count, 0);
  assert.equal(sum, runs(SEEDS) * ACTIONS_A_SEED);
});
