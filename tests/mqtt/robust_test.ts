/**
 * The MQTT listener while the world leans on it: a device that answers is asked
 * and answers, and everybody else has no say in that.
 *
 * How long an answer takes under this load is measured by `deno task bench`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { checkLogin } from "../../src/mqtt/auth.ts";
import { type DeviceSession, EmbeddedServer } from "../../src/mqtt/embedded.ts";
import { MqttLoad } from "../support/mqtt_load.ts";
import { connect, publish, RawClient, subscribe } from "./raw.ts";

const REQUESTS = 300;

/** A server that asks one device, and counts who else was let in. */
class AskingServer implements AsyncDisposable {
  readonly port: number;
  readonly #server: EmbeddedServer;
  readonly #state: AskingState;

  private constructor(
    server: EmbeddedServer,
    port: number,
    state: AskingState,
  ) {
    this.#server = server;
    this.port = port;
    this.#state = state;
  }

  static async start(): Promise<AskingServer> {
    const state = new AskingState();
    const server = await EmbeddedServer.start({
      login: ({ username, password }) =>
        checkLogin(username, password, { now: 1000, window: 60 }),
      message: (session, name, payload) => {
        const text = new TextDecoder().decode(payload);
        if (name === "hello") state.hello(session);
        if (name === "vls-res") state.answer(text);
      },
      gone: (session) => state.gone.push(session.cid),
      refused: () => state.refused += 1,
    });
    const address = { hostname: "127.0.0.1", port: 0 };
    const { port } = await server.listenTcp(address);
    return new AskingServer(server, port, state);
  }

  /** Resolves with the session of this client id, once it said hello. */
  session(cid: string): Promise<DeviceSession> {
    return this.#state.session(cid);
  }

  get gone(): readonly string[] {
    return this.#state.gone;
  }

  get refused(): number {
    return this.#state.refused;
  }

  /** Asks; resolves with the answer. */
  ask(session: DeviceSession, text: string): Promise<string> {
    const answered = this.#state.awaitAnswer(text);
    assert.ok(this.send(session, text));
    return answered;
  }

  send(session: DeviceSession, text: string): boolean {
    return this.#server.send(session, "vls", new TextEncoder().encode(text));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#server[Symbol.asyncDispose]();
  }
}

class AskingState {
  readonly gone: string[] = [];
  refused = 0;
  readonly #sessions = new Map<string, PromiseWithResolvers<DeviceSession>>();
  readonly #waiting = new Map<string, (text: string) => void>();

  hello(session: DeviceSession): void {
    this.#slot(session.cid).resolve(session);
  }

  session(cid: string): Promise<DeviceSession> {
    return this.#slot(cid).promise;
  }

  answer(text: string): void {
    this.#waiting.get(text)?.(text);
    this.#waiting.delete(text);
  }

  awaitAnswer(text: string): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<string>();
    this.#waiting.set(text, resolve);
    return promise;
  }

  #slot(cid: string): PromiseWithResolvers<DeviceSession> {
    const known = this.#sessions.get(cid);
    if (known !== undefined) return known;
    const made = Promise.withResolvers<DeviceSession>();
    this.#sessions.set(cid, made);
    return made;
  }
}

/** What a client says that logs in, subscribes and says hello. */
function words(cid: string): Uint8Array {
  return Uint8Array.of(
    ...connect({ cid }),
    ...subscribe(`${cid}/vls`),
    ...publish(`${cid}/hello`, ""),
  );
}

/** A device that repeats what it is asked, until its connection ends. */
async function echo(client: RawClient, cid: string): Promise<void> {
  for (;;) {
    const packet = await client.read().catch(() => null); // closed by the test
    if (packet === null) return;
    const isPublish = packet.first >> 4 === 3;
    const text = new TextDecoder().decode(
      packet.body.subarray(2 + `${cid}/vls`.length),
    );
    if (isPublish) await client.send(publish(`${cid}/vls-res`, text));
  }
}

/** A server, and a device of it that answers. */
async function withDevice(
  use: (server: AskingServer, session: DeviceSession) => Promise<void>,
): Promise<void> {
  await using server = await AskingServer.start();
  const client = await RawClient.open(server.port);
  let echoing = Promise.resolve();
  try {
    await client.send(words("aa"));
    const session = await server.session("aa");
    echoing = echo(client, "aa");
    await use(server, session);
    assert.ok(!server.gone.includes("aa"));
  } finally {
    client[Symbol.dispose]();
    await echoing;
  }
}

async function askAll(
  server: AskingServer,
  session: DeviceSession,
): Promise<void> {
  for (let i = 0; i < REQUESTS; i++) {
    const text = `request ${i}`;
    assert.equal(await server.ask(session, text), text);
  }
}

Deno.test("Every request is answered while packets that are none come from all sides", async () => {
  await withDevice(async (server, session) => {
    using load = new MqttLoad(server.port, 6);
    load.fuzz(100);
    while (load.closed < 400) await askAll(server, session);
    assert.ok(server.refused > 0);
  });
});

Deno.test("Every request is answered beside 1,000 idle connections and CONNECTs that never end", async () => {
  await withDevice(async (server, session) => {
    using load = new MqttLoad(server.port, 7);
    await load.idle(1_000);
    await load.slow(200);
    await askAll(server, session);
  });
});

Deno.test("Every request is answered beside a subscriber that never reads what it is sent", async () => {
  await withDevice(async (server, session) => {
    using load = new MqttLoad(server.port, 8);
    await load.frozen(words("frozen"));
    const frozen = await server.session("frozen");
    const much = "x".repeat(200_000);
    for (let i = 0; i < REQUESTS && !server.gone.includes("frozen"); i++) {
      server.send(frozen, much);
      assert.equal(await server.ask(session, `request ${i}`), `request ${i}`);
    }
  });
});
