/**
 * The light: the hardware's table row by row, and each way from one status to
 * another.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  type ButtonEvent,
  type GestureStage,
  LED_OFF_MS,
  LED_ROWS,
  type LedEvent,
  type LedState,
  type LedStatus,
  type SignerEvent,
  START,
  step,
  wakeAt,
} from "../../src/device/led.ts";

/** The hardware's table: status, constant, what is seen, name, time on. */
const TABLE: readonly [LedStatus, string, number, string, string, number][] = [
  ["power_on", "", 0x000001, "0,0,128", "blue", 100],
  ["mounting_card", "MountingSDCard", 0x000102, "0,128,64", "cyan", 100],
  ["starting", "Starting", 0x000001, "0,0,128", "blue", 100],
  ["setup_open", "WifiAccessPoint", 0x000100, "0,128,0", "green", 100],
  ["configuring", "Configuring", 0x010000, "128,0,0", "red", 20],
  [
    "connecting_to_wifi",
    "ConnectingToWifi",
    0x010100,
    "128,128,0",
    "yellow",
    350,
  ],
  ["syncing_time", "SyncingTime", 0x000122, "0,128,68", "cyan", 100],
  [
    "connecting_to_mqtt",
    "ConnectingToMqtt",
    0x010001,
    "128,0,128",
    "purple",
    100,
  ],
  ["connected", "Connected", 0x000101, "0,128,128", "cyan", 400],
  ["signing", "Signing", 0x111111, "136,136,136", "white", 100],
  ["ota", "Ota", 0xffa500, "255,165,0", "orange", 100],
  ["waiting", "Waiting", 0x000001, "0,0,128", "blue", 100],
  ["reset1a", "Reset1a", 0x017700, "128,238,0", "yellow", 100],
  ["reset1", "Reset1", 0x017700, "128,238,0", "yellow", 100],
  ["reset2a", "Reset2a", 0xffa500, "255,165,0", "orange", 100],
  ["reset2", "Reset2", 0xffa500, "255,165,0", "orange", 100],
  ["reset3a", "Reset3a", 0x010000, "128,0,0", "red", 100],
  ["reset3", "Reset3", 0x010000, "128,0,0", "red", 100],
  ["alarm", "", 0x010000, "128,0,0", "red", 400],
];

Deno.test("the light's rows are the hardware's, with the bits of each byte reversed", () => {
  const rows = Object.entries(LED_ROWS).map((
    [name, { source, constant, rgb, colour, onMs }],
  ) => [name, source, constant, rgb.join(","), colour, onMs]);
  assert.deepEqual(rows, TABLE);
  assert.equal(LED_OFF_MS, 400);
});

/** Every event of the signer but `connected` and `power_on`, and its light. */
const LIGHTS: readonly [SignerEvent, LedStatus][] = [
  ["card_mounting", "mounting_card"],
  ["started", "starting"],
  ["no_config", "setup_open"],
  ["configuring", "configuring"],
  ["config_found", "connecting_to_wifi"],
  ["time_syncing", "syncing_time"],
  ["mqtt_connecting", "connecting_to_mqtt"],
  ["request", "signing"],
  ["disconnected", "connecting_to_mqtt"],
  ["ota_accepted", "ota"],
];

const play = (events: readonly LedEvent[], from: LedState = START) =>
  events.reduce(step, from);
const lights = (events: readonly LedEvent[]) =>
  events.map((_, i) => play(events.slice(0, i + 1)).status);

Deno.test("each event leads to its light from every status", () => {
  for (const [event, light] of LIGHTS) {
    for (const [before] of LIGHTS) {
      assert.equal(play([before, event]).status, light, `${before}, ${event}`);
    }
  }
});

Deno.test("power_on forgets everything, from every status", () => {
  for (const [before] of LIGHTS) {
    assert.deepEqual(play(["connected", before, "power_on"]), START);
  }
  assert.deepEqual(play([down(0), time(10_001), "power_on"]), START);
});

