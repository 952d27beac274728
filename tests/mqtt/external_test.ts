/**
 * The broker on a server where anybody may say anything.
 *
 * The server is a bare aedes inside the test, so that it can be as bad as it
 * likes; `mosquitto_test.ts` has a real one.
 *
 * @module
 */

import assert from "node:assert/strict";
import net from "node:net";
import { Aedes } from "aedes";
import { publicKey } from "../../src/crypto/secp.ts";
import { topicPrefix } from "../../src/mqtt/access.ts";
import { brokerClientId, OF_ALL, OF_ONE } from "../../src/mqtt/external.ts";
import { TOPICS } from "../../src/mqtt/topics.ts";
import { Guest, NotedExternal } from "./external_parts.ts";

/** A server that lets anybody do anything, and notes who subscribes to what. */
class OpenServer implements AsyncDisposable {
  readonly subscriptions: string[] = [];
  readonly aedes: Aedes;
  readonly #sockets = new Set<net.Socket>();
  readonly #listener: net.Server;
  /** What is answered to a subscription. */
  mayReceive = true;

  private constructor() {
    this.aedes = new Aedes({
      authorizeSubscribe: (_client, subscription, done) => {
        this.subscriptions.push(subscription.topic);
        done(null, this.mayReceive ? subscription : null);
      },
    });
    this.#listener = net.createServer((socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => {}); // a test ends connections as it likes
      this.aedes.handle(socket);
    });
  }

  static async start(): Promise<OpenServer> {
    const server = new OpenServer();
    await server.aedes.listen();
    await new Promise<void>((resolve) =>
      server.#listener.listen(0, "127.0.0.1", resolve)
    );
    return server;
  }

  get url(): string {
    const address = this.#listener.address();
    const port = typeof address === "object" ? address?.port : 0;
    return `mqtt://127.0.0.1:${port}`;
  }

  /** Ends all connections; new ones are welcome. */
  hangUp(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.aedes.close(() => resolve()));
    this.hangUp();
    await new Promise<void>((resolve) => this.#listener.close(() => resolve()));
  }
}

