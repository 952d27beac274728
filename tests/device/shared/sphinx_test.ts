/**
 * A softkey that speaks plain Sphinx: the recorded session of the Sphinx project's
 * own signer, with the broker's side of it played to ours, and the rules about
 * numbers that the recording has no case of.
 *
 * @module
 */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { NETWORKS } from "../../../src/bitcoin/networks.ts";
import { Secret } from "../../../src/crypto/secret.ts";
import {
  readCardState,
  sharingChange,
} from "../../../src/device/card_state.ts";
import { Desk } from "../../../src/device/desk.ts";
import {
  deriveSharedKeys,
  Sharing,
} from "../../../src/device/shared/sharing.ts";
import {
  type Ending,
  SphinxSession,
} from "../../../src/device/shared/sphinx.ts";
import type { TopicName } from "../../../src/mqtt/topics.ts";
import { createSigner, step } from "../../../src/signer/handle.ts";
import { MemoryDisk } from "../../../src/store/memory.ts";
import { FakeServer } from "./support.ts";
import { REPLIES, REQUESTS } from "../../../src/wire/hsmd.ts";
import {
  encodeFromBroker,
  PUT_CONFLICT,
  PUT_CONFLICT_CONFIRMED,
} from "../../../src/wire/lss.ts";
import { sharedSecret } from "../../../src/wire/lss_mac.ts";
import { decodeMessage, encodeMessage } from "../../../src/wire/message.ts";
import { NOBODY, type NodeId } from "../../../src/wire/types.ts";
import { CHAIN_MESSAGES, SIZED_ADD_BLOCK } from "../../../src/wire/txoo.ts";
import {
  decodeSignerResponse,
  encodeSignerRequest,
  SIGNER_MESSAGES,
} from "../../../src/wire/vls.ts";
import { INIT } from "../../broker/fake.ts";
import { readSignerSession } from "../../support/recording.ts";

/** The seed of the recording. */
const SEED = new Uint8Array(32).fill(1);
const KEYS = deriveSharedKeys({ seed: new Secret(SEED) });
/** The recorded server: its private key is not known, the device's is. */
const SERVER = Uint8Array.fromHex(
  "02466d7fcae563e5cb09a0d1870bb580344804617879a14949cf22285f1bae3f27",
);

interface Said {
  readonly name: TopicName;
  readonly payload: Uint8Array;
}

/** A softkey of the recording's seed, and a storage server for it. */
class Player {
  readonly server = new FakeServer({
    point: SERVER,
    shared: sharedSecret(KEYS.storage.secret, SERVER),
  });
  readonly out: Said[] = [];
  readonly endings: Ending[] = [];
  session: SphinxSession;
  readonly desk: Desk;
  readonly #sharing: Sharing;

  constructor() {
    const id = new Uint8Array(randomBytes(16));
    const store = Object.assign(new MemoryDisk().open(), { id });
    const network = NETWORKS.regtest;
    const sharing = { serverKey: null, isClean: false };
    store.commit([sharingChange(sharing)]);
    const state = readCardState(store, network);
    const { memory, tail, node, standing } = state;
    this.desk = new Desk({
      signer: createSigner({
        secretFile: SEED,
        network,
        isDeveloper: false,
        memory,
        consent: { mode: "always", granted: new Set(), declined: new Set() },
      }),
      step,
      store,
      memory,
      tail,
      node,
      approver: { ask: () => Promise.resolve(true) },
      standing,
      say: () => {},
      now: () => 0,
    });
    this.#sharing = new Sharing({
      keys: KEYS,
      store,
      sharing,
      isRestored: false,
      renew: () => this.desk.renew(readCardState(store, network)),
      say: () => {},
      random: (size) => new Uint8Array(randomBytes(size)),
      now: () => 0,
    });
    this.session = this.hello();
  }

  /** A new connection. */
  hello(): SphinxSession {
    this.session = new SphinxSession({
      desk: this.desk,
      sharing: this.#sharing,
      end: (ending) => this.endings.push(ending),
    });
    return this.session;
  }

  hear(name: TopicName, payload: Uint8Array): void {
    this.session.take(name, payload, (name, payload) => {
      this.out.push({ name, payload });
    });
  }

  /** Hears a message, and carries what is about storage; what else was said. */
  ask(name: TopicName, payload: Uint8Array): readonly Said[] {
    this.hear(name, payload);
    const left: Said[] = [];
    for (;;) {
      const said = this.out.shift();
      if (said === undefined) return left;
      const isStorage = ["init-1-res", "lss-res"].includes(said.name);
      if (!isStorage) left.push(said);
      const answer = isStorage
        ? this.server.answer(said.name, said.payload)
        : null;
      if (answer !== null) this.hear(answer.name, answer.payload);
    }
  }

  /** A new connection, and the dance. */
  helloAgain(): void {
    this.out.length = 0;
    this.hello();
    this.dance();
  }

  dance(): void {
    const { name, payload } = this.server.hello();
    this.ask(name, payload);
  }
}

