/**
 * Which device is asked: the rules one by one, and all of them against a model
 * of devices, a storage and what was answered so far.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { ActiveBook } from "../../src/broker/active.ts";
import {
  barrierOf,
  choose,
  type FleetFacts,
  type Member,
  riskOf,
} from "../../src/broker/fleet.ts";
import { ConfigError } from "../../src/errors.ts";
import { runs } from "../support/arbitrary.ts";

const NOTHING: FleetFacts = {
  active: null,
  lastActive: null,
  preferred: null,
  storageRevision: null,
};

/** A native device whose state is on its own card. */
function own(cid: string, change: Partial<Member> = {}): Member {
  return {
    cid,
    isReady: true,
    isStored: false,
    revision: null,
    isTroubled: false,
    ...change,
  };
}

/** A device whose state is in the storage, read up to a revision. */
function stored(cid: string, revision: number | null): Member {
  return own(cid, { isStored: true, revision });
}

const after = (cid: string, isStored: boolean) => ({
  ...NOTHING,
  lastActive: { cid, isStored },
  storageRevision: 7,
});

function pick(members: readonly Member[], facts: FleetFacts): string {
  const choice = choose(members, facts);
  return choice.kind === "nobody" ? "nobody" : `${choice.kind} ${choice.cid}`;
}

Deno.test("The first device ever is asked, and goes on whenever it comes back", () => {
  assert.equal(pick([own("a")], NOTHING), "activate a");
  assert.equal(pick([own("a")], after("a", false)), "activate a");
  const facts = { ...after("a", false), active: "a" };
  assert.equal(pick([own("a")], facts), "keep a");
  assert.equal(pick([], facts), "nobody");
});

Deno.test("A device that is not ready is not asked", () => {
  assert.equal(pick([own("a", { isReady: false })], NOTHING), "nobody");
});

Deno.test("A device with a card of its own never takes over by itself", () => {
  const facts = after("a", false);
  assert.equal(pick([own("b")], facts), "nobody");
  assert.match(choose([own("b")], facts).why, /^b does not take over.*use b$/);
  assert.match(riskOf(own("b"), facts) ?? "", /what a has signed since/);
  const preferred = { cid: "b", isForced: false };
  assert.equal(pick([own("b")], { ...facts, preferred }), "nobody");
  const forced = { cid: "b", isForced: true };
  assert.equal(pick([own("b")], { ...facts, preferred: forced }), "activate b");
});

Deno.test("A device with its state in the storage takes over once it has read all of it", () => {
  const facts = after("a", true);
  assert.equal(pick([stored("b", 6)], facts), "resync b");
  assert.equal(pick([stored("b", 7)], facts), "activate b");
  assert.equal(pick([stored("b", null)], facts), "resync b");
  assert.equal(pick([stored("b", 6), stored("c", 7)], facts), "activate c");
  assert.equal(riskOf(stored("b", 6), facts), null);
});

Deno.test("The storage proves nothing when the last device was not in it", () => {
  const facts = after("a", false);
  assert.equal(pick([stored("b", 7)], facts), "nobody");
  assert.match(riskOf(stored("b", 7), facts) ?? "", /own card alone/);
});

Deno.test("Nobody takes over while the storage is not reachable, and the active one goes on", () => {
  const facts = { ...after("a", true), storageRevision: null };
  assert.equal(pick([stored("b", 7)], facts), "nobody");
  assert.equal(pick([stored("a", 7)], { ...facts, active: "a" }), "keep a");
});

Deno.test("The active device that is behind the storage reads it again", () => {
  const facts = { ...after("a", true), active: "a" };
  assert.equal(pick([stored("a", 6)], facts), "resync a");
});

Deno.test("The operator's choice goes before the active device, and that before others", () => {
  const facts = { ...after("a", true), active: "a" };
  const both = [stored("b", 7), stored("a", 7)];
  assert.equal(pick(both, facts), "keep a");
  const preferred = { cid: "b", isForced: false };
  assert.equal(pick(both, { ...facts, preferred }), "activate b");
  assert.equal(
    pick([stored("a", 7), stored("b", 6)], { ...facts, preferred }),
    "resync b",
  );
});

Deno.test("While nobody is active, the one that was last goes before others", () => {
  const facts = after("a", true);
  assert.equal(pick([stored("b", 7), stored("a", 7)], facts), "activate a");
  assert.equal(pick([stored("b", 7), stored("a", 6)], facts), "resync a");
});