Deno.test("a first start shows purple until the first request, then stays white", () => {
  const events: SignerEvent[] = [
    "card_mounting",
    "started",
    "mqtt_connecting",
    "connected",
    "request",
    "request",
  ];
  assert.deepEqual(lights(events), [
    "mounting_card",
    "starting",
    "connecting_to_mqtt",
    "connecting_to_mqtt",
    "signing",
    "signing",
  ]);
  const signing = play(events);
  assert.equal(step(signing, "request"), signing);
});

Deno.test("a reconnect shows connected, which the hardware never reaches", () => {
  const events: SignerEvent[] = [
    "connected",
    "request",
    "disconnected",
    "mqtt_connecting",
    "connected",
    "request",
  ];
  assert.deepEqual(lights(events), [
    "connecting_to_mqtt",
    "signing",
    "connecting_to_mqtt",
    "connecting_to_mqtt",
    "connected",
    "signing",
  ]);
});

Deno.test("no event of a softkey leads to a light that is the hardware's alone", () => {
  const hardwares: SignerEvent[] = [
    "config_found",
    "time_syncing",
    "ota_accepted",
  ];
  for (const [event, light] of LIGHTS) {
    const { isSoftkeys } = LED_ROWS[light];
    assert.equal(isSoftkeys, !hardwares.includes(event), event);
  }
});

Deno.test("an alarm is seen through requests and connections, until it is over", () => {
  const events: SignerEvent[] = [
    "request",
    "alarm",
    "alarm",
    "disconnected",
    "connected",
    "request",
    "calm",
  ];
  assert.deepEqual(lights(events), [
    "signing",
    "alarm",
    "alarm",
    "alarm",
    "alarm",
    "alarm",
    "signing",
  ]);
  assert.deepEqual(lights(["alarm", "started", "request", "calm", "calm"]), [
    "power_on",
    "starting",
    "alarm",
    "signing",
    "signing",
  ]);
});

Deno.test("an alarm does not hide the gesture's light", () => {
  const state = play(["request", "alarm", down(0), time(10_001)]);
  assert.equal(state.status, "reset1a");
  assert.equal(step(state, "request").status, "reset1a");
});

const down = (atMs: number): ButtonEvent => ({ kind: "button_down", atMs });
const up = (atMs: number): ButtonEvent => ({ kind: "button_up", atMs });
const time = (atMs: number): ButtonEvent => ({ kind: "time", atMs });

/** How each stage is reached; its button last moved at `sinceMs`. */
const WAYS: Readonly<Record<GestureStage, readonly LedEvent[]>> = {
  idle: ["request"],
  pressed: ["request", down(0)],
  reset1a: ["request", down(0), time(10_001)],
  reset1: ["request", down(0), up(11_000)],
  reset2a: ["request", down(0), up(11_000), time(21_001)],
  reset2: ["request", down(0), up(11_000), down(22_000)],
  reset3a: ["request", down(0), up(11_000), down(22_000), time(32_001)],
  reset3: ["request", down(0), up(11_000), down(22_000), up(33_000)],
  waiting: ["request", down(0), up(11_000), down(12_000)],
  aborted: ["request", down(0), up(11_000), down(22_000), up(23_000)],
};

/** Where press, release, 10 s and 20 s lead, with the light of the stage. */
type Way = readonly [
  stage: GestureStage,
  light: LedStatus,
  down: GestureStage,
  up: GestureStage,
  at10: GestureStage,
  past10: GestureStage,
  past20: GestureStage,
];

const GESTURE: readonly Way[] = [
  ["idle", "signing", "pressed", "idle", "idle", "idle", "idle"],
  ["pressed", "signing", "pressed", "idle", "pressed", "reset1a", "waiting"],
  ["reset1a", "reset1a", "reset1a", "reset1", "reset1a", "reset1a", "waiting"],
  ["reset1", "reset1", "waiting", "reset1", "reset1", "reset2a", "aborted"],
  ["reset2a", "reset2a", "reset2", "reset2a", "reset2a", "reset2a", "aborted"],
  ["reset2", "reset2", "reset2", "aborted", "reset2", "reset3a", "waiting"],
  ["reset3a", "reset3a", "reset3a", "reset3", "reset3a", "reset3a", "waiting"],
  ["reset3", "reset3", "reset3", "reset3", "reset3", "reset3", "reset3"],
  ["waiting", "waiting", "waiting", "aborted", "waiting", "waiting", "waiting"],
  [
    "aborted",
    "starting",
    "pressed",
    "aborted",
    "aborted",
    "aborted",
    "aborted",
  ],
];

