/**
 * The owner's socket, a real one: who may connect, what comes back, what hostile
 * clients get, and what a killed softkey leaves behind.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { openCardStore } from "../../src/device/card_state.ts";
import { OwnerError } from "../../src/device/owner_error.ts";
import type { OpenedCard } from "../../src/device/owner/access.ts";
import {
  isSoftkeyRunning,
  tryRunningSoftkey,
} from "../../src/device/owner/client.ts";
import type { OwnerCommands } from "../../src/device/owner/commands.ts";
import { readLine, writeAll } from "../../src/device/owner/lines.ts";
import {
  decodeResult,
  MOST_COMMAND_BYTES,
} from "../../src/device/owner/protocol.ts";
import {
  type OwnerSocket,
  type SocketOptions,
  startOwnerSocket,
} from "../../src/device/owner/socket.ts";
import { UsageError } from "../../src/errors.ts";

const COMMANDS: OwnerCommands = {
  echo: ({ print, printError, path }, { words, options }) => {
    print(words.join(" "));
    print(path("x"));
    printError(`peer ${options.peer}`);
    return words.length;
  },
  missing: () => {
    throw new OwnerError("rightNode", "Cannot do it: another node");
  },
  wrong: () => {
    throw new UsageError("Cannot do it: want something else");
  },
  broken: () => {
    throw new TypeError("oops");
  },
};

interface Running {
  readonly folder: string;
  readonly said: readonly string[];
  readonly socket: OwnerSocket;
}

/** A card in a folder of its own, and its owner's socket. */
async function withSocket(
  use: (running: Running) => Promise<void>,
  more: Partial<SocketOptions> = {},
): Promise<void> {
  await withFolder(async (folder) => {
    const { socket, said, close } = await start(folder, more);
    try {
      await use({ folder, said, socket });
    } finally {
      close();
    }
  });
}

async function withFolder(
  use: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function start(folder: string, more: Partial<SocketOptions> = {}) {
  const said: string[] = [];
  const store = openCardStore(folder);
  const access: OpenedCard = {
    store,
    network: NETWORKS.regtest,
    folder,
    desk: { own: () => {} },
    questions: null,
  };
  const say = (line: string) => said.push(line);
  const options = { folder, access, say, commands: COMMANDS, ...more };
  const socket = await startOwnerSocket(options);
  const close = () => {
    socket.close();
    store.close();
  };
  return { socket, said, close };
}

function connectTo(folder: string): Promise<Deno.UnixConn> {
  return Deno.connect({ transport: "unix", path: `${folder}/owner.sock` });
}

/** Sends bytes as they are; what comes back, null when it hangs up. */
async function exchange(folder: string, bytes: Uint8Array) {
  using connection = await connectTo(folder);
  await writeAll(connection, bytes);
  const line = await readLine(connection, Infinity);
  return line === null ? null : decodeResult(line);
}

const bytesOf = (text: string) => new TextEncoder().encode(text);

Deno.test("a command comes back with its output, its complaints and its code", () =>
  withSocket(async ({ folder, said }) => {
    assert.deepEqual(
      await tryRunningSoftkey(folder, ["--peer=02", "--", "echo", "a", "--b"]),
      { out: `a --b\n${Deno.cwd()}/x\n`, err: "peer 02\n", code: 2 },
    );
    assert.deepEqual(said, ["command from another terminal: echo a --b"]);
  }));

Deno.test("what a command throws is a sentence and the exit code that it has here", () =>
  withSocket(async ({ folder, said }) => {
    const codes: Record<string, number> = { missing: 7, wrong: 2, broken: 70 };
    for (const [name, code] of Object.entries(codes)) {
      const result = await tryRunningSoftkey(folder, [name]);
      assert.equal(result?.code, code, name);
      assert.match(result?.err ?? "", /^softkey: [^\n]+\n$/);
    }
    assert.match(said.at(-1) ?? "", /^broken: TypeError: oops\n/);
    const none = await tryRunningSoftkey(folder, ["wipe"]);
    assert.equal(none?.code, 2);
    assert.match(none?.err ?? "", /stop the softkey that runs with it first/);
    const network = ["--network=bitcoin", "echo"];
    assert.equal((await tryRunningSoftkey(folder, network))?.code, 7);
    const fd = ["--passphrase-fd=0", "echo"];
    assert.equal((await tryRunningSoftkey(folder, fd))?.code, 2);
  }));

Deno.test("only the owner can connect, and nothing is left when it closes", () =>
  withSocket(async ({ folder, socket }) => {
    const { mode, isSocket } = await Deno.lstat(`${folder}/owner.sock`);
    assert.ok(isSocket);
    assert.equal((mode ?? 0) & 0o777, 0o600);
    assert.equal(await isSoftkeyRunning(folder), true);
    socket.close();
    socket.close();
    const left = [...Deno.readDirSync(folder)].map(({ name }) => name);
    assert.deepEqual(left.filter((name) => !name.startsWith("state.db")), []);
    assert.equal(await tryRunningSoftkey(folder, ["echo"]), null);
  }));

Deno.test("a folder that others can enter is warned of", () =>
  withFolder(async (folder) => {
    await Deno.chmod(folder, 0o755);
    const { said, close } = await start(folder);
    assert.match(said[0] ?? "", /^warning: others can .* chmod 700 /);
    close();
  }));

Deno.test("hostile bytes get an error, and the socket goes on", () =>
  withSocket(async ({ folder }) => {
    const text = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.json().map(bytesOf),
      fc.record({ args: fc.anything(), at: fc.anything() })
        .map((value) => bytesOf(JSON.stringify(value, plain))),
      fc.array(fc.string()).map((args) => bytesOf(JSON.stringify({ args }))),
    );
    await fc.assert(fc.asyncProperty(text, async (bytes) => {
      const line = Uint8Array.of(...bytes, 0x0a);
      const result = await exchange(folder, line);
      assert.ok(result !== null);
      assert.equal(result.code, 2);
      assert.match(result.err, /^softkey: Cannot /);
    }));
    assert.equal((await tryRunningSoftkey(folder, ["echo"]))?.code, 0);
  }));

