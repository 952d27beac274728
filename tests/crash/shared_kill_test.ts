/**
 * Two softkeys with one seed serve one node, and the one that is asked is killed
 * again and again (SIGKILL): the other takes over from the storage, and the node
 * has every answer as it was recorded.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  openCardStore,
  readCardState,
  sharingChange,
} from "../../src/device/card_state.ts";
import { makeBelievingCard } from "../support/believed.ts";
import {
  type Life,
  newOutcome,
  playLife,
  readRecording,
  RECORDINGS,
} from "../support/recording.ts";
import { RunningBroker } from "../support/rig.ts";
import { startSoftkey } from "../support/softkey.ts";
import { lifeNetwork } from "../support/whole_path.ts";

const SLOW = Deno.env.get("SLOW") === "1";
/** Answers between two kills. */
const EVERY = SLOW ? 7 : 40;
const NAMES = SLOW
  ? ["flows/pay-node1", "flows/sendpay-node2", "flows/keysend-node2"]
  : ["flows/pay-node1"];

/** A softkey that is started again whenever it was killed. */
class Phoenix {
  readonly #start: () => Promise<Deno.ChildProcess>;
  #softkey: Deno.ChildProcess | null = null;
  #isOver = false;
  kills = 0;

  constructor(start: () => Promise<Deno.ChildProcess>) {
    this.#start = start;
  }

  /** Until {@link Phoenix.end}. */
  async run(): Promise<void> {
    while (!this.#isOver) {
      const softkey = await this.#start();
      this.#softkey = softkey;
      if (this.#isOver) softkey.kill("SIGTERM");
      const { signal, code } = await softkey.status;
      this.#softkey = null;
      if (signal === "SIGKILL") continue;
      // One that has just begun does not hear the signal as a wish yet.
      const isTold = this.#isOver && (code === 0 || signal === "SIGTERM");
      assert.ok(isTold, `the softkey ended by itself with ${code}`);
    }
  }

  kill(): void {
    if (this.#softkey === null) return;
    this.kills += 1;
    this.#softkey.kill("SIGKILL");
  }

  end(): void {
    this.#isOver = true;
    this.#softkey?.kill("SIGTERM");
  }
}

/** A card that takes the node's word for the chain, and is one of several. */
async function makeSharedCard(folder: string, life: Life): Promise<void> {
  await Deno.mkdir(folder);
  await makeBelievingCard(`${folder}/card`, lifeNetwork(life).name);
  const store = openCardStore(`${folder}/card`);
  store.commit([sharingChange({ serverKey: null, isClean: false })]);
  store.close();
}

async function playAndKill(name: string): Promise<number> {
  const path = new URL(`${name}.jsonl.gz`, RECORDINGS);
  const { lives: [life, ...more] } = await readRecording(path);
  assert.ok(life !== undefined && more.length === 0);
  const folder = await Deno.makeTempDir();
  try {
    await using broker = await RunningBroker.start({ folder });
    const url = `mqtt://${await broker.address()}`;
    const { secret } = life;
    const { name: network } = lifeNetwork(life);
    const softkeys: Phoenix[] = [];
    for (const which of ["a", "b"]) {
      const own = `${folder}/${which}`;
      await makeSharedCard(own, life);
      softkeys.push(
        new Phoenix(() => startSoftkey({ folder: own, url, secret, network })),
      );
    }
    const running = softkeys.map((softkey) => softkey.run());
    const outcome = newOutcome();
    let answered = 0;
    const playing = playLife(life, broker.standin, outcome, () => {
      answered += 1;
      if (answered % EVERY !== 0) return;
      // Whoever was killed last is warm: the other one is asked.
      softkeys[(answered / EVERY) % softkeys.length]?.kill();
    });
    try {
      await Promise.race([playing, ...running]);
    } finally {
      for (const softkey of softkeys) softkey.end();
      await Promise.allSettled(running);
    }
    await Promise.all(running);
    broker.standin.close();
    assert.equal(await broker.standin.exit, 2);
    await broker.silence;
    assert.deepEqual(broker.alarms, [], name);
    assert.deepEqual(outcome.differences, [], name);
    assert.equal(outcome.identical, outcome.requests, name);
    for (const softkey of softkeys) assert.ok(softkey.kills > 0, name);
    const network1 = lifeNetwork(life);
    for (const which of ["a", "b"]) {
      const store = openCardStore(`${folder}/${which}/card`);
      store.check();
      const { standing, sharing } = readCardState(store, network1);
      store.close();
      assert.equal(standing, null);
      assert.ok(sharing !== null && sharing.serverKey !== null);
    }
    if (Deno.env.get("SHOW") === "1") {
      const slow = [...outcome.latencies.values()].flat().toSorted((a, b) =>
        b - a
      );
      console.log(slow.slice(0, 30).map(Math.round).join(" "));
      console.log(broker.log.slice(-30).join("\n"));
    }
    return softkeys.reduce((sum, { kills }) => sum + kills, 0);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

for (const name of NAMES) {
  Deno.test(`${name}: the softkey that is asked is killed again and again, the other takes over`, async () => {
    assert.ok(await playAndKill(name) >= 3);
  });
}
