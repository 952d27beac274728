/**
 * What a refusal costs on lightningd's side: one connection, or the node, and
 * nothing in between.
 *
 * lightningd and its daemons are the far ends of sockets in this process; the
 * answers are the test's.
 *
 * @module
 */

import assert from "node:assert/strict";
import net from "node:net";
import { StatusStream, UnixFd } from "../../src/unixfd.ts";
import { encodeFrame, FrameSplitter } from "../../src/wire/frame.ts";
import { REPLIES, REQUESTS } from "../../src/wire/hsmd.ts";
import { encodeMessage, messageType } from "../../src/wire/message.ts";
import { STATUS } from "../../src/wire/status.ts";
import { INIT, PEER, pointReply, pointRequest } from "../broker/fake.ts";
/** Every permission of a channel daemon. */
const CHANNELD = 447n;

/** One end of a connection that carries frames. */
class FarEnd {
  readonly #splitter = new FrameSplitter(2 ** 24);
  readonly #frames: Uint8Array[] = [];
  readonly #socket: net.Socket;
  #wake: () => void = () => {};
  isClosed = false;

  constructor(socket: net.Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Uint8Array) => {
      this.#splitter.push(chunk);
      let frame = this.#splitter.take();
      for (; frame !== null; frame = this.#splitter.take()) {
        this.#frames.push(frame);
      }
      this.#wake();
    });
    socket.on("close", () => {
      this.isClosed = true;
      this.#wake();
    });
  }

  /** The next frame; null at the end. */
  async next(): Promise<Uint8Array | null> {
    while (this.#frames.length === 0 && !this.isClosed) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    return this.#frames.shift() ?? null;
  }

  ask(message: Uint8Array): Promise<Uint8Array | null> {
    this.#socket.write(encodeFrame(message));
    return this.next();
  }

  close(): void {
    this.#socket.destroy();
  }
}

/** A node under test, with channels 1 and 2; channel 1 is always refused. */
async function start(stack: AsyncDisposableStack) {
  const folder = await Deno.makeTempDir();
  stack.defer(() => Deno.remove(folder, { recursive: true }));
  const accepted: ((socket: net.Socket) => void)[] = [];
  const server = net.createServer((socket) => accepted.shift()?.(socket));
  const path = `${folder}/socket`;
  await new Promise<void>((done) => server.listen(path, () => done()));
  stack.defer(() => new Promise<void>((done) => server.close(() => done())));

  const pair = async () => {
    const near = new Promise<net.Socket>((take) => accepted.push(take));
    const far = net.connect(path);
    stack.defer(() => {
      far.destroy();
    });
    return { near: await near, far: new FarEnd(far) };
  };
  const [master, status] = [await pair(), await pair()];
  const clients: FarEnd[] = [];
  const unixfd = new UnixFd({
    master: master.near,
    status: new StatusStream(status.near, "debug"),
    handover: {
      ended: new Promise<string>(() => {}),
      pass: async () => {
        const { near, far } = await pair();
        clients.push(far);
        return near;
      },
      [Symbol.asyncDispose]: () => Promise.resolve(),
    },
    answer: ({ requester, row }) => {
      if (row.type === REQUESTS.init.type) {
        // Any reply to init opens the way.
        return Promise.resolve({
          kind: "reply",
          message: encodeMessage(REPLIES.new_channel_reply, {}),
        });
      }
      const isRefused = requester.dbid === 1n || requester.isMaster;
      return Promise.resolve(
        isRefused
          ? { kind: "refused", reason: "policy failure: x: y" }
          : { kind: "reply", message: pointReply(0) },
      );
    },
  });
  await master.far.ask(INIT);
  for (const dbid of [1n, 2n]) {
    const wanted = { id: PEER, dbid, permissions: CHANNELD };
    await master.far.ask(encodeMessage(REQUESTS.client_hsmfd, wanted));
  }
  while (clients.length < 2) await new Promise((done) => setTimeout(done, 1));
  return { unixfd, master: master.far, status: status.far, clients };
}

Deno.test("A refusal closes the connection of the channel that asked, and no other", async () => {
  await using stack = new AsyncDisposableStack();
  const { unixfd, master, clients } = await start(stack);
  const [first, second] = clients;
  assert.ok(first && second);
  assert.equal(unixfd.size, 3);
  assert.equal(await first.ask(pointRequest(0)), null);
  assert.ok(first.isClosed);
  assert.equal(unixfd.size, 2);
  const reply = await second.ask(pointRequest(0));
  assert.equal(reply?.toHex(), pointReply(0).toHex());
  assert.ok(!master.isClosed && !second.isClosed);
});

Deno.test("The channel that was refused gets a new connection when it is asked for", async () => {
  await using stack = new AsyncDisposableStack();
  const { unixfd, master, clients } = await start(stack);
  await clients[0]?.ask(pointRequest(0));
  const wanted = { id: PEER, dbid: 1n, permissions: CHANNELD };
  const reply = await master.ask(
    encodeMessage(REQUESTS.client_hsmfd, wanted),
  );
  assert.equal(messageType(reply ?? new Uint8Array()), 109);
  while (clients.length < 3) await new Promise((done) => setTimeout(done, 1));
  assert.equal(unixfd.size, 3);
});

Deno.test("A refusal that lightningd cannot be told kindly ends us, with the reason", async () => {
  await using stack = new AsyncDisposableStack();
  const { unixfd, master, status } = await start(stack);
  const dbid = { peerid: PEER, dbid: 1n };
  void master.ask(encodeMessage(REQUESTS.get_channel_basepoints, dbid));
  assert.deepEqual(await unixfd.ending, { code: 242 });
  const told = await status.next();
  assert.equal(messageType(told ?? new Uint8Array()), STATUS.status_fail.type);
  assert.match(
    new TextDecoder().decode(told ?? undefined),
    /signer refused get_channel_basepoints: policy failure: x: y/,
  );
});
