/**
 * Control messages over the sealed link, to a whole softkey.
 *
 * @module
 */

import assert from "node:assert/strict";
import { NETWORKS } from "../../../src/bitcoin/networks.ts";
import { publicKey } from "../../../src/crypto/secp.ts";
import { Secret } from "../../../src/crypto/secret.ts";
import {
  openCardStore,
  pairingChange,
} from "../../../src/device/card_state.ts";
import { OwnerError } from "../../../src/device/owner_error.ts";
import { openSecretFile, parseSecretFile } from "../../../src/keyderiv.ts";
import { deriveControlKey } from "../../../src/keyderiv/control_key.ts";
import { EmbeddedServer } from "../../../src/mqtt/embedded.ts";
import { SealedSessions } from "../../../src/mqtt/sealed_sessions.ts";
import type { DeviceSession, LinkListener } from "../../../src/mqtt/session.ts";
import type { TopicName } from "../../../src/mqtt/topics.ts";
import { decodeCardHead, encodeControl } from "../../../src/wire/control.ts";
import { sealEnvelope } from "../../../src/wire/control_envelope.ts";
import {
  type ControlMessage,
  type ControlResponse,
  decodeControlResponse,
  encodeControlMessage,
} from "../../../src/wire/control_message.ts";
import { NODE, SEED, withCard } from "../../support/card_folder.ts";
import { makeBox, spawnSoftkey } from "../../support/softkey.ts";

const network = NETWORKS.regtest;
const KEY = deriveControlKey(openSecretFile(parseSecretFile(SEED))).secret;
const LINK_KEY = new Secret(new Uint8Array(32).fill(0x21));
const INTRODUCTION = encodeControl({
  // The point of a private key.
  brokerKey: publicKey(LINK_KEY.reveal()) as never,
});

function envelope(message: ControlMessage, nonce: bigint): Uint8Array {
  const payload = encodeControlMessage(message);
  return sealEnvelope({ payload, nonce }, KEY);
}

/** A broker that lets anybody in and passes control messages on. */
class ControlBroker {
  readonly #server: EmbeddedServer;
  readonly #sessions: SealedSessions;
  readonly #met = Promise.withResolvers<DeviceSession>();
  #answered = Promise.withResolvers<ControlResponse>();
  /** What the device said, in order. */
  readonly heard: TopicName[] = [];
  readonly generations: bigint[] = [];
  readonly url: string;

  static async start(): Promise<ControlBroker> {
    let sessions: SealedSessions | null = null;
    const server = await EmbeddedServer.start({
      login: ({ username }) => ({ key: Uint8Array.fromHex(username ?? "") }),
      message: (...heard) => sessions?.message(...heard),
      gone: (session) => sessions?.gone(session),
      refused: () => {},
    });
    const { port } = await server.listenTcp({ hostname: "127.0.0.1", port: 0 });
    const broker = new ControlBroker(server, `mqtt://127.0.0.1:${port}`);
    sessions = broker.#sessions;
    return broker;
  }

  constructor(server: EmbeddedServer, url: string) {
    this.#server = server;
    this.url = url;
    const listener: LinkListener = {
      message: (...heard) => this.#hear(...heard),
      gone: () => {},
      refused: () => {},
    };
    this.#sessions = new SealedSessions({
      link: server,
      listener,
      key: LINK_KEY,
      isShared: false,
      random: (size) => crypto.getRandomValues(new Uint8Array(size)),
    });
  }

  #hear(session: DeviceSession, name: TopicName, payload: Uint8Array): void {
    this.heard.push(name);
    if (name === "hello") {
      this.#sessions.send(session, "control", INTRODUCTION);
      this.#met.resolve(session);
    }
    if (name === "card") {
      this.generations.push(decodeCardHead(payload).generation);
    }
    if (name !== "control-res") return;
    this.#answered.resolve(decodeControlResponse(payload));
  }

  /** What the device answers to an envelope. */
  async ask(bytes: Uint8Array): Promise<ControlResponse> {
    this.#answered = Promise.withResolvers();
    this.#sessions.send(await this.#met.promise, "control", bytes);
    return await this.#answered.promise;
  }

  async stop(): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
  }
}

interface Scene {
  readonly broker: ControlBroker;
  readonly folder: string;
  readonly ended: Promise<Error>;
  stop(): Promise<void>;
}