Deno.test("each stage of the reset gesture leads where the hardware's leads", () => {
  for (const [stage, light, onDown, onUp, at10, past10, past20] of GESTURE) {
    const state = play(WAYS[stage]);
    assert.equal(state.stage, stage);
    assert.equal(state.status, light, stage);
    const since = state.sinceMs;
    const led = (event: LedEvent) => step(state, event).stage;
    assert.equal(led(down(since)), onDown, `${stage}, down`);
    assert.equal(led(up(since)), onUp, `${stage}, up`);
    assert.equal(led(time(since + 10_000)), at10, `${stage}, 10 s`);
    assert.equal(led(time(since + 10_001)), past10, `${stage}, 10.001 s`);
    assert.equal(led(time(since + 20_001)), past20, `${stage}, 20.001 s`);
  }
});

Deno.test("a stage says when time alone will lead on", () => {
  const due = (stage: GestureStage) => wakeAt(play(WAYS[stage]));
  assert.equal(due("idle"), null);
  assert.equal(due("pressed"), 10_001);
  assert.equal(due("reset1a"), 20_001);
  assert.equal(due("reset1"), 21_001);
  assert.equal(due("reset2a"), 31_001);
  assert.equal(due("reset2"), 32_001);
  assert.equal(due("reset3a"), 42_001);
  assert.equal(due("reset3"), null);
  assert.equal(due("waiting"), null);
  assert.equal(due("aborted"), null);
});

Deno.test("requests do not hide the gesture's light, and are shown after it", () => {
  for (const [stage, light] of GESTURE) {
    const isHidden = !["idle", "pressed", "aborted"].includes(stage);
    const shown = step(play(WAYS[stage]), "request").status;
    assert.equal(shown, isHidden ? light : "signing", stage);
  }
});

/** The hardware's loop: looks at the button every 50 ms and counts. */
function poll(isDownAt: (ms: number) => boolean, untilMs: number): string {
  let stage = "Starting";
  let pressed = false;
  let count = 0;
  for (let ms = 0; ms < untilMs && stage !== "Reset3"; ms += 50) {
    const isDown = isDownAt(ms);
    count = isDown === pressed ? count + 1 : 1;
    pressed = isDown;
    if (isDown) {
      if (stage === "Reset1") stage = "Waiting";
      if (stage === "Reset2a") stage = "Reset2";
      if (count > 200 && stage === "Reset2") stage = "Reset3a";
      if (count > 200 && stage === "Starting") stage = "Reset1a";
      if (count > 400) stage = "Waiting";
    } else {
      if (stage === "Waiting" || stage === "Reset2") stage = "Starting";
      if (stage === "Reset1a") stage = "Reset1";
      if (stage === "Reset3a") stage = "Reset3";
      if (count > 200 && stage === "Reset1") stage = "Reset2a";
      if (count > 400 && stage !== "Reset3") stage = "Starting";
    }
  }
  return stage;
}

Deno.test("any play with the button ends where the hardware's polling loop ends", () => {
  // Half seconds: never within a poll of a bound.
  const seconds = fc.integer({ min: 0, max: 24 }).map((s) => s * 1000 + 500);
  const likely = fc.oneof(seconds, fc.constant(11_500));
  fc.assert(fc.property(fc.array(likely, { maxLength: 8 }), (lengths) => {
    const changes: number[] = [];
    let endMs = 500;
    for (const length of lengths) {
      changes.push(endMs);
      endMs += length;
    }
    const isDownAt = (ms: number) =>
      changes.filter((at) => at <= ms).length % 2 === 1;
    const events = changes.map((at, i) => i % 2 === 0 ? down(at) : up(at));
    const { status } = play([...events, time(endMs)]);
    const found = status === "power_on" ? "Starting" : LED_ROWS[status].source;
    assert.equal(found, poll(isDownAt, endMs));
  }));
});
