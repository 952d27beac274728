/**
 * The descriptor hand-over, end to end: a real helper under a fake hsmd,
 * driven by a parent process that reads fd 3 exactly as lightningd does.
 *
 * That parent ends a connection when a read would block, so every echo here
 * also proves that the passed end is in blocking mode.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  askClient,
  awaitStall,
  checkEcho,
  descriptors,
  helperOf,
  openAndClose,
  ping,
  readText,
  requestClients,
  SANITIZED,
  settle,
  startFake,
  takeClients,
  TempDir,
} from "./fake.ts";
import type { FrameConn, Standin } from "../support/standin/standin.ts";

Deno.test({
  ...SANITIZED,
  name: "A client connection carries small and large frames both ways",
  async fn() {
    using directory = new TempDir();
    await using standin = await startFake({ directory: directory.path });
    using client = await askClient(standin);
    for (const length of [0, 1, 100, 65_536, 1_000_000]) {
      await checkEcho(client, length);
    }
  },
});

Deno.test({
  ...SANITIZED,
  name: "A thousand client connections leave no descriptor behind",
  async fn() {
    using directory = new TempDir();
    await using standin = await startFake({ directory: directory.path });
    const helper = helperOf(standin);
    const idle = descriptors(standin.pid).length;
    await openAndClose(standin, 5);
    await settle(standin, standin.pid, idle);
    await openAndClose(standin, 1000);
    await settle(standin, standin.pid, idle);
    await settle(standin, helper, 4);
  },
});

Deno.test({
  ...SANITIZED,
  name: "Two hundred client connections work at the same time",
  async fn() {
    using directory = new TempDir();
    await using standin = await startFake({ directory: directory.path });
    const clients: FrameConn[] = [];
    for (let i = 0; i < 200; i++) clients.push(await askClient(standin));
    await Promise.all(clients.map((client) => checkEcho(client, 1000)));
    await Promise.all(clients.map((client) => checkEcho(client, 100)));
  },
});

Deno.test({
  ...SANITIZED,
  name: "Hand-overs wait while lightningd does not read",
  async fn() {
    using directory = new TempDir();
    await using standin = await startFake({ directory: directory.path });
    using first = await askClient(standin);
    const count = 1000;
    await requestClients(standin, count);
    await awaitStall(standin, first);
    assert.ok(descriptors(standin.pid).length < count);
    const clients = await takeClients(standin, count);
    await Promise.all(clients.map((client) => checkEcho(client, 10)));
  },
});

Deno.test({
  ...SANITIZED,
  name: "The helper holds fd 0 to 3 only, and its file is gone",
  async fn() {
    using directory = new TempDir();
    await using standin = await startFake({
      directory: directory.path,
      before: "exec 7</dev/null",
    });
    assert.ok(descriptors(standin.pid).includes(7));
    assert.deepEqual(descriptors(helperOf(standin)), [0, 1, 2, 3]);
    const home = `${directory.path}/handover-${standin.pid}`;
    const names = [...Deno.readDirSync(home)].map(({ name }) => name);
    assert.deepEqual(names, ["socket"]);
    assert.equal((Deno.statSync(home).mode ?? 0) & 0o777, 0o700);
  },
});

Deno.test({
  ...SANITIZED,
  name: "The hsmd ends and cleans up when lightningd closes fd 3",
  async fn() {
    using directory = new TempDir();
    await using standin = await startFake({ directory: directory.path });
    await openAndClose(standin, 3);
    standin.close();
    assert.equal(await standin.exit, 2);
    assert.deepEqual([...Deno.readDirSync(directory.path)], []);
  },
});

Deno.test({
  ...SANITIZED,
  name: "The helper vanishes and cleans up when the hsmd is killed",
  async fn() {
    using directory = new TempDir();
    await using standin = await startFake({ directory: directory.path });
    await openAndClose(standin, 1);
    Deno.kill(standin.pid, "SIGKILL");
    // The end of fd 3 shows only when everyone who holds it is gone.
    assert.equal(await standin.master.read(), null);
    assert.equal(await standin.exit, 256 + 9);
    assert.deepEqual([...Deno.readDirSync(directory.path)], []);
  },
});

Deno.test({
  ...SANITIZED,
  name: "The helper does not wait for lightningd when the hsmd is killed",
  async fn() {
    using directory = new TempDir();
    await using standin = await startFake({ directory: directory.path });
    using first = await askClient(standin);
    await requestClients(standin, 1000);
    await awaitStall(standin, first);
    const home = `${directory.path}/handover-${standin.pid}`;
    using watcher = Deno.watchFs(directory.path);
    Deno.kill(standin.pid, "SIGKILL");
    for await (const { kind, paths } of watcher) {
      if (kind === "remove" && paths.includes(home)) break;
    }
    assert.equal(await standin.exit, 256 + 9);
  },
});

Deno.test({
  ...SANITIZED,
  name: "A relative directory works below a path that is too long",
  async fn() {
    using directory = new TempDir();
    const deep = `${directory.path}/${"deep".repeat(40)}`;
    Deno.mkdirSync(deep);
    await using standin = await startFake({
      directory: ".",
      before: `cd ${deep}`,
    });
    await openAndClose(standin, 2);
    standin.close();
    assert.equal(await standin.exit, 2);
    assert.deepEqual([...Deno.readDirSync(deep)], []);
  },
});

Deno.test({
  ...SANITIZED,
  name: "The end of the helper is reported and later hand-overs fail",
  async fn() {
    using directory = new TempDir();
    await using standin = await startFake({ directory: directory.path });
    Deno.kill(helperOf(standin), "SIGKILL");
    const reason = "the helper ended: SIGKILL";
    assert.equal(
      await readText(standin.status),
      `Descriptor hand-over: ${reason}`,
    );
    await requestClients(standin, 1);
    assert.equal(
      await readText(standin.status),
      `Cannot hand a descriptor to lightningd: ${reason}`,
    );
  },
});

Deno.test({
  ...SANITIZED,
  name: "The helper outlives the signals that reach a whole process group",
  async fn() {
    using directory = new TempDir();
    await using standin = await startFake({ directory: directory.path });
    const helper = helperOf(standin);
    for (const name of ["SIGHUP", "SIGINT", "SIGTERM", "SIGUSR1"] as const) {
      Deno.kill(helper, name);
    }
    await openAndClose(standin, 2);
    assert.equal(helperOf(standin), helper);
  },
});

Deno.test({
  ...SANITIZED,
  name: "A hand-over that fails gives lightningd its byte and the next works",
  async fn() {
    using directory = new TempDir();
    await using standin = await startFake({ directory: directory.path });
    const socket = `${directory.path}/handover-${standin.pid}/socket`;
    Deno.renameSync(socket, `${socket}.away`);
    await assert.rejects(askClient(standin), /1 came without a descriptor/);
    assert.match(await readText(standin.status), /: ENOENT$/);
    Deno.renameSync(`${socket}.away`, socket);
    await openAndClose(standin, 1);
  },
});

Deno.test({
  ...SANITIZED,
  name: "A hand-over is refused while the hsmd has no descriptor left",
  async fn() {
    using directory = new TempDir();
    await using standin = await startFake({
      directory: directory.path,
      before: "ulimit -n 100",
    });
    const clients = await askUntilRefused(standin, 100);
    assert.match(await readText(standin.status), /: EMFILE$/);
    await Promise.all(clients.map((client) => checkEcho(client, 100)));
    const used = descriptors(standin.pid).length;
    for (const client of clients.splice(0, 5)) client.close();
    await settle(standin, standin.pid, used - 5);
    await openAndClose(standin, 10);
  },
});

Deno.test({
  ...SANITIZED,
  name: "A stranger on the private socket is turned away",
  async fn() {
    using directory = new TempDir();
    await using standin = await startFake({ directory: directory.path });
    const path = `${directory.path}/handover-${standin.pid}/socket`;
    using stranger = await Deno.connect({ transport: "unix", path });
    assert.equal(await stranger.read(new Uint8Array(1)), null);
    await openAndClose(standin, 1);
  },
});

Deno.test({
  ...SANITIZED,
  name: "A hand-over needs few permissions, and none to run after the start",
  async fn() {
    using directory = new TempDir();
    const { path } = directory;
    await using standin = await startFake({
      directory: path,
      permissions: `--allow-run --allow-read=${path} --allow-write=${path} ` +
        `--allow-net=unix:${path}/handover-$$/socket`,
      args: ["--revoke"],
    });
    await openAndClose(standin, 3);
    standin.close();
    assert.equal(await standin.exit, 2);
  },
});

/** Takes connections until one comes without; returns those that came. */
async function askUntilRefused(
  standin: Standin,
  limit: number,
): Promise<FrameConn[]> {
  const clients: FrameConn[] = [];
  while (clients.length < limit) {
    try {
      clients.push(await askClient(standin));
    } catch (error) {
      assert.match(String(error), /came without a descriptor/);
      return clients;
    }
  }
  throw new Error(`Not refused after ${limit} connections`);
}

Deno.test({
  ...SANITIZED,
  name: "Requests on fd 3 are served while client connections are open",
  async fn() {
    using directory = new TempDir();
    await using standin = await startFake({ directory: directory.path });
    using first = await askClient(standin);
    await ping(standin);
    using second = await askClient(standin);
    await Promise.all([checkEcho(second, 10), checkEcho(first, 10)]);
    await ping(standin);
  },
});