Deno.test("A device in trouble is asked only where there is no other", () => {
  const facts = { ...after("a", true), active: "a" };
  const a = { ...stored("a", 7), isTroubled: true };
  assert.equal(pick([a], facts), "keep a");
  assert.equal(pick([a, stored("b", 7)], facts), "activate b");
  const behind = { ...stored("b", 6), isTroubled: true };
  assert.equal(pick([behind], { ...facts, active: null }), "nobody");
});

// ------------------------------------------------------------------- model

interface ModelDevice {
  readonly cid: string;
  readonly isStored: boolean;
  isHere: boolean;
  isReady: boolean;
  isTroubled: boolean;
  revision: number | null;
  /** Answers of the node that its memory contains. */
  known: number;
}

type Step =
  | { readonly do: "connect" | "leave" | "trouble"; readonly device: number }
  | {
    readonly do: "prefer";
    readonly device: number;
    readonly isForced: boolean;
  }
  | { readonly do: "answer" | "storage" | "restart" | "dance put" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom("connect", "leave", "trouble"),
      device: fc.nat(4),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("prefer"),
      device: fc.nat(4),
      isForced: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom(
        "answer",
        "answer",
        "answer",
        "storage",
        "restart",
        "dance put",
      ),
    }),
  },
);

/** A node, its storage and five devices, two of them with cards of their own. */
class Model {
  readonly #devices: readonly ModelDevice[] = ["a", "b", "c", "d", "e"].map(
    (cid, i) => ({
      cid,
      isStored: i < 3,
      isHere: false,
      isReady: false,
      isTroubled: false,
      revision: null,
      known: 0,
    }),
  );
  #order: ModelDevice[] = [];
  #facts: FleetFacts = { ...NOTHING, storageRevision: 0 };
  /** Puts so far, and the answers that the storage knows of. */
  #puts = 0;
  #stored = 0;
  #answers = 0;

  take(step: Step): void {
    switch (step.do) {
      case "connect":
        this.#connect(this.#at(step.device));
        break;
      case "leave":
        this.#leave(this.#at(step.device));
        break;
      case "trouble":
        this.#at(step.device).isTroubled = true;
        break;
      case "prefer": {
        const { cid } = this.#at(step.device);
        const preferred = { cid, isForced: step.isForced };
        this.#facts = { ...this.#facts, preferred };
        break;
      }
      case "answer":
        this.#answer();
        break;
      case "storage": {
        const isUp = this.#facts.storageRevision !== null;
        const storageRevision = isUp ? null : this.#puts;
        this.#facts = { ...this.#facts, storageRevision };
        break;
      }
      case "restart":
        for (const device of this.#devices) this.#leave(device);
        break;
      case "dance put":
        if (this.#facts.storageRevision !== null) this.#put(this.#stored);
        break;
    }
    this.#act();
    this.#checkBest();
  }

  #at(index: number): ModelDevice {
    const device = this.#devices[index];
    assert.ok(device);
    return device;
  }

  /** Its dance comes first, for one that has one. */
  #connect(device: ModelDevice): void {
    if (device.isHere) return;
    device.isHere = true;
    device.isTroubled = false;
    device.isReady = !device.isStored || this.#read(device);
    this.#order.push(device);
  }

  #read(device: ModelDevice): boolean {
    if (this.#facts.storageRevision === null) return false;
    device.revision = this.#puts;
    device.known = Math.max(device.known, this.#stored);
    return true;
  }

  #leave(device: ModelDevice): void {
    device.isHere = false;
    device.isReady = false;
    device.revision = null;
    this.#order = this.#order.filter((other) => other !== device);
    if (this.#facts.active === device.cid) {
      this.#facts = { ...this.#facts, active: null };
    }
  }

  /** The active device answers a request; what it then knows is durable. */
  #answer(): void {
    const active = this.#devices.find(({ cid }) => cid === this.#facts.active);
    if (active === undefined) return;
    assert.equal(active.known, this.#answers, `${active.cid} is stale`);
    // Without its storage it gives no answer.
    if (active.isStored && this.#facts.storageRevision === null) return;
    this.#answers += 1;
    active.known = this.#answers;
    if (!active.isStored) return;
    this.#put(this.#answers);
    active.revision = this.#puts;
  }

  #put(known: number): void {
    this.#puts += 1;
    this.#stored = known;
    this.#facts = { ...this.#facts, storageRevision: this.#puts };
  }

  /** Does as it is told, until it is told to go on. */
  #act(): void {
    for (let i = 0; i < 10; i++) {
      const choice = choose(this.#order, this.#facts);
      switch (choice.kind) {
        case "keep":
          assert.equal(choice.cid, this.#facts.active);
          return;
        case "nobody":
          this.#facts = { ...this.#facts, active: null };
          return;
        case "resync": {
          this.#facts = { ...this.#facts, active: null };
          const device = this.#find(choice.cid);
          assert.ok(device.isStored && !device.isTroubled);
          assert.ok(this.#read(device));
          break;
        }
        case "activate":
          this.#activate(this.#find(choice.cid));
      }
    }
    assert.fail("the choice does not settle");
  }

  #find(cid: string): ModelDevice {
    const device = this.#order.find((device) => device.cid === cid);
    assert.ok(device?.isReady, `${cid} is here and ready`);
    return device;
  }

  #activate(device: ModelDevice): void {
    const { cid, isStored } = device;
    const { preferred } = this.#facts;
    const isForced = preferred?.cid === cid && preferred.isForced;
    // The operator took it upon them.
    if (isForced) device.known = this.#answers;
    if (isForced && isStored) this.#put(this.#answers);
    if (isForced && isStored) device.revision = this.#puts;
    this.#facts = {
      ...this.#facts,
      active: cid,
      lastActive: { cid, isStored },
      preferred: preferred && { ...preferred, isForced: false },
    };
  }

  /** Written down once more, in other words than the code's. */
  #checkBest(): void {
    const { active, preferred, lastActive } = this.#facts;
    const able = this.#order.filter((device) =>
      barrierOf(device, this.#facts) === null
    );
    const sound = able.filter(({ isTroubled }) => !isTroubled);
    const has = (cid: string | undefined) =>
      sound.some((device) => device.cid === cid);
    assert.equal(active === null, able.length === 0);
    if (sound.length > 0) assert.ok(has(active ?? undefined));
    if (has(preferred?.cid)) assert.equal(active, preferred?.cid);
    else if (has(lastActive?.cid)) assert.equal(active, lastActive?.cid);
  }
}

