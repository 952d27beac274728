/** Sphinx signers that say nothing to init. @module */

import assert from "node:assert/strict";
import { gapFrames, RESTART_MS } from "../../src/broker/gap.ts";
import { INIT_MS, InitWait } from "../../src/broker/start_over.ts";
import { type Device, newDevice } from "../../src/broker/device.ts";
import { decodeSignerRequest } from "../../src/wire/vls.ts";

/** A wait whose time passes when the test says so. */
class Rig {
  readonly seen: string[] = [];
  readonly device: Device = newDevice({
    cid: "aa",
    key: null,
    from: "there",
    isSealed: false,
    transcript: null,
  }, 0);
  #call: (() => void) | null = null;
  readonly wait = new InitWait({
    send: (_device, frame) =>
      this.seen.push(`sent ${decodeSignerRequest(frame).sequence}`),
    silent: () => this.seen.push("silent"),
    lost: () => this.seen.push("lost"),
    later: (ms, call) => {
      this.seen.push(`waits ${ms}`);
      this.#call = call;
      return () => this.#call = null;
    },
  });

  pass(): void {
    const call = this.#call;
    this.#call = null;
    call?.();
  }
}

Deno.test("the gap is one for a signer with and without an expectation", () => {
  const [first = 0, second = 0, ...more] = gapFrames()
    .map((frame) => decodeSignerRequest(frame).sequence);
  assert.deepEqual(more, []);
  assert.notEqual(second, (first + 1) % 0x10000);
});

Deno.test("silence is followed by the gap, and that by the end", () => {
  const rig = new Rig();
  rig.wait.begin(rig.device);
  rig.pass();
  rig.pass();
  rig.pass();
  assert.deepEqual(rig.seen, [
    `waits ${INIT_MS}`,
    "silent",
    "sent 65535",
    "sent 32767",
    `waits ${RESTART_MS}`,
    "lost",
  ]);
});

Deno.test("an answer to init ends the wait", () => {
  const rig = new Rig();
  rig.wait.begin(rig.device);
  rig.wait.end(rig.device);
  rig.pass();
  assert.deepEqual(rig.seen, [`waits ${INIT_MS}`]);
});