/** Requests that are answered with other bytes than those recorded, and why. */
const OTHERWISE: ReadonlyMap<number, string> = new Map([
  [11, "init: we speak version 5 and know more messages, VLS of 2023 spoke 4"],
  [1011, "hsmd_init2, of VLS alone: not a request here, answered on error"],
  [2008, "heartbeat: signs the time at which it was asked"],
]);

/** The type of the message in a request frame. */
function typeIn(frame: Uint8Array): number {
  return new DataView(frame.buffer, frame.byteOffset).getUint16(49);
}

interface Compared {
  readonly type: number;
  readonly isSame: boolean;
  readonly said: readonly Said[];
}

/** Plays the broker's side; a broker that is refused says hello anew. */
function playRecording(player: Player): readonly Compared[] {
  const recorded = readSignerSession();
  return recorded.flatMap(({ topic, payload }, i) => {
    if (topic === "init-1-msg") player.ask(topic, payload);
    if (topic !== "vls" && topic !== "init-3-msg") return [];
    const said = player.ask(topic, payload);
    const answer = topic === "vls" ? "vls-res" : "init-3-res";
    const wanted = recorded.slice(i).find((each) => each.topic === answer);
    const isSame = said.length === 1 && said[0]?.name === answer &&
      said[0].payload.toHex() === wanted?.payload.toHex();
    if (said[0]?.name === "error") player.helloAgain();
    return [{ type: typeIn(payload), isSame, said }];
  });
}

Deno.test("the recorded broker is answered byte for byte, but for what has to differ", () => {
  const compared = playRecording(new Player());
  const differing = compared.filter(({ isSame }) => !isSame);
  assert.deepEqual(
    new Set(differing.map(({ type }) => type)),
    new Set(OTHERWISE.keys()),
  );
  const same = compared.filter(({ isSame }) => isSame).map(({ type }) => type);
  assert.equal(same.length, 24);
  // ecdh, derive_secret, sign_message, base keys, point 0, a new channel, a keysend.
  for (const type of [1, 27, 23, 10, 18, 30, 28, 39, 33, 1000, 1012, 2002]) {
    assert.ok(same.includes(type), `type ${type}`);
  }
});

Deno.test("who we are to the storage is what was recorded, but for the nonce", () => {
  const recorded = readSignerSession();
  const find = (name: string) =>
    recorded.find(({ topic }) => topic === name)?.payload ?? new Uint8Array();
  const player = new Player();
  player.hear("init-1-msg", find("init-1-msg"));
  const [answer] = player.out;
  const wanted = find("init-1-res");
  assert.equal(answer?.payload.length, wanted.length);
  const start = wanted.length - 32;
  assert.equal(
    answer?.payload.subarray(0, start).toHex(),
    wanted.subarray(0, start).toHex(),
  );
});

Deno.test("an init reply has no record that a broker of then does not know", () => {
  const [first] = playRecording(new Player());
  const [said] = first?.said ?? [];
  assert.equal(said?.name, "init-3-res");
  const { message } = decodeSignerResponse(said?.payload ?? new Uint8Array());
  const { tlvs, hsmVersion } = decodeMessage(REPLIES.init_reply_v4, message);
  assert.deepEqual(tlvs, {});
  assert.equal(hsmVersion, 5);
});

/** A request frame that is answered without any state. */
function ping(sequence: number, text = "x"): Uint8Array {
  const body = { id: sequence, message: new TextEncoder().encode(text) };
  const message = encodeMessage(SIGNER_MESSAGES.ping, body);
  return encodeSignerRequest({ sequence, peerId: NOBODY, dbid: 0n, message });
}

/** After the dance and init. */
function readyPlayer(): Player {
  const player = new Player();
  player.dance();
  const init = { sequence: 0, peerId: NOBODY, dbid: 0n, message: INIT };
  const said = player.ask("init-3-msg", encodeSignerRequest(init));
  assert.equal(said[0]?.name, "init-3-res");
  return player;
}

Deno.test("any first number; then one more each time, and over the end of 16 bits", () => {
  const player = readyPlayer();
  for (const sequence of [65_534, 65_535, 0, 1]) {
    const [said] = player.ask("vls", ping(sequence));
    assert.equal(said?.name, "vls-res");
  }
  assert.deepEqual(player.endings, []);
});

