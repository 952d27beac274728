/** A storage server somewhere else: what its answers and its silence mean. @module */

import assert from "node:assert/strict";
import {
  type PutOutcome,
  type Storage,
  StorageRefused,
  StorageUnavailable,
} from "../../src/broker/storage.ts";
import { connectGrpcStorage } from "../../src/broker/storage/grpc.ts";
import { LightningStorage } from "../../src/broker/storage/lss_pb.ts";
import type { Pause } from "../../src/broker/storage/session.ts";
import { ConfigError } from "../../src/errors.ts";
import { freePort } from "../support/paths.ts";
import { type LssServerOptions, serveLss } from "../support/lss_server.ts";
import {
  bytes32,
  entryOf,
  StorageClient,
  withStorage,
} from "../support/storage.ts";
import { Talk } from "../support/storage_talk.ts";
import { encodeFromDevice } from "../../src/wire/lss.ts";

/** Runs with a server, its own storage, and our client of it. */
function withServer(
  run: (
    remote: Storage,
    client: StorageClient,
    backing: Storage,
  ) => Promise<void>,
  options: LssServerOptions & { readonly callMs?: number } = {},
): Promise<void> {
  return withStorage(async (backing, client) => {
    const server = await serveLss(backing, options);
    const remote = connectGrpcStorage(server.url, options);
    try {
      await run(remote, client, backing);
    } finally {
      remote.close();
      await server.close();
    }
  });
}

Deno.test("the descriptors say what lss.proto says", () => {
  const methods = LightningStorage.methods.map((
    { name, input, output },
  ) => [
    name,
    ...[input, output].map(({ fields }) =>
      fields.map((field) => {
        const type = field.message?.name ?? field.scalar ?? "none";
        return `${field.number} ${field.name} ${field.fieldKind} ${type}`;
      })
    ),
  ]);
  const kv = "list KeyValue";
  assert.equal(LightningStorage.typeName, "lss.LightningStorage");
  assert.deepEqual(methods, [
    ["Ping", ["1 message scalar 9"], ["1 message scalar 9"]],
    ["Info", [], ["1 version scalar 9", "2 server_id scalar 12"]],
    ["Put", ["1 auth message Auth", `2 kvs ${kv}`, "3 hmac scalar 12"], [
      "1 success scalar 8",
      "2 hmac scalar 12",
      `10 conflicts ${kv}`,
    ]],
    ["Get", [
      "1 auth message Auth",
      "2 key_prefix scalar 9",
      "3 nonce scalar 12",
    ], [`1 kvs ${kv}`, "2 hmac scalar 12"]],
  ]);
});

Deno.test("a device dances and stores with a server somewhere else", () =>
  withServer(async (remote, client, backing) => {
    assert.equal(
      (await remote.serverKey()).toHex(),
      (await backing.serverKey()).toHex(),
    );
    const talk = new Talk(remote);
    await talk.dance(client, [entryOf("a", 0, "1")]);
    talk.sayChanges(client, [entryOf("a", 1, "2"), entryOf("b", 0, "")]);
    await talk.sent("lss-msg");
    assert.deepEqual(await client.read(backing), ["a 1 2", "b 0 "]);
    assert.equal(remote.revision, 2);
    assert.equal(talk.session.revision, 2);
    const again = new Talk(remote);
    assert.equal((await again.dance(client)).length, 2);
  }));

Deno.test("versions of 64 bits and every byte come through", () =>
  withServer(async (remote, client) => {
    const value = Uint8Array.from({ length: 256 }, (_, i) => i);
    const late = { key: "k", version: 2n ** 62n, value };
    const outcome = await client.put(remote, [late]);
    assert.deepEqual(outcome, {
      kind: "conflict",
      entries: [{ key: "k", version: -1n, value: new Uint8Array() }],
      hmac: null,
    });
    await client.put(remote, [{ ...late, version: 0n }]);
    const { entries } = await remote.get(client.auth, bytes32(1));
    assert.deepEqual(entries, [{ key: "k", version: 0n, value }]);
  }));

Deno.test("what the server refuses is refused for good", () =>
  withServer(async (remote, client) => {
    const auth = { ...client.auth, token: bytes32(0) };
    await assert.rejects(remote.get(auth, bytes32(1)), (error) => {
      assert.ok(error instanceof StorageRefused, String(error));
      assert.match(error.message, /InvalidArgument: .*token does not fit/);
      return true;
    });
    await assert.rejects(
      remote.put(client.auth, [entryOf("a", 0, "")], bytes32(0)),
      StorageRefused,
    );
    assert.equal(remote.revision, 0);
  }));

