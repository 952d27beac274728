/**
 * The recorded session of a Sphinx signer through the whole broker, over MQTT:
 * the device says what it said, lightningd asks what it asked, and every byte in
 * between is compared.
 *
 * What lightningd of the recording sent on `vls` and ours sends elsewhere, or
 * what is no lightningd's to ask, is left out: init twice, pings, questions
 * about the chain. So the numbers of the frames are our own: 0 and rising by 1.
 *
 * @module
 */

import assert from "node:assert/strict";
import mqtt, { type MqttClient } from "mqtt";
import type { Storage } from "../../src/broker/storage.ts";
import { openSqliteStorage } from "../../src/broker/storage/sqlite.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { deriveNodeKeys } from "../../src/keyderiv/node.ts";
import { deriveStorageKey } from "../../src/keyderiv/storage_key.ts";
import { makeToken } from "../../src/mqtt/auth.ts";
import { DEVICE_SUBSCRIPTIONS } from "../../src/mqtt/topics.ts";
import type { Broker } from "../../src/broker.ts";
import type { Answer } from "../../src/unixfd.ts";
import { REPLIES, requestRow, REQUESTS } from "../../src/wire/hsmd.ts";
import {
  decodeFromBroker,
  encodeFromDevice,
  type LssEntry,
} from "../../src/wire/lss.ts";
import { sharedSecret } from "../../src/wire/lss_mac.ts";
import {
  decodeMessage,
  encodeMessage,
  messageType,
} from "../../src/wire/message.ts";
import {
  decodeSignerRequest,
  decodeSignerResponse,
  encodeSignerRequest,
  encodeSignerResponse,
  type SignerRequest,
} from "../../src/wire/vls.ts";
import { type RunningBrokerNode, startNode } from "../support/node.ts";
import { readSignerSession, type SessionEvent } from "../support/recording.ts";
import {
  bytes32,
  entryOf,
  show,
  StorageClient,
  withFolder,
} from "../support/storage.ts";

const SEED = new Secret(bytes32(1));
const SERVER_KEY = Uint8Array.fromHex(
  "02466d7fcae563e5cb09a0d1870bb580344804617879a14949cf22285f1bae3f27",
);
const SHARED = sharedSecret(deriveStorageKey(SEED).secret, SERVER_KEY);
const CID = "paho-cca866cc73ba9643bb060e45b330af9a";

/** A request of lightningd's, and all that it led to. */
interface Exchange {
  readonly request: SignerRequest;
  /** What the device had stored, and what it was told then. */
  readonly stored:
    | { readonly put: Uint8Array; readonly told: Uint8Array }
    | null;
  readonly reply: Uint8Array;
}

/** What lightningd asks of a device by way of the broker. */
const ASKED: readonly number[] = [
  REQUESTS.ecdh_req,
  REQUESTS.derive_secret,
  REQUESTS.sign_message,
  REQUESTS.new_channel,
  REQUESTS.get_channel_basepoints,
  REQUESTS.get_per_commitment_point,
  REQUESTS.preapprove_keysend,
].map(({ type }) => type);

function exchangesIn(events: readonly SessionEvent[]): Exchange[] {
  const starts = events.flatMap(({ topic }, i) => topic === "vls" ? [i] : []);
  return starts.flatMap((start, i) => {
    const part = events.slice(start, starts[i + 1]);
    const find = (topic: string) =>
      part.find((event) => event.topic === topic)?.payload;
    const request = decodeSignerRequest(find("vls") ?? new Uint8Array());
    if (!ASKED.includes(messageType(request.message) ?? -1)) return [];
    const [put, told] = [find("lss-res"), find("lss-msg")];
    const stored = put && told ? { put, told } : null;
    return [{ request, stored, reply: find("vls-res") ?? new Uint8Array() }];
  });
}

function recorded(events: readonly SessionEvent[], topic: string): Uint8Array {
  const event = events.find((event) => event.topic === topic);
  assert.ok(event !== undefined, topic);
  return event.payload;
}