Deno.test("Whatever comes and goes, one device at most is asked, none that is stale, and the best there is", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: "max" }), (steps) => {
      const model = new Model();
      for (const step of steps) model.take(step);
    }),
    { numRuns: runs(500) },
  );
});

Deno.test("A device whose state is stored elsewhere, or in another form, takes over only by force", () => {
  const last = { cid: "a", isStored: true, place: "native s c" };
  const facts = {
    active: null,
    lastActive: last,
    preferred: null,
    storageRevision: 3,
  };
  const other = (place: string | null) => [
    { ...own("b", { isStored: true, revision: 3 }), isReady: true, place },
  ];
  assert.equal(choose(other("native s c"), facts).kind, "activate");
  // Nobody knows: an earlier broker did not note it.
  assert.equal(choose(other(null), facts).kind, "activate");
  for (const place of ["sphinx s c", "native t c", "native s d"]) {
    assert.equal(choose(other(place), facts).kind, "nobody");
    const preferred = { cid: "b", isForced: true };
    const forced = choose(other(place), { ...facts, preferred });
    assert.equal(forced.kind, "activate");
  }
});

// ------------------------------------------------------------------ memory

Deno.test("Who was active last is remembered in a file, and a force is used up", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/active.json`;
    const book = await ActiveBook.open(path);
    assert.deepEqual(book.current, { lastActive: null, preferred: null });
    await book.prefer({ cid: "b", isForced: true });
    await book.activate({ cid: "b", isStored: false });
    const again = await ActiveBook.open(path);
    assert.deepEqual(again.current, {
      lastActive: { cid: "b", isStored: false },
      preferred: { cid: "b", isForced: false },
    });
    const { mtime } = await Deno.stat(path);
    await again.activate({ cid: "b", isStored: false });
    assert.deepEqual((await Deno.stat(path)).mtime, mtime);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("What cannot be written is not remembered, and what cannot be read is an error", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/active.json`;
    for (
      const text of ["", "{}", '{"lastActive":{"cid":1},"preferred":null}']
    ) {
      await Deno.writeTextFile(path, text);
      await assert.rejects(ActiveBook.open(path), ConfigError);
    }
    await Deno.remove(path);
    const book = await ActiveBook.open(path);
    await Deno.mkdir(`${path}.new`);
    await assert.rejects(book.activate({ cid: "a", isStored: true }));
    assert.deepEqual(book.current, { lastActive: null, preferred: null });
    await Deno.remove(`${path}.new`);
    await book.activate({ cid: "a", isStored: true });
    const { lastActive } = book.current;
    assert.deepEqual(lastActive, { cid: "a", isStored: true });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