Deno.test("a server that is not there is unavailable, and may come later", () =>
  withStorage(async (backing, client) => {
    const port = freePort();
    const remote = connectGrpcStorage(`http://127.0.0.1:${port}`);
    await assert.rejects(remote.serverKey(), StorageUnavailable);
    const entries = [entryOf("a", 0, "1")];
    await assert.rejects(client.put(remote, entries), StorageUnavailable);
    assert.equal(remote.revision, 1, "it may be there, for all that is known");
    const server = await serveLss(backing, { port });
    assert.equal((await client.put(remote, entries)).kind, "stored");
    remote.close();
    await server.close();
  }));

Deno.test("a server that goes away and comes back finds the device waiting", () =>
  withStorage(async (backing, client) => {
    const first = await serveLss(backing);
    const remote = connectGrpcStorage(first.url);
    const { promise: paused, resolve: isPaused } = Promise.withResolvers<
      void
    >();
    const { promise: isBack, resolve: back } = Promise.withResolvers<void>();
    const talk = new Talk(remote, {
      pause: () => {
        isPaused();
        return isBack;
      },
    });
    await talk.dance(client, [entryOf("a", 0, "1")]);
    await first.close();
    talk.sayChanges(client, [entryOf("a", 1, "2")]);
    await paused;
    assert.deepEqual(talk.left, []);
    const second = await serveLss(backing, { port: first.port });
    back();
    await talk.sent("lss-msg");
    assert.deepEqual(await client.read(backing), ["a 1 2"]);
    assert.equal(talk.session.revision, remote.revision);
    remote.close();
    await second.close();
  }));

Deno.test("a server that shuts down in good order takes nothing with it", () =>
  withStorage(async (backing, client) => {
    const first = await serveLss(backing);
    const remote = connectGrpcStorage(first.url);
    await client.put(remote, [entryOf("a", 0, "1")]);
    // GOAWAY, and no call under way.
    await first.shutDown();
    await assert.rejects(client.read(remote), StorageUnavailable);
    const second = await serveLss(backing, { port: first.port });
    assert.deepEqual(await client.read(remote), ["a 0 1"]);
    await second.close();
    remote.close();
  }));

/** The first put is stored, and its answer never comes. */
function losingFirst(): (outcome: PutOutcome) => Promise<PutOutcome> {
  let isFirst = true;
  return (outcome) => {
    if (!isFirst) return Promise.resolve(outcome);
    isFirst = false;
    return new Promise(() => {});
  };
}

const noPause = { pause: () => Promise.resolve() };

Deno.test("an answer that never comes is asked for again, and recognised", () =>
  withServer(async (remote, client, backing) => {
    const talk = new Talk(remote, noPause);
    await talk.dance(client, [entryOf("a", 0, "1")]);
    assert.deepEqual(await client.read(backing), ["a 0 1"]);
    assert.equal(talk.session.revision, remote.revision);
  }, { afterPut: losingFirst(), callMs: 300 }));

/** The storage is tried again at once; a device has all the time it needs. */
const patient: Pause = (ms, signal) => {
  if (ms < 1_000) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => resolve());
  return promise;
};

Deno.test("without the server's proof the device reads everything again", () => {
  const lose = losingFirst();
  const afterPut = async (outcome: PutOutcome): Promise<PutOutcome> => {
    const said = await lose(outcome);
    return said.kind === "conflict" ? { ...said, hmac: null } : said;
  };
  return withServer(async (remote, client) => {
    const talk = new Talk(remote, { pause: patient });
    await talk.dance(client);
    talk.sayChanges(client, [entryOf("a", 0, "1")]);
    await talk.sent("lss-conflict");
    talk.session.take(
      "lss-conflict-res",
      encodeFromDevice({ kind: "PutConflictConfirmed" }),
    );
    assert.match(await talk.said("behind"), /its proof was lost on the way/);
    assert.equal((await talk.dance(client)).length, 1);
  }, { afterPut, callMs: 300 });
});

Deno.test("a server whose answers are odd is not believed", () => {
  const afterPut = (): Promise<PutOutcome> =>
    Promise.resolve({ kind: "stored", hmac: new Uint8Array(3) });
  return withServer(async (remote, client) => {
    await assert.rejects(
      client.put(remote, [entryOf("a", 0, "1")]),
      /a MAC of 3 bytes, want 32/,
    );
  }, { afterPut });
});

Deno.test("an address that is none is said to be a setting", () => {
  for (const url of ["", "127.0.0.1:55551", "ftp://host"]) {
    assert.throws(() => connectGrpcStorage(url), ConfigError, url);
  }
});