/** A device's end of MQTT: what comes, in order. */
class Link implements AsyncDisposable {
  readonly #client: MqttClient;
  readonly #cid: string;
  readonly #came: (readonly [string, Uint8Array])[] = [];
  readonly #waiting: ((came: readonly [string, Uint8Array]) => void)[] = [];

  private constructor(client: MqttClient, cid: string) {
    this.#client = client;
    this.#cid = cid;
    client.on("message", (topic, payload) => {
      const came = [topic, new Uint8Array(payload)] as const;
      const waiting = this.#waiting.shift();
      if (waiting === undefined) this.#came.push(came);
      else waiting(came);
    });
  }

  /** As the original does: fresh token, no session, all topics before hello. */
  static async open(url: string, cid: string = CID): Promise<Link> {
    const { node } = deriveNodeKeys({ kind: "plain", seed: SEED });
    const now = Math.floor(Date.now() / 1000);
    const client = await mqtt.connectAsync(url, {
      clientId: cid,
      protocolVersion: 4,
      clean: true,
      reconnectPeriod: 0,
      username: node.point.toHex(),
      password: makeToken(node.secret.reveal(), now),
    });
    const link = new Link(client, cid);
    const topics = DEVICE_SUBSCRIPTIONS.map((name) => `${cid}/${name}`);
    await client.subscribeAsync(topics, { qos: 0 });
    return link;
  }

  async say(name: string, payload: Uint8Array): Promise<void> {
    await this.#client.publishAsync(
      `${this.#cid}/${name}`,
      Buffer.from(payload),
    );
  }

  /** The next message, which must have this name. */
  async hear(name: string): Promise<Uint8Array> {
    const [topic, payload] = this.#came.shift() ??
      await new Promise<readonly [string, Uint8Array]>((resolve) =>
        this.#waiting.push(resolve)
      );
    assert.equal(topic, `${this.#cid}/${name}`);
    return payload;
  }

  /** Nothing is left that came. */
  get isQuiet(): boolean {
    return this.#came.length === 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.endAsync(true);
  }
}

function ask(
  broker: Broker,
  { message, peerId, dbid }: SignerRequest,
): Promise<Answer> {
  const row = requestRow(messageType(message) ?? -1);
  assert.ok(row !== undefined);
  const isMaster = dbid === 0n;
  return broker.ask({
    requester: {
      peerId,
      dbid,
      permissions: isMaster ? 1027n : 447n,
      isMaster,
    },
    row,
    message,
    signal: new AbortController().signal,
  });
}

/** Runs with a node whose storage is the recorded one, and its device's link. */
function withNode(
  message: Uint8Array,
  run: (parts: {
    readonly node: RunningBrokerNode;
    readonly link: Link;
    readonly storage: Storage;
  }) => Promise<void>,
): Promise<void> {
  return withFolder(async (places) => {
    const identity = { publicKey: SERVER_KEY, sharedWith: () => SHARED };
    const storage = openSqliteStorage(places, { identity });
    const folder = places.database.replace(/\/[^/]*$/, "");
    await using node = await startNode({ folder, message, storage });
    await using link = await Link.open(node.url);
    await run({ node, link, storage });
    storage.close();
  });
}

/** The dance as it was recorded, up to init. */
async function dance(
  link: Link,
  events: readonly SessionEvent[],
): Promise<void> {
  const hear = async (topic: string) => {
    const found = await link.hear(topic);
    assert.equal(found.toHex(), recorded(events, topic).toHex(), topic);
  };
  await link.say("hello", recorded(events, "hello"));
  await hear("init-1-msg");
  await link.say("init-1-res", recorded(events, "init-1-res"));
  await hear("init-2-msg");
  await link.say("init-2-res", recorded(events, "init-2-res"));
  await hear("init-3-msg");
  await link.say("init-3-res", recorded(events, "init-3-res"));
}

const EVENTS = readSignerSession();
/** lightningd's init, as it was recorded. */
const { message: INIT } = decodeSignerRequest(recorded(EVENTS, "init-3-msg"));
const { message: INIT_REPLY } = decodeSignerResponse(
  recorded(EVENTS, "init-3-res"),
);