/** JSON has no bigint. */
function plain(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? `${value}` : value;
}

Deno.test("a line has a bound, and one that ends there is read", () =>
  withSocket(async ({ folder }) => {
    const head = `{"args":["echo","`;
    const tail = `"]}`;
    const size = MOST_COMMAND_BYTES - head.length - tail.length;
    const longest = `${head}${"x".repeat(size)}${tail}\n`;
    assert.equal((await exchange(folder, bytesOf(longest)))?.code, 1);
    const long = `${head}${"x".repeat(size + 1)}${tail}\n`;
    const refused = await exchange(folder, bytesOf(long));
    assert.match(refused?.err ?? "", /more than 65536 bytes/);
  }));

Deno.test("a client that never ends its line is hung up on", () =>
  withSocket(async ({ folder }) => {
    assert.equal(await half(folder), null);
  }, { clientMs: 5 }));

Deno.test("clients that hang up are forgotten", () =>
  withSocket(async ({ folder }) => {
    for (let i = 0; i < 20; i++) {
      const connection = await connectTo(folder);
      await writeAll(connection, bytesOf('{"args":'));
      connection.close();
    }
    for (let tries = 1;; tries++) {
      const result = await tryRunningSoftkey(folder, ["echo"]);
      if (result?.code === 0) break;
      // The last of them may not have been looked at yet.
      assert.match(result?.err ?? "", /8 others run/);
      assert.ok(tries < 1000);
    }
  }));

async function half(folder: string): Promise<Uint8Array | null> {
  using connection = await connectTo(folder);
  await writeAll(connection, bytesOf('{"args":'));
  return await readLine(connection, 1000);
}

Deno.test("a ninth client is turned away with a sentence, and may come again", async () => {
  const gate = Promise.withResolvers<void>();
  let count = 0;
  const busy = Promise.withResolvers<void>();
  const commands: OwnerCommands = {
    wait: async () => {
      count += 1;
      if (count === 8) busy.resolve();
      await gate.promise;
      return 0;
    },
  };
  await withSocket(async ({ folder }) => {
    const eight = Array.from(
      { length: 8 },
      () => tryRunningSoftkey(folder, ["wait"]),
    );
    await busy.promise;
    const ninth = await tryRunningSoftkey(folder, ["wait"]);
    assert.deepEqual([ninth?.code, count], [2, 8]);
    assert.match(ninth?.err ?? "", /8 others run/);
    gate.resolve();
    for (const result of await Promise.all(eight)) {
      assert.equal(result?.code, 0);
    }
    assert.equal((await tryRunningSoftkey(folder, ["wait"]))?.code, 0);
  }, { commands });
});

Deno.test("a client hears that the softkey ended before it answered", async () => {
  const begun = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<number>();
  const commands: OwnerCommands = {
    wait: () => {
      begun.resolve();
      return gate.promise;
    },
  };
  await withSocket(async ({ folder, socket }) => {
    const asked = tryRunningSoftkey(folder, ["wait"]);
    await begun.promise;
    socket.close();
    await assert.rejects(asked, /ended before it answered/);
    gate.resolve(0);
  }, { commands });
});

Deno.test("the socket of a killed softkey is replaced, and means nobody runs", () =>
  withFolder(async (folder) => {
    const dead = Deno.listen({
      transport: "unix",
      path: `${folder}/owner.sock`,
    });
    dead.close();
    await Deno.mkdir(`${folder}/.own`);
    await Deno.writeTextFile(`${folder}/.own/s`, "half-made");
    assert.equal(await tryRunningSoftkey(folder, ["echo"]), null);
    const { said, close } = await start(folder);
    assert.deepEqual(said, []);
    assert.equal((await tryRunningSoftkey(folder, ["echo"]))?.code, 0);
    close();
  }));

Deno.test("what is in the way and is no dead socket is left, and said", () =>
  withFolder(async (folder) => {
    const path = `${folder}/owner.sock`;
    await Deno.writeTextFile(path, "mine");
    const first = await start(folder);
    assert.match(first.said[0] ?? "", /is there and is no socket$/);
    first.close();
    assert.equal(await Deno.readTextFile(path), "mine");
    await Deno.remove(path);
    const other = Deno.listen({ transport: "unix", path });
    const second = await start(folder);
    assert.match(second.said[0] ?? "", /answers: another program has it$/);
    second.close();
    assert.ok((await Deno.lstat(path)).isSocket);
    other.close();
  }));

Deno.test("a path that is too long for a socket is said, and the softkey runs on", () =>
  withFolder(async (outer) => {
    const folder = `${outer}/${"d".repeat(100)}`;
    await Deno.mkdir(folder, { mode: 0o700 });
    const { said, close } = await start(folder);
    assert.equal(said.length, 1);
    assert.match(
      said[0] ?? "",
      /^cannot take commands .* has \d+ bytes, want 107 or fewer$/,
    );
    assert.equal(await tryRunningSoftkey(folder, ["echo"]), null);
    close();
  }));