/** A broker and a stranger on an open server. */
async function meeting(prefix = "") {
  const server = await OpenServer.start();
  const url = `${server.url}/${prefix}`;
  const broker = new NotedExternal(url);
  await broker.nextOf("connected");
  const guest = await Guest.connect(server.url, "guest");
  return {
    server,
    broker,
    guest,
    async [Symbol.asyncDispose]() {
      await guest[Symbol.asyncDispose]();
      await broker[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

Deno.test("Topics of devices are all subscribed to, and no other", () => {
  const all = Object.entries(TOPICS)
    .filter(([, direction]) => direction === "fromDevice")
    .map(([name]) => name);
  assert.deepEqual([...OF_ALL, ...OF_ONE].sort(), all.sort());
});

Deno.test("The path of an mqtt URL goes before every topic", () => {
  const rows = [
    ["mqtt://host", ""],
    ["mqtt://host:1/", ""],
    ["mqtts://host/a", "a/"],
    ["mqtt://host/a/b%20c/", "a/b c/"],
    ["ws://host/mqtt", ""],
    ["wss://host/a/b", ""],
  ] as const;
  for (const [url, prefix] of rows) assert.equal(topicPrefix(url), prefix);
});

Deno.test("Each broker has a client id of its own", () => {
  const ids = [1, 2, 3].map((seed) =>
    brokerClientId(publicKey(new Uint8Array(32).fill(seed)))
  );
  assert.equal(new Set(ids).size, ids.length);
  for (const id of ids) assert.match(id, /^remotehsmd[0-9a-f]{13}$/);
});

Deno.test("Two brokers on one server leave each other alone", async () => {
  await using meet = await meeting();
  await using other = new NotedExternal(meet.server.url, { seed: 8 });
  await other.nextOf("connected");
  meet.guest.publish("dev/hello", "to both");
  await meet.broker.nextOf("message");
  await other.nextOf("message");
  assert.deepEqual(
    meet.broker.heard.filter(({ kind }) => kind === "disconnected"),
    [],
  );
});

Deno.test("Nothing but topics of devices is subscribed to", async () => {
  await using meet = await meeting("pre/fix");
  const { broker, guest, server } = meet;
  assert.deepEqual(server.subscriptions, [
    "pre/fix/+/hello",
    "pre/fix/+/sealed-res",
  ]);
  guest.publish("pre/fix/aa/sealed-res", "sealed");
  await broker.nextOf("message");
  guest.publish("pre/fix/bb/hello", "open");
  await broker.nextOf("message");
  guest.publish("pre/fix/bb/vls-res", "answer");
  await broker.nextOf("message");
  assert.deepEqual(
    server.subscriptions.slice(2),
    OF_ONE.map((name) => `pre/fix/bb/${name}`),
  );
});

Deno.test("Words under another prefix, to devices or of odd client ids are not heard", async () => {
  await using meet = await meeting("pre");
  const { broker, guest } = meet;
  for (
    const topic of [
      "aa/hello",
      "other/aa/hello",
      "pre/aa/vls",
      "pre/aa/sealed",
      "pre/console/hello",
      "pre/localclient/hello",
      `pre/${"a".repeat(129)}/hello`,
      "pre//hello",
      "pre/hello",
      "pre/aa/bb/hello",
    ]
  ) guest.publish(topic, "no");
  guest.publish("pre/aa/hello", "yes");
  assert.equal((await broker.nextOf("message")).payload, "yes");
});

Deno.test("A retained hello is not heard", async () => {
  await using server = await OpenServer.start();
  await using guest = await Guest.connect(server.url, "guest");
  guest.publish("aa/hello", "of last year", true);
  await guest.subscribe("aa/hello");
  await guest.next(); // it is there
  await using broker = new NotedExternal(server.url);
  await broker.nextOf("connected");
  guest.publish("aa/hello", "of now");
  assert.equal((await broker.nextOf("message")).payload, "of now");
});

Deno.test("A second hello begins a second session, and bye ends it", async () => {
  await using meet = await meeting();
  const { broker, guest } = meet;
  guest.publish("aa/hello", "1");
  const first = (await broker.nextOf("message")).session;
  guest.publish("aa/hello", "2");
  assert.equal((await broker.nextOf("gone")).session, first);
  const second = (await broker.nextOf("message")).session;
  assert.notEqual(second, first);
  assert.ok(!broker.server.send(first, "vls", new Uint8Array(1)));
  assert.ok(broker.server.send(second, "vls", new Uint8Array(1)));
  guest.publish("aa/bye", "");
  assert.equal((await broker.nextOf("gone")).session, second);
  assert.ok(!broker.server.send(second, "vls", new Uint8Array(1)));
});

Deno.test("A hello or bye that anybody can write does not end what is sealed", async () => {
  await using meet = await meeting();
  const { broker, guest } = meet;
  guest.publish("aa/sealed-res", "1");
  const { session } = await broker.nextOf("message");
  for (const name of ["hello", "bye", "sealed-res"]) {
    guest.publish(`aa/${name}`, name);
    const heard = await broker.next();
    assert.equal(heard.kind, "message", name);
    assert.equal("session" in heard && heard.session, session);
  }
});

Deno.test("A seal that anybody can write does not end a session that is trusted", async () => {
  await using meet = await meeting();
  const { broker, guest } = meet;
  guest.publish("aa/hello", "1");
  const first = (await broker.nextOf("message")).session;
  guest.publish("aa/sealed-res", "before");
  assert.equal((await broker.nextOf("gone")).session, first);
  await broker.nextOf("message");
  guest.publish("bb/hello", "1");
  const { session } = await broker.nextOf("message");
  broker.server.trust(session);
  guest.publish("bb/sealed-res", "after");
  const heard = await broker.next();
  assert.equal("session" in heard && heard.session, session);
});

Deno.test("More client ids than there is room for put out strangers, the oldest first", async () => {
  await using meet = await meeting();
  const { broker, guest } = meet;
  guest.publish("trusted/sealed-res", "");
  const { session } = await broker.nextOf("message");
  broker.server.trust(session);
  for (let i = 0; i < 300; i++) guest.publish(`d${i}/sealed-res`, "");
  const gone: string[] = [];
  for (let heard = 0; heard < 300;) {
    const next = await broker.next();
    if (next.kind === "gone") gone.push(next.session.cid);
    if (next.kind === "message") heard += 1;
  }
  assert.deepEqual(gone, Array.from({ length: 45 }, (_, i) => `d${i}`));
  assert.ok(broker.server.send(session, "sealed", new Uint8Array(1)));
});

Deno.test("A session that was dropped is gone, after the call", async () => {
  await using meet = await meeting();
  const { broker, guest } = meet;
  guest.publish("aa/sealed-res", "");
  const { session } = await broker.nextOf("message");
  broker.server.drop(session);
  broker.server.drop(session);
  assert.equal(broker.heard.at(-1)?.kind, "message");
  assert.equal((await broker.nextOf("gone")).session, session);
  guest.publish("aa/sealed-res", "");
  assert.notEqual((await broker.nextOf("message")).session, session);
  const endings = broker.heard.filter(({ kind }) => kind === "gone");
  assert.equal(endings.length, 1);
});

Deno.test("Who is greeted is told to shake hands anew, at each connection", async () => {
  await using server = await OpenServer.start();
  await using guest = await Guest.connect(server.url, "aa");
  await guest.subscribe("aa/sealed", "bb/sealed", "cc/sealed");
  const greeting = async () => {
    const { topic, payload } = await guest.next();
    assert.deepEqual([...payload], [5]);
    return topic;
  };
  await using broker = new NotedExternal(server.url);
  broker.server.greet(["aa", "bb"]);
  assert.equal(await greeting(), "aa/sealed");
  assert.equal(await greeting(), "bb/sealed");
  await broker.nextOf("connected");
  guest.publish("aa/sealed-res", "a session");
  await broker.nextOf("message");
  broker.server.greet(["aa", "cc"]);
  assert.equal(await greeting(), "cc/sealed", "and not aa, which we hear");
});

Deno.test("All sessions are gone with the connection, which comes back", async () => {
  await using meet = await meeting();
  const { broker, guest, server } = meet;
  const cids = ["aa", "bb", "cc"];
  for (const cid of cids) guest.publish(`${cid}/sealed-res`, "");
  for (const _ of cids) await broker.nextOf("message");
  server.hangUp();
  for (const cid of cids) {
    assert.equal((await broker.nextOf("gone")).session.cid, cid);
  }
  await broker.nextOf("disconnected");
  await broker.nextOf("connected");
});

Deno.test("A server that does not let us subscribe says so, once", async () => {
  await using server = await OpenServer.start();
  server.mayReceive = false;
  await using broker = new NotedExternal(server.url);
  const { reason } = await broker.nextOf("disconnected");
  assert.equal(
    reason,
    "it refuses a subscription to +/hello and +/sealed-res",
  );
  while (server.subscriptions.length < 6) {
    await new Promise<void>((resolve) =>
      server.aedes.once("clientDisconnect", () => resolve())
    );
  }
  server.mayReceive = true;
  await broker.nextOf("connected");
  const told = broker.heard.filter(({ kind }) => kind === "disconnected");
  assert.equal(told.length, 1);
});

Deno.test("Nobody at the other end is said in plain words", async () => {
  const { url } = await (async () => {
    await using server = await OpenServer.start();
    return { url: server.url };
  })();
  await using broker = new NotedExternal(url);
  const { reason } = await broker.nextOf("disconnected");
  assert.equal(reason, "nobody listens there");
});

Deno.test("Disposing ends all sessions and is told to nobody else", async () => {
  await using server = await OpenServer.start();
  const broker = new NotedExternal(server.url);
  await broker.nextOf("connected");
  await using guest = await Guest.connect(server.url, "guest");
  guest.publish("aa/sealed-res", "");
  await broker.nextOf("message");
  await broker[Symbol.asyncDispose]();
  assert.equal(broker.heard.at(-1)?.kind, "gone");
  const silent = new NotedExternal(server.url);
  await silent[Symbol.asyncDispose]();
});