Deno.test("a recorded Sphinx signer works with the whole broker, byte for byte", () =>
  withNode(INIT, async ({ node, link, storage }) => {
    const exchanges = exchangesIn(EVENTS);
    assert.equal(exchanges.length, 14);
    const init = node.init();
    await dance(link, EVENTS);
    assert.deepEqual(await init, { kind: "reply", message: INIT_REPLY });
    for (const [sequence, { request, stored, reply }] of exchanges.entries()) {
      const answered = ask(node.broker, request);
      const frame = await link.hear("vls");
      const wanted = encodeSignerRequest({ ...request, sequence });
      assert.equal(frame.toHex(), wanted.toHex());
      if (stored !== null) {
        await link.say("lss-res", stored.put);
        const told = await link.hear("lss-msg");
        assert.equal(told.toHex(), stored.told.toHex());
      }
      const { message } = decodeSignerResponse(reply);
      await link.say("vls-res", encodeSignerResponse({ sequence, message }));
      assert.deepEqual(await answered, { kind: "reply", message });
    }
    assert.ok(link.isQuiet);
    assert.equal(storage.revision, 5);
  }));

Deno.test("a lightningd that is too new for it is told so in plain words", () => {
  const init = encodeMessage(REQUESTS.init, {
    ...decodeMessage(REQUESTS.init, INIT),
    hsmWireMinVersion: 5,
    hsmWireMaxVersion: 6,
  });
  return withNode(init, async ({ node, link }) => {
    const answering = node.init();
    await link.say("hello", new Uint8Array());
    await link.hear("init-1-msg");
    await link.say("init-1-res", recorded(EVENTS, "init-1-res"));
    await link.hear("init-2-msg");
    await link.say("init-2-res", recorded(EVENTS, "init-2-res"));
    const { message } = decodeSignerRequest(await link.hear("init-3-msg"));
    // It would end itself at 5.
    assert.equal(decodeMessage(REQUESTS.init, message).hsmWireMinVersion, 4);
    await link.say("init-3-res", recorded(EVENTS, "init-3-res"));
    const answer = await answering;
    assert.ok(answer.kind === "reply");
    const { errorMessage } = decodeMessage(
      REPLIES.init_reply_failure,
      answer.message,
    );
    assert.match(
      new TextDecoder().decode(errorMessage),
      /wants hsmd version 5 to 6, device .* speaks at most 4: use lightningd/,
    );
  });
});

/** What a device with a storage client says on init-2-res or lss-res. */
function changesOf(
  kind: "Created" | "VlsMuts",
  client: StorageClient,
  muts: readonly LssEntry[],
): Uint8Array {
  const value = { clientHmac: client.sign(muts), muts };
  return encodeFromDevice({ kind, value });
}

/** Hello, the dance and init of a signer that just started. */
async function start(
  link: Link,
  client: StorageClient,
): Promise<readonly string[]> {
  await link.say("hello", new Uint8Array());
  await link.hear("init-1-msg");
  const { clientId, token: authToken } = client.auth;
  const nonce = bytes32(5);
  const value = { clientId, authToken, nonce };
  await link.say("init-1-res", encodeFromDevice({ kind: "Init", value }));
  const created = decodeFromBroker(await link.hear("init-2-msg"));
  assert.ok(created.kind === "Created");
  await link.say("init-2-res", changesOf("Created", client, []));
  await link.hear("init-3-msg");
  await link.say(
    "init-3-res",
    encodeSignerResponse({ sequence: 0, message: INIT_REPLY }),
  );
  return created.value.muts.map(show);
}

