/**
 * The broker against a model: whatever the order of asking, answering, leaving
 * and coming back, each request is answered once, with its own answer.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import type { Answer } from "../../src/unixfd.ts";
import { runs } from "../support/arbitrary.ts";
import {
  contentOf,
  type FakeDevice,
  FakeNode,
  pointReply,
  pointRequest,
} from "./fake.ts";

/** What can happen; `pick` chooses among whatever there is to choose from. */
const EVENTS = [
  "ask",
  "ask",
  "reply",
  "reply",
  "duplicate",
  "late",
  "disconnect",
  "reconnect",
  "abandon",
  "hello",
] as const;

interface Step {
  readonly event: (typeof EVENTS)[number];
  readonly pick: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  event: fc.constantFrom(...EVENTS),
  pick: fc.nat(1000),
});

interface Asked {
  readonly n: number;
  readonly gone: AbortController;
  readonly answers: Answer[];
}

/** The broker under test, and what a test knows about it. */
class Model implements Disposable {
  readonly #node = new FakeNode();
  readonly #asked: Asked[] = [];
  readonly #isSphinx: boolean;
  /** Requests that the present session has not answered. */
  readonly #unanswered = new Map<FakeDevice, number>();
  #device: FakeDevice | null = null;

  constructor(isSphinx: boolean) {
    this.#isSphinx = isSphinx;
  }

  async start(): Promise<void> {
    this.#device = await this.#node.start({ isSphinx: this.#isSphinx });
  }

  async take({ event, pick }: Step): Promise<void> {
    switch (event) {
      case "ask":
        return this.#ask();
      case "reply":
        return this.#reply(pick);
      case "duplicate":
        return this.#repeat(this.#device, pick);
      case "late":
        return this.#repeat(this.#choose(this.#node.devices, pick), pick);
      case "disconnect":
        return this.#disconnect();
      case "reconnect":
        return await this.#reconnect();
      case "abandon":
        return this.#choose(this.#asked, pick)?.gone.abort();
      case "hello":
        return await this.#device?.serve({ isSphinx: this.#isSphinx });
    }
  }

  /** Everything is answered in the end, and rightly. */
  async finish(): Promise<void> {
    await this.#reconnect();
    for (let i = 0; this.#pending(this.#device).length > 0; i++) {
      this.#reply(i);
    }
    for (let i = 0; i < 20; i++) await Promise.resolve();
    for (const { n, gone, answers } of this.#asked) {
      for (const answer of answers) {
        assert.deepEqual(answer, { kind: "reply", message: pointReply(n) });
      }
      assert.ok(answers.length <= 1, `request ${n} has one answer at most`);
      assert.ok(gone.signal.aborted || answers.length === 1, `request ${n}`);
    }
  }

  [Symbol.dispose](): void {
    this.#node[Symbol.dispose]();
  }

  #choose<T>(items: readonly T[], pick: number): T | undefined {
    return items[pick % Math.max(items.length, 1)];
  }

  #ask(): void {
    const n = this.#asked.length;
    const asked: Asked = { n, gone: new AbortController(), answers: [] };
    this.#asked.push(asked);
    const { signal } = asked.gone;
    this.#node.ask(pointRequest(n), { dbid: BigInt(n + 1), signal })
      .then((answer) => asked.answers.push(answer));
  }

  /** What a device was given and has not answered, each number once. */
  #pending(device: FakeDevice | null) {
    if (device === null || !device.isHere) return [];
    const answered = this.#unanswered.get(device) ?? 0;
    return device.requests.slice(answered);
  }

  /** Answers in any order: moves the chosen one to the front first. */
  #reply(pick: number): void {
    const device = this.#device;
    const pending = this.#pending(device);
    const request = this.#choose(pending, pick);
    if (device === null || request === undefined) return;
    const answered = this.#unanswered.get(device) ?? 0;
    const at = device.requests.indexOf(request, answered);
    device.requests.splice(at, 1);
    device.requests.splice(answered, 0, request);
    this.#unanswered.set(device, answered + 1);
    device.reply(request.sequence, pointReply(Number(contentOf(request))));
  }

  /** Sends again what was answered before, from this session or an older one. */
  #repeat(device: FakeDevice | null | undefined, pick: number): void {
    if (!device) return;
    const answered = this.#unanswered.get(device) ?? 0;
    const done = device.isHere
      ? device.requests.slice(0, answered)
      : device.requests;
    const request = this.#choose(done, pick);
    if (request === undefined) return;
    // A number may be in use again by now, which a live session tells apart.
    const isReused = this.#pending(device)
      .some(({ sequence }) => sequence === request.sequence);
    if (isReused) return;
    device.reply(request.sequence, pointReply(Number(contentOf(request))));
  }

  #disconnect(): void {
    this.#device?.leave();
    this.#device = null;
  }

  async #reconnect(): Promise<void> {
    this.#disconnect();
    const device = this.#node.connect();
    await device.serve({ isSphinx: this.#isSphinx });
    this.#device = device;
    const numbers = device.sequences;
    const contents = device.contents.map(Number);
    assert.deepEqual(contents, contents.toSorted((a, b) => a - b));
    assert.equal(new Set(numbers).size, numbers.length);
    if (this.#isSphinx) assert.ok(numbers.length <= 1);
  }
}

for (const isSphinx of [false, true]) {
  const dialect = isSphinx ? "Sphinx" : "native";
  Deno.test(`No answer of a ${dialect} device is lost or mixed up, whatever happens in between`, async () => {
    const steps = fc.array(step, { maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(steps, async (events) => {
        using model = new Model(isSphinx);
        await model.start();
        for (const event of events) await model.take(event);
        await model.finish();
      }),
      { numRuns: runs(60) },
    );
  });
}
