/**
 * Whoever runs the MQTT server between broker and device, and means ill.
 *
 * All that is published goes through its hands. It has keys of its own, knows
 * the broker's public key, remembers everything and does what a row of
 * {@linkcode ACTIONS} says. Which and when comes from a seed.
 *
 * @module
 */

import { NoiseInitiator, NoiseResponder } from "../../src/crypto/noise.ts";
import { publicKey } from "../../src/crypto/secp.ts";
import { Secret } from "../../src/crypto/secret.ts";
import {
  decodeSealed,
  encodeSealed,
  SEALED_KINDS,
  SealedChannel,
  type SealedKind,
  sealedPrologue,
} from "../../src/mqtt/sealed.ts";
import type { TopicName } from "../../src/mqtt/topics.ts";
import { type Packet, RETRY_MS } from "../mqtt/memory_server.ts";
import { BROKER_POINT, CID, SealedRig, text } from "../mqtt/sealed_rig.ts";

/** Numbers from 0 to 1. */
export type Random = () => number;

/** mulberry32: the same numbers for the same seed. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The attacker's own static key. */
export const ATTACKER_KEY = new Secret(new Uint8Array(32).fill(0x66));
/** Its public key. */
export const ATTACKER_POINT = publicKey(ATTACKER_KEY.reveal());

const KINDS: readonly SealedKind[] = Object.keys(SEALED_KINDS)
  .filter((kind): kind is SealedKind => Object.hasOwn(SEALED_KINDS, kind));
const UNSEALED: readonly TopicName[] = [
  "hello",
  "vls-res",
  "bye",
  "card",
  "paired",
  "error",
];

/** What can be done, and how often it is. */
export const ACTIONS = {
  // The server as it should be, and the two who use it.
  passOn: 30,
  passAllOn: 8,
  behave: 8,
  ask: 16,
  tell: 6,
  wait: 3,
  // What only an attacker does.
  drop: 4,
  reorder: 4,
  repeat: 4,
  replay: 8,
  reflect: 3,
  change: 4,
  splice: 2,
  forge: 4,
  hint: 2,
  speakUnsealed: 2,
  actAsDevice: 2,
  finishAsDevice: 4,
  speakAsDevice: 3,
  actAsBroker: 3,
  lure: 2,
  cut: 1,
} as const;

/** Name of an action. */
export type Action = keyof typeof ACTIONS;

/** An attacker and its victims. */
export class Attacker {
  readonly rig: SealedRig;
  /** How often each action was taken. */
  readonly taken = new Map<string, number>();
  readonly #random: Random;
  #handshake: NoiseInitiator | null = null;
  #channel: SealedChannel | null = null;
  #count = 0;

  constructor(rig: SealedRig, random: Random) {
    this.rig = rig;
    this.#random = random;
  }

  /** Does one thing or another. */
  async act(): Promise<void> {
    const action = this.#choose();
    this.taken.set(action, (this.taken.get(action) ?? 0) + 1);
    await this.#do(action);
  }