Deno.test("in a conflict the signer restarts, and the request is asked again", () =>
  withNode(INIT, async ({ node, link, storage }) => {
    const client = new StorageClient(SERVER_KEY, bytes32(1));
    const init = node.init();
    assert.deepEqual(await start(link, client), []);
    await init;
    const [exchange] = exchangesIn(EVENTS);
    assert.ok(exchange !== undefined);
    const answered = ask(node.broker, exchange.request);
    const first = await link.hear("vls");
    await client.put(storage, [entryOf("a", 0, "another's")]);
    const change = [entryOf("a", 0, "mine")];
    await link.say("lss-res", changesOf("VlsMuts", client, change));
    await link.hear("lss-conflict");
    await link.say(
      "lss-conflict-res",
      encodeFromDevice({ kind: "PutConflictConfirmed" }),
    );
    assert.deepEqual(await start(link, client), ["a 0 another's"]);
    assert.equal((await link.hear("vls")).toHex(), first.toHex());
    const again = [entryOf("a", 1, "mine")];
    await link.say("lss-res", changesOf("VlsMuts", client, again));
    await link.hear("lss-msg");
    const { message } = decodeSignerResponse(exchange.reply);
    await link.say("vls-res", encodeSignerResponse({ sequence: 0, message }));
    assert.deepEqual(await answered, { kind: "reply", message });
    assert.deepEqual(await client.read(storage), ["a 1 mine"]);
    assert.ok(link.isQuiet);
    assert.ok(node.log.some((line) => /out of step: it writes/.test(line)));
  }));

Deno.test("a signer that begins anew and leaves is followed by another one", () =>
  withNode(INIT, async ({ node, link }) => {
    const client = new StorageClient(SERVER_KEY, bytes32(1));
    const init = node.init();
    await start(link, client);
    await init;
    const [exchange] = exchangesIn(EVENTS);
    assert.ok(exchange !== undefined);
    const { message } = decodeSignerResponse(exchange.reply);
    const serve = async (link: Link) => {
      const { sequence } = decodeSignerRequest(await link.hear("vls"));
      await link.say("vls-res", encodeSignerResponse({ sequence, message }));
    };
    const first = ask(node.broker, exchange.request);
    await serve(link);
    await first;
    await using warm = await Link.open(node.url, "warm");
    await start(warm, client);
    await link.say("hello", new Uint8Array());
    await link.hear("init-1-msg");
    await link[Symbol.asyncDispose]();
    const second = ask(node.broker, exchange.request);
    const { devices } = node.broker.snapshot();
    assert.doesNotMatch(devices.map(({ why }) => why).join(), /own card alone/);
    await serve(warm);
    assert.deepEqual(await second, { kind: "reply", message });
  }));

Deno.test("vls-mqtt that kept running while its link broke is made to restart", () =>
  withNode(INIT, async ({ node, link }) => {
    const client = new StorageClient(SERVER_KEY, bytes32(1));
    const init = node.init();
    await start(link, client);
    await init;
    await link[Symbol.asyncDispose]();
    const [exchange] = exchangesIn(EVENTS);
    assert.ok(exchange !== undefined);
    const answered = ask(node.broker, exchange.request);
    await using again = await Link.open(node.url);
    await again.say("hello", new Uint8Array());
    await again.hear("init-1-msg");
    const { clientId, token: authToken } = client.auth;
    const value = { clientId, authToken, nonce: null };
    await again.say("init-1-res", encodeFromDevice({ kind: "Init", value }));
    await again.hear("init-2-msg");
    const nothing = { clientHmac: new Uint8Array(32), muts: [] };
    await again.say(
      "init-2-res",
      encodeFromDevice({ kind: "Created", value: nothing }),
    );
    await again.hear("init-3-msg");
    await again.say(
      "error",
      new TextEncoder().encode("could not read map length"),
    );
    // It answers the first, which is to be nothing to anybody; then it ends.
    const { sequence } = decodeSignerRequest(await again.hear("vls"));
    const pong = Uint8Array.fromHex("044c0000706f6e6700");
    await again.say(
      "vls-res",
      encodeSignerResponse({ sequence, message: pong }),
    );
    const gap = decodeSignerRequest(await again.hear("vls"));
    assert.notEqual(gap.sequence, (sequence + 1) % 0x10000);
    await again[Symbol.asyncDispose]();
    await using fresh = await Link.open(node.url, "fresh");
    await start(fresh, client);
    const asked = decodeSignerRequest(await fresh.hear("vls"));
    const { message } = decodeSignerResponse(exchange.reply);
    await fresh.say(
      "vls-res",
      encodeSignerResponse({ sequence: asked.sequence, message }),
    );
    assert.deepEqual(await answered, { kind: "reply", message });
  }));
