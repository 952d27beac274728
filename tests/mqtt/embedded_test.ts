/**
 * The MQTT server against clients of every kind, most of them bad.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  connect,
  type ConnectFields,
  countNoDelay,
  NotedServer,
  packet,
  publish,
  RawClient,
  remainingLength,
  subscribe,
} from "./raw.ts";

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}

const CONNACK = 0x20;
const SUBACK = 0x90;
const PUBACK = 0x40;
const REFUSED = 0x80;

test("A login that is none is answered with 5, or closed", async () => {
  await using server = await NotedServer.start();
  for (const password of ["", "x".repeat(92), "short"]) {
    using client = await RawClient.open(server.port);
    await client.send(connect({ password }));
    const answer = await client.read();
    assert.equal(answer?.first, CONNACK);
    assert.equal(answer?.body[1], 5);
    assert.equal(await client.read(), null);
  }
  await server.happened("refused");
});

const BAD_CONNECTS: readonly (readonly [string, ConnectFields])[] = [
  ["protocol level 3", { level: 3, name: "MQIsdp" }],
  ["protocol level 5", { level: 5 }],
  ["a keep alive of 0", { keepalive: 0 }],
  ["an empty client id", { cid: "" }],
  ["the reserved client id localclient", { cid: "localclient" }],
  ["the reserved client id console", { cid: "console" }],
  ["a client id with +", { cid: "a+" }],
  ["a client id with #", { cid: "#" }],
  ["a client id with $", { cid: "$SYS" }],
  ["a client id with /", { cid: "aa/vls" }],
  ["a client id of 200 characters", { cid: "a".repeat(200) }],
];

for (const [what, fields] of BAD_CONNECTS) {
  test(`A CONNECT with ${what} is refused`, async () => {
    await using server = await NotedServer.start();
    using client = await RawClient.open(server.port);
    await client.send(connect(fields));
    for (;;) {
      const answer = await client.read();
      if (answer === null) break;
      assert.notEqual(answer.body[1], 0, "a CONNACK says no");
    }
    assert.ok(!server.happenings.some(({ kind }) => kind === "login"));
    await server.happened("refused");
  });
}

test("A subscription to anything but its own topics is refused", async () => {
  await using server = await NotedServer.start();
  using client = await RawClient.login(server.port);
  for (
    const filter of [
      "#",
      "+/vls",
      "bb/vls",
      "aa/#",
      "aa/+",
      "aa/vls-res",
      "aa/hello",
      "aa/unknown",
      "$SYS/#",
    ]
  ) {
    await client.send(subscribe(filter));
    const answer = await client.read();
    assert.equal(answer?.first, SUBACK, filter);
    assert.equal(answer?.body[2], REFUSED, filter);
  }
  await client.send(subscribe("aa/vls"));
  assert.equal((await client.read())?.body[2], 0);
});

test("A subscription of QoS 2 is refused", async () => {
  await using server = await NotedServer.start();
  using client = await RawClient.login(server.port);
  await client.send(subscribe("aa/vls", 2));
  assert.equal((await client.read())?.body[2], REFUSED);
});

test("Publishing where a device may not ends its connection, unheard", async () => {
  await using server = await NotedServer.start();
  for (
    const bad of [
      publish("bb/vls-res", "x"),
      publish("aa/vls", "x"),
      publish("aa/init-3-msg", "x"),
      publish("aa/unknown", "x"),
      publish("hello", "x"),
      publish("$SYS/x", "x"),
      publish("aa/vls-res", "x", { qos: 2 }),
    ]
  ) {
    using client = await RawClient.login(server.port);
    await client.send(bad);
    while (await client.read() !== null);
  }
  assert.ok(!server.happenings.some(({ kind }) => kind === "message"));
});

test("Publishing with QoS 1 is acknowledged and heard once", async () => {
  await using server = await NotedServer.start();
  using client = await RawClient.login(server.port);
  await client.send(publish("aa/vls-res", "x", { qos: 1 }));
  assert.equal((await client.read())?.first, PUBACK);
  const heard = server.happenings.filter(({ kind }) => kind === "message");
  assert.equal(heard.length, 1);
});

test("A will is not delivered, and nothing is retained", async () => {
  await using server = await NotedServer.start();
  {
    using client = await RawClient.login(server.port, {
      will: { topic: "aa/bye", message: "will" },
    });
    await client.send(publish("aa/error", "kept?", { retain: true }));
    await server.happened("message");
  }
  await server.happened("gone");
  const { client, session } = await server.device("aa");
  using _client = client;
  // What comes first after the login is this, and no retained message.
  server.server.send(session, "vls", new TextEncoder().encode("first"));
  const answer = await client.read();
  assert.equal(answer?.first, 0x30, "a PUBLISH that is not retained");
  assert.ok(new TextDecoder().decode(answer?.body).endsWith("first"));
  const heard = server.happenings.flatMap((happening) =>
    happening.kind === "message" ? [happening.payload] : []
  );
  assert.equal(heard[0], "kept?");
  assert.ok(!heard.includes("will"));
});

test("A long packet before login, and one beyond all measure after it, end the connection", async () => {
  await using server = await NotedServer.start();
  {
    using client = await RawClient.open(server.port);
    await client.send(Uint8Array.of(0x10, ...remainingLength(5_000)));
    assert.equal(await client.read(), null);
  }
  {
    using client = await RawClient.open(server.port);
    await client.send(Uint8Array.of(0x10, 0xff, 0xff, 0xff, 0xff, 0xff));
    assert.equal(await client.read(), null);
  }
  using client = await RawClient.login(server.port);
  await client.send(Uint8Array.of(0x30, ...remainingLength(2 ** 28 - 1)));
  assert.equal(await client.read(), null);
});

test("Bytes that are no MQTT end the connection and nothing else", async () => {
  await using server = await NotedServer.start();
  const { client, session } = await server.device("aa");
  using _client = client;
  const garbage = [
    new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"),
    packet(0xf0, [1, 2, 3]),
    packet(0x30, []),
    packet(0x10, [0, 200, 1]),
    publish("aa/hello", "before CONNECT"),
  ];
  for (const bytes of garbage) {
    using other = await RawClient.open(server.port);
    await other.send(bytes);
    assert.equal(await other.read(), null);
  }
  assert.ok(server.server.send(session, "vls", new Uint8Array(3)));
  assert.equal((await client.read())?.first, 0x30);
});

test("The newer of two connections with one client id stays", async () => {
  await using server = await NotedServer.start();
  const first = await server.device("aa");
  using _first = first.client;
  using second = await RawClient.login(server.port);
  assert.equal(await first.client.read(), null);
  const { session } = await server.happened("gone");
  assert.equal(session, first.session);
  assert.ok(!server.server.send(first.session, "vls", new Uint8Array(1)));
  await second.send(publish("aa/hello", "again"));
  await server.happened("message", ({ payload }) => payload === "again");
});

test("Every accepted socket has TCP_NODELAY", async () => {
  await using server = await NotedServer.start();
  const count = await countNoDelay(server.port, async () => {
    for (let i = 0; i < 5; i++) {
      using _client = await RawClient.login(server.port);
    }
  });
  assert.equal(count, 5);
});

/** A WebSocket that has opened, and the first four bytes that come. */
async function openWebSocket(port: number) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/any/path`, "mqtt");
  socket.binaryType = "arraybuffer";
  const answer = Promise.withResolvers<string>();
  let held = "";
  const closed = new Promise<void>((resolve) => {
    socket.onclose = () => resolve();
  });
  socket.onmessage = ({ data }) => {
    held += new Uint8Array(data).toHex();
    if (held.length >= 8) answer.resolve(held);
  };
  await new Promise<void>((resolve, reject) => {
    socket.onopen = () => resolve();
    socket.onerror = () => reject(new Error("The WebSocket did not open"));
  });
  return { socket, answer: answer.promise, closed };
}

test("The WebSocket listener speaks the sub-protocol mqtt, on any path", async () => {
  await using server = await NotedServer.start({ isWebSocket: true });
  const count = await countNoDelay(server.port, async () => {
    const { socket, answer, closed } = await openWebSocket(server.port);
    assert.equal(socket.protocol, "mqtt");
    socket.send(connect());
    assert.equal(await answer, "20020000");
    socket.send(publish("aa/hello", "by WebSocket"));
    await server.happened(
      "message",
      ({ payload }) => payload === "by WebSocket",
    );
    socket.close();
    await closed;
  });
  assert.ok(count >= 1);
});

test("A page that asks the WebSocket listener is told what it is", async () => {
  await using server = await NotedServer.start({ isWebSocket: true });
  const response = await fetch(`http://127.0.0.1:${server.port}/`, {
    headers: { connection: "close" },
  });
  assert.equal(response.status, 426);
  await response.text();
});