/** A softkey with a card that has no channels, and its broker. */
async function withSoftkey(use: (scene: Scene) => Promise<void>) {
  await withCard(async ({ around, folder }) => {
    const broker = await ControlBroker.start();
    const { url } = broker;
    const parts = { folder: around, url, secret: SEED, network };
    const box = await makeBox(parts);
    let isStopped = false;
    const stop = async () => {
      if (!isStopped) await box.stop();
      isStopped = true;
    };
    box.start();
    try {
      await use({ broker, folder, ended: box.ended, stop });
    } finally {
      await stop();
      await broker.stop();
    }
  }, { channels: 0 });
}

async function lastNonce({ broker }: Pick<Scene, "broker">): Promise<bigint> {
  const answer = await broker.ask(envelope({ kind: "Nonce" }, 0n));
  assert.ok(answer.kind === "Nonce");
  return answer.value;
}

const namesIn = (folder: string) =>
  [...Deno.readDirSync(folder)].map(({ name }) => name);

Deno.test("a softkey answers its owner over the sealed link, and nobody else", () =>
  withSoftkey(async (scene) => {
    const { broker } = scene;
    const last = await lastNonce(scene);
    const value = [`payee:${NODE}`];
    const update = envelope({ kind: "UpdateAllowlist", value }, last + 1n);
    const updated = { kind: "AllowlistUpdated", value };
    assert.deepEqual(await broker.ask(update), updated);
    const query = envelope({ kind: "QueryAllowlist" }, last + 2n);
    const current = { kind: "AllowlistCurrent", value };
    assert.deepEqual(await broker.ask(query), current);
    const replayed = await broker.ask(update);
    assert.deepEqual(replayed, { kind: "Error", value: "invalid nonce" });
    const forged = await broker.ask(update.with(20, 0));
    assert.ok(forged.kind === "Error");
    // The broker hears where the card stands before it hears the answer.
    assert.equal(broker.heard.filter((name) => name === "card").length, 3);
    assert.ok(
      broker.heard.indexOf("card") < broker.heard.indexOf("control-res"),
    );
    const sorted = broker.generations.toSorted();
    assert.deepEqual(broker.generations, sorted);
  }));

Deno.test("ResetWifi is answered, and then the softkey ends", () =>
  withSoftkey(async (scene) => {
    const last = await lastNonce(scene);
    const reset = envelope({ kind: "ResetWifi" }, last + 1n);
    assert.deepEqual(await scene.broker.ask(reset), { kind: "ResetWifi" });
    const ending = await scene.ended;
    assert.ok(ending instanceof OwnerError);
    assert.equal(ending.missing, "consent");
  }));

Deno.test("a softkey that runs erases its card when it is told to, and ends", () =>
  withCard(async ({ around, folder, keyFile }) => {
    const broker = await ControlBroker.start();
    const store = openCardStore(folder);
    const brokerKey = publicKey(LINK_KEY.reveal());
    const { url } = broker;
    const pairing = { brokerKey, url, pairedAt: 1n, certHash: null };
    store.commit([pairingChange(pairing)]);
    store.close();
    const softkey = spawnSoftkey(
      "run",
      "--card",
      folder,
      "--key-file",
      keyFile,
    );
    try {
      const last = await lastNonce({ broker });
      const reset = envelope({ kind: "ResetAll" }, last + 1n);
      assert.deepEqual(await broker.ask(reset), { kind: "ResetAll" });
      const { code, err } = await softkey.result;
      assert.equal(code, 3);
      assert.match(err, /control message erased the seed of this card/);
      assert.deepEqual(namesIn(around), ["key"]);
    } finally {
      await broker.stop();
    }
  }, { channels: 0 }));

Deno.test("ResetAll is answered, and nothing of the card is left when it ends", () =>
  withSoftkey(async (scene) => {
    const last = await lastNonce(scene);
    const reset = envelope({ kind: "ResetAll" }, last + 1n);
    assert.deepEqual(await scene.broker.ask(reset), { kind: "ResetAll" });
    const ending = await scene.ended;
    assert.ok(ending instanceof OwnerError);
    assert.equal(ending.missing, "seed");
    assert.ok(!namesIn(scene.folder).includes("seed.sealed"));
    await scene.stop();
    assert.throws(() => namesIn(scene.folder), Deno.errors.NotFound);
  }));