  #choose(): Action {
    const names = Object.keys(ACTIONS)
      .filter((name): name is Action => Object.hasOwn(ACTIONS, name));
    const sum = names.reduce((sum, name) => sum + ACTIONS[name], 0);
    let left = this.#random() * sum;
    for (const name of names) {
      left -= ACTIONS[name];
      if (left < 0) return name;
    }
    return "passOn";
  }

  async #do(action: Action): Promise<void> {
    const { server, clock } = this.rig;
    switch (action) {
      case "passOn":
        return this.#deliver(server.queue.shift());
      case "passAllOn":
        return server.run();
      case "behave":
        return await this.#behave();
      case "ask":
        return this.ask();
      case "tell":
        return this.tell();
      case "wait":
        return await clock.pass(this.#below(8_000));
      case "drop":
        return void this.#takeOut();
      case "reorder":
        return this.#deliver(this.#takeOut());
      case "repeat":
        return this.#deliver(this.#pick(server.queue));
      case "replay":
        return this.#deliver(this.#pick(server.seen));
      case "reflect":
        return this.#deliver(reflected(this.#pick(server.seen)));
      case "change":
        return this.#change();
      case "splice":
        return this.#splice();
      case "forge":
        return this.#forge();
      case "hint":
        return this.#hint();
      case "speakUnsealed":
        return this.#speakUnsealed();
      case "actAsDevice":
        return this.#actAsDevice();
      case "finishAsDevice":
        return this.#finishAsDevice();
      case "speakAsDevice":
        return this.#speakAsDevice();
      case "actAsBroker":
        return this.#actAsBroker();
      case "lure":
        this.#sayTo(true, encodeSealed("notMe", ATTACKER_POINT));
        return this.#actAsBroker();
      case "cut":
        return server.cut();
    }
  }

  /** For a moment all is as it should be: so there is something to attack. */
  async #behave(): Promise<void> {
    await this.rig.pass(RETRY_MS);
    for (let i = 0; i < 3; i++) this.ask();
    this.tell();
    this.rig.server.run();
  }

  /** The broker asks whom it heard last, as the real one does after a hello. */
  ask(): void {
    const session = this.rig.atBroker.findLast(({ session }) =>
      session.isSealed
    )?.session;
    if (session === undefined) return;
    this.#count += 1;
    this.rig.ask(session, "vls", text(`secret request ${this.#count} ${PAD}`));
  }

  /** The device says something of its own accord. */
  tell(): void {
    this.#count += 1;
    this.rig.tell("card", text(`secret head ${this.#count} ${PAD}`));
  }

  #deliver(packet: Packet | undefined): void {
    if (packet !== undefined) this.rig.server.deliver(packet);
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  #pick<T>(list: readonly T[]): T | undefined {
    return list[this.#below(list.length)];
  }

  #bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.#below(256));
  }

  #takeOut(): Packet | undefined {
    const { queue } = this.rig.server;
    return queue.splice(this.#below(queue.length), 1)[0];
  }

  /** A packet with a bit flipped, cut short, made longer or with other ends. */
  #change(): void {
    const { queue, seen } = this.rig.server;
    const isOnTheWay = this.#random() < 0.6 && queue.length > 0;
    const packet = isOnTheWay ? this.#takeOut() : this.#pick(seen);
    if (packet === undefined) return;
    this.#deliver({ ...packet, payload: this.#changed(packet.payload) });
  }

  #changed(payload: Uint8Array): Uint8Array {
    const at = this.#below(payload.length);
    switch (this.#below(4)) {
      case 0: {
        const flipped = payload.slice();
        flipped[at] = (flipped[at] ?? 0) ^ (1 << this.#below(8));
        return flipped;
      }
      case 1:
        return payload.slice(0, at);
      case 2:
        return Uint8Array.of(...payload, ...this.#bytes(1 + this.#below(40)));
      default:
        return Uint8Array.of(payload[0] ?? 0, ...payload.subarray(1 + at));
    }
  }

  /** Two records in one, or the half of one and the half of another. */
  #splice(): void {
    const records = this.rig.server.seen
      .filter(({ payload }) => payload[0] === SEALED_KINDS.record.id);
    const [one, other] = [this.#pick(records), this.#pick(records)];
    if (one === undefined || other === undefined) return;
    const end = this.#random() < 0.5 ? undefined : this.#below(60);
    const first = one.payload.subarray(0, end);
    const payload = Uint8Array.of(...first, ...other.payload.subarray(1));
    this.#deliver({ ...one, payload });
  }

  #forge(): void {
    const kind = this.#pick(KINDS) ?? "record";
    const lengths: readonly number[] = SEALED_KINDS[kind].lengths ??
      [this.#below(120)];
    const body = this.#bytes(this.#pick(lengths) ?? 0);
    // Half of them begin as an act does, with a point that there is.
    if (this.#random() < 0.5 && body.length > 0) {
      body.set(ATTACKER_POINT.subarray(0, Math.max(0, body.length - 1)), 1);
      body[0] = 0;
    }
    this.#sayTo(this.#below(2) === 0, encodeSealed(kind, body));
  }

  #sayTo(isDevice: boolean, payload: Uint8Array): void {
    this.#deliver(
      isDevice
        ? { to: "device", cid: CID, name: "sealed", payload }
        : { to: "broker", cid: CID, name: "sealed-res", payload },
    );
  }

  #hint(): void {
    const hints = [
      encodeSealed("again"),
      encodeSealed("who", ATTACKER_POINT),
      encodeSealed("notMe", ATTACKER_POINT),
      encodeSealed("notMe", BROKER_POINT),
    ];
    this.#sayTo(true, this.#pick(hints) ?? encodeSealed("again"));
  }

  #speakUnsealed(): void {
    const name = this.#pick(UNSEALED) ?? "hello";
    const payload = this.#bytes(this.#below(80));
    this.#deliver({ to: "broker", cid: CID, name, payload });
  }

  /** Shakes hands with the broker, with the attacker's own key. */
  #actAsDevice(): void {
    this.#handshake = new NoiseInitiator({
      prologue: sealedPrologue(CID),
      key: ATTACKER_KEY,
      random: (length) => this.#bytes(length),
      responder: BROKER_POINT,
    });
    this.#sayTo(false, encodeSealed("actOne", this.#handshake.actOne));
    if (this.#random() < 0.5) this.#finishAsDevice();
  }

  /** Takes an act two that was published for the end of its own handshake. */
  #finishAsDevice(): void {
    const act = this.rig.server.seen
      .findLast(({ payload }) => payload[0] === SEALED_KINDS.actTwo.id);
    const handshake = this.#handshake;
    if (act === undefined || handshake === null) return;
    this.#handshake = null;
    const heard = handshake.takeActTwo(decodeSealed(act.payload).body);
    if ("failure" in heard) return;
    this.#channel = new SealedChannel(heard.session);
    this.#sayTo(false, encodeSealed("actThree", heard.actThree));
  }

  /** Says something in the session that it has of its own, if it has one. */
  #speakAsDevice(): void {
    const name = this.#pick(["hello", "vls-res", "card"] as const) ?? "hello";
    const record = this.#channel?.seal(name, text("the attacker's own words"));
    for (const payload of record ?? []) this.#sayTo(false, payload);
  }

  /** Answers the device's act one, with the attacker's own key or with luck. */
  #actAsBroker(): void {
    const act = this.rig.server.seen
      .findLast(({ payload }) => payload[0] === SEALED_KINDS.actOne.id);
    if (act === undefined) return;
    const responder = new NoiseResponder({
      prologue: sealedPrologue(CID),
      key: ATTACKER_KEY,
      random: (length) => this.#bytes(length),
    });
    const heard = responder.takeActOne(decodeSealed(act.payload).body);
    const actTwo = "actTwo" in heard
      ? heard.actTwo
      : Uint8Array.of(0, ...ATTACKER_POINT, ...this.#bytes(16));
    this.#sayTo(true, encodeSealed("actTwo", actTwo));
  }
}

/** So that what is secret is long enough to be known again anywhere. */
const PAD = "-- not for the eyes of whoever runs the server";

/** What was for one end, to the other. */
function reflected(packet: Packet | undefined): Packet | undefined {
  if (packet === undefined) return undefined;
  return packet.to === "broker"
    ? { ...packet, to: "device", name: "sealed" }
    : { ...packet, to: "broker", name: "sealed-res" };
}