const MEGABYTE = 2 ** 20;

test("A device that stops reading delays no other and is dropped", async () => {
  await using server = await NotedServer.start();
  const frozen = await server.device("frozen");
  using _frozen = frozen.client;
  const lively = await server.device("lively", 2);
  using _lively = lively.client;
  const body = new Uint8Array(MEGABYTE);
  let held = 0;
  for (; held < 32; held++) {
    assert.ok(server.server.send(frozen.session, "vls", body));
  }
  for (let i = 0; i < 50; i++) {
    server.server.send(lively.session, "vls", Uint8Array.of(i));
    const answer = await lively.client.read();
    assert.equal(answer?.body.at(-1), i);
  }
  assert.ok(!server.happenings.some(({ kind }) => kind === "gone"));
  const { session } = await server.happened("gone");
  assert.equal(session, frozen.session);
  server.server.send(lively.session, "vls", Uint8Array.of(77));
  assert.equal((await lively.client.read())?.body.at(-1), 77);
});

test("300 idle connections are nothing", async () => {
  await using server = await NotedServer.start();
  using idle = new DisposableStack();
  for (let i = 0; i < 300; i++) {
    idle.use(await RawClient.login(server.port, { cid: `idle${i}` }));
  }
  const { client, session } = await server.device("aa", 2);
  using _client = client;
  server.server.send(session, "vls", Uint8Array.of(5));
  assert.equal((await client.read())?.body.at(-1), 5);
});

