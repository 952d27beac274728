/**
 * `remote_hsmd_mqtt status`, asking a broker's socket.
 *
 * @module
 */

import assert from "node:assert/strict";
import { startHttp } from "../../src/cli/http.ts";
import { SOCKET_FILE } from "../../src/cli/socket.ts";
import { withDeno } from "../support/paths.ts";
import { ABANDONED, FakeFace, QUIET } from "./http/fake_face.ts";
import { FROM_SOURCE, inFolder, run } from "./program.ts";

/** A broker's socket in a folder as lightningd's for a network. */
async function withBroker(
  folder: string,
  test: (face: FakeFace) => Promise<void>,
): Promise<void> {
  const face = new FakeFace();
  const [place = ""] = SOCKET_FILE.split("/");
  await Deno.mkdir(`${folder}/${place}`, { recursive: true });
  const servers = await startHttp({
    face,
    socketPath: `${folder}/${SOCKET_FILE}`,
    listen: null,
    token: "",
    log: () => {},
  });
  try {
    await test(face);
  } finally {
    await servers.close();
  }
}

Deno.test("status prints what the broker of this folder says", () =>
  inFolder((cwd) =>
    withBroker(cwd, async () => {
      const { code, stdout, stderr } = await run({ args: ["status"], cwd });
      assert.deepEqual([code, stderr], [0, ""]);
      assert.match(stdout, /^softkey-1 signs since /);
      assert.match(
        stdout,
        /\nchain {7}the device has the chain: block 922140/,
      );
      const json = await run({ args: ["status", "--json"], cwd });
      assert.deepEqual(JSON.parse(json.stdout), QUIET);
    })
  ));

Deno.test("status finds the broker of the only network below", () =>
  inFolder((cwd) =>
    withBroker(`${cwd}/regtest`, async () => {
      const first = await run({ args: ["status"], cwd });
      assert.equal(first.code, 0, first.stderr);
      await withBroker(`${cwd}/bitcoin`, async () => {
        const { code, stderr } = await run({ args: ["status"], cwd });
        assert.equal(code, 2);
        assert.match(stderr, /bitcoin\/\S+ and regtest\/\S+ are here/);
      });
    })
  ));

Deno.test("status says in one line that the broker does not run", () =>
  inFolder(async (cwd) => {
    const none = await run({ args: ["status"], cwd });
    assert.equal(none.code, 2);
    assert.match(none.stderr, /^remote_hsmd: Cannot ask the broker: .*\n$/);
    await Deno.mkdir(`${cwd}/remote_hsmd`);
    const path = `${cwd}/${SOCKET_FILE}`;
    const listener = Deno.listen({ transport: "unix", path });
    // Closed without being removed, as by a kill.
    await Deno.rename(path, `${path}.kept`);
    listener.close();
    await Deno.rename(`${path}.kept`, path);
    const dead = await run({ args: ["status"], cwd });
    assert.equal(dead.code, 2);
    assert.match(dead.stderr, /the broker does not run \(.*\)\n$/);
  }));

Deno.test("status takes no other words", () =>
  inFolder(async (cwd) => {
    const { code, stderr } = await run({ args: ["status", "--jsn"], cwd });
    assert.equal(code, 2);
    assert.match(stderr, /Cannot use "--jsn": want --json or --watch/);
  }));

Deno.test("status --watch prints again when something changed", () =>
  inFolder((cwd) =>
    withBroker(cwd, async (face) => {
      await using child = new Deno.Command(Deno.execPath(), {
        args: [...FROM_SOURCE, "status", "--watch", "--json"],
        cwd,
        env: withDeno(),
        stdin: "null",
        stdout: "piped",
        stderr: "inherit",
      }).spawn();
      const lines = linesOf(child.stdout);
      assert.deepEqual(JSON.parse(await lines.next()), QUIET);
      face.change(ABANDONED);
      assert.deepEqual(JSON.parse(await lines.next()), ABANDONED);
      await lines.end();
    })
  ));

Deno.test("use takes the beginning of a name, where only one device has it", () =>
  inFolder((cwd) =>
    withBroker(cwd, async (face) => {
      const [device] = QUIET.devices;
      assert.ok(device);
      const names = ["0123aa", "0123bb"];
      const devices = names.map((cid) => ({ ...device, cid }));
      face.change({ ...QUIET, devices });
      face.useOutcome = { kind: "done", text: "chosen" };
      const use = (name: string) => run({ args: ["use", name], cwd });
      const { code, stdout } = await use("0123b");
      assert.deepEqual([code, stdout], [0, "chosen\n"]);
      assert.deepEqual(face.used, [{ cid: "0123bb", isForced: false }]);
      for (const [name, pattern] of [["0123", /any of/], ["4", /want one/]]) {
        const refused = await use(String(name));
        assert.equal(refused.code, 2);
        assert.match(refused.stderr, new RegExp(pattern ?? "none"));
        assert.match(refused.stderr, /0123aa, 0123bb/);
      }
      assert.equal(face.used.length, 1);
    })
  ));

/** Lines of a stream, one at a time. */
function linesOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  return {
    async next(): Promise<string> {
      while (!text.includes("\n")) {
        const { value, done } = await reader.read();
        assert.ok(!done, "it ended");
        text += value;
      }
      const [line = "", ...rest] = text.split("\n");
      text = rest.join("\n");
      return line;
    },
    end: () => reader.cancel(),
  };
}