Deno.test("the last request again, with equal bytes, gets the stored answer", () => {
  const player = readyPlayer();
  const [first] = player.ask("vls", ping(5));
  const [again] = player.ask("vls", ping(5));
  assert.deepEqual(again, first);
  assert.equal(player.ask("vls", ping(6)).length, 1);
});

Deno.test("a gap, an old number, other bytes under the last one: hello from the start", () => {
  for (const [sequence, text] of [[7, "x"], [4, "x"], [5, "y"]] as const) {
    const player = readyPlayer();
    player.ask("vls", ping(5));
    assert.deepEqual(player.ask("vls", ping(sequence, text)), []);
    const [ending] = player.endings;
    assert.equal(ending?.kind, "again");
    // What comes on the connection after that is not heard.
    assert.deepEqual(player.ask("vls", ping(6)), []);
    player.helloAgain();
    assert.equal(player.ask("vls", ping(sequence, text)).length, 1);
  }
});

Deno.test("a repeat while the answer waits for the storage is answered once, when it may leave", () => {
  const player = readyPlayer();
  const frame = newChannel(3);
  player.hear("vls", frame);
  player.hear("vls", frame);
  assert.deepEqual(player.out.map(({ name }) => name), ["lss-res"]);
  const left = player.ask("vls", frame);
  assert.deepEqual(left.map(({ name }) => name), ["vls-res"]);
  assert.equal(player.ask("vls", frame).length, 1);
});

/** A request that changes something. */
function newChannel(sequence: number): Uint8Array {
  const message = encodeMessage(REQUESTS.new_channel, {
    id: PEER,
    dbid: 1n,
  });
  return encodeSignerRequest({ sequence, peerId: NOBODY, dbid: 0n, message });
}

// 33 bytes of the curve: the generator.
const PEER = Uint8Array.fromHex(
  "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
) as NodeId;

Deno.test("a refusal is text and 01 on error, and its number may come again", () => {
  const player = readyPlayer();
  player.ask("vls", ping(5));
  const message = Uint8Array.of(0x27, 0x0f);
  const frame = encodeSignerRequest({
    sequence: 6,
    peerId: NOBODY,
    dbid: 0n,
    message,
  });
  const [said] = player.ask("vls", frame);
  assert.equal(said?.name, "error");
  assert.equal(said?.payload.at(-1), 1);
  assert.match(new TextDecoder().decode(said?.payload), /9999/);
  assert.equal(player.ask("vls", ping(6))[0]?.name, "vls-res");
  assert.deepEqual(player.endings, []);
});

Deno.test("a block's proof is the same with its size before it, as these brokers write it", () => {
  const player = readyPlayer();
  const header = new Uint8Array(80);
  // One attestation, and it is cut.
  const proof = Uint8Array.of(1, 0, 0, 0, 2, 2, 2);
  const [sized, plain] = [SIZED_ADD_BLOCK, CHAIN_MESSAGES.add_block]
    .map((row) => encodeMessage(row, { header, proof }))
    .map((message) => {
      const fields = { sequence: 5, peerId: NOBODY, dbid: 0n, message };
      const [said] = player.ask("vls", encodeSignerRequest(fields));
      assert.equal(said?.name, "error");
      return new TextDecoder().decode(said?.payload);
    });
  assert.equal(sized, plain);
  assert.match(sized ?? "", /attestations\.0/);
});

Deno.test("a conflict is confirmed, then hello from the start; nothing is answered", () => {
  const player = readyPlayer();
  player.hear("vls", newChannel(3));
  player.out.length = 0;
  player.hear("lss-conflict", PUT_CONFLICT);
  assert.deepEqual(player.out.map(({ name }) => name), ["lss-conflict-res"]);
  assert.equal(player.out[0]?.payload.toHex(), PUT_CONFLICT_CONFIRMED.toHex());
  assert.equal(player.endings[0]?.kind, "later");
});

Deno.test("bytes that are no message, and a server that lies, end the connection for a while", () => {
  for (const name of ["vls", "init-2-msg", "lss-msg"] as const) {
    const player = readyPlayer();
    const [said] = player.ask(name, Uint8Array.of(1, 2, 3));
    assert.equal(said?.name, "error");
    assert.equal(player.endings[0]?.kind, "later");
  }
  const player = readyPlayer();
  const [said] = player.ask("init-1-msg", encodeOtherKey());
  assert.equal(said?.name, "error");
  assert.equal(player.endings[0]?.kind, "over");
});

function encodeOtherKey(): Uint8Array {
  return encodeFromBroker({ kind: "Init", value: { serverPubkey: PEER } });
}