test("Disposing of the server ends connections of every stage", async () => {
  const clients: RawClient[] = [];
  {
    await using server = await NotedServer.start();
    clients.push(await RawClient.open(server.port));
    clients.push(await RawClient.login(server.port));
    const half = await RawClient.open(server.port);
    await half.send(connect({ cid: "half" }).subarray(0, 9));
    clients.push(half);
  }
  for (const client of clients) {
    assert.equal(await client.read(), null);
    client[Symbol.dispose]();
  }
});

/** Numbers from 0 to below 1, the same at each run. */
function* scattered(seed: number): Generator<number, never> {
  for (let state = seed;;) {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    yield state / 0x80000000;
  }
}

test("Packets that come faster than they are handled are all heard, in order", async () => {
  await using server = await NotedServer.start();
  const { client, session } = await server.device("aa");
  const reading = drain(client);
  const chance = scattered(1);
  const next = (most: number) => 1 + Math.floor(chance.next().value * most);
  const count = 4_000;
  const packets = Array.from({ length: count }, (_, n) => {
    const size = next(20) === 1 ? next(60_000) : next(300);
    return publish("aa/vls-res", `${n} ${"x".repeat(size)}`);
  });
  const bytes = new Uint8Array(
    await new Blob(packets.map((one) => Uint8Array.from(one))).arrayBuffer(),
  );
  const sent = (async () => {
    for (let at = 0; at < bytes.length;) {
      const size = next(next(4) === 1 ? 100_000 : 500);
      await client.send(bytes.subarray(at, at + size));
      at += size;
      server.server.send(session, "vls", new Uint8Array(next(400)));
    }
  })();
  // Either the last packet is heard, or the connection ends before.
  const end = await server.happened(
    "message",
    ({ payload }) => payload.startsWith(`${count - 1} `),
  );
  assert.ok(end);
  await sent;
  const refused = server.happenings.filter(({ kind }) => kind === "refused");
  assert.deepEqual(refused, []);
  const heard = server.happenings.flatMap((happening) =>
    happening.kind === "message" && happening.name === "vls-res"
      ? [Number(happening.payload.split(" ")[0])]
      : []
  );
  assert.deepEqual(heard, Array.from({ length: count }, (_, n) => n));
  server.server.drop(session);
  await reading;
  client[Symbol.dispose]();
});

async function drain(client: RawClient): Promise<void> {
  while (await client.read() !== null) { /* a device hears, and goes on */ }
}
