/**
 * Starting the helper, and what its caller sees when something is wrong. Here
 * shell scripts stand in for the helper, so that it can be made to fail.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawnFresh } from "../../src/fdpass/fresh.ts";
import { startHandover } from "../../src/fdpass/spawn.ts";
import { SANITIZED, TempDir } from "./fake.ts";

/** Says that it is ready, then does what follows. */
const READY = "#!/bin/sh\nprintf '\\000'\n";
/** Answers every command with an errno (32 is EPIPE), until told to end. */
const ALWAYS_EPIPE = `${READY}while [ -n "$(head -c 16)" ]; do
  printf '\\040'
done
`;

Deno.test({
  ...SANITIZED,
  name: "A hand-over rejects with the errno that the helper answers",
  async fn() {
    using directory = new TempDir();
    const program = directory.writeProgram("helper", ALWAYS_EPIPE);
    const directories = [directory.path];
    await using handover = await startHandover({ directories, program });
    const passes = [handover.pass(), handover.pass()];
    for (const pass of passes) await assert.rejects(pass, /: EPIPE$/);
  },
});

Deno.test({
  ...SANITIZED,
  name: "A hand-over closes strangers at once and slow connectors at its end",
  async fn() {
    using directory = new TempDir();
    const gate = `${directory.path}/gate`;
    const script = `${READY}head -c 16 >/dev/null
read -r _ <${gate}
printf '\\040'
cat >/dev/null
`;
    const program = directory.writeProgram("helper", script);
    await makeFifo(gate);
    const directories = [directory.path];
    await using handover = await startHandover({ directories, program });
    const pass = assert.rejects(handover.pass(), /: EPIPE$/);
    const path = `${directory.path}/handover-${Deno.pid}/socket`;
    using stranger = await Deno.connect({ transport: "unix", path });
    using slow = await Deno.connect({ transport: "unix", path });
    await slow.write(new Uint8Array(15));
    await stranger.write(new Uint8Array(16));
    assert.equal(await stranger.read(new Uint8Array(1)), null);
    await Deno.writeTextFile(gate, "\n");
    await pass;
    assert.equal(await slow.read(new Uint8Array(1)), null);
  },
});

Deno.test({
  ...SANITIZED,
  name: "A hand-over that is under way rejects when the helper ends",
  async fn() {
    using directory = new TempDir();
    const program = directory.writeProgram(
      "helper",
      `${READY}head -c 16 >/dev/null\nexit 7\n`,
    );
    const directories = [directory.path];
    await using handover = await startHandover({ directories, program });
    await assert.rejects(handover.pass(), /: the helper ended: exit code 7$/);
    const sentence = "Descriptor hand-over: the helper ended: exit code 7";
    assert.equal(await handover.ended, sentence);
    await assert.rejects(handover.pass(), /: the helper ended: exit code 7$/);
  },
});

Deno.test({
  ...SANITIZED,
  name: "A disposed hand-over leaves nothing and rejects what comes later",
  async fn() {
    using directory = new TempDir();
    const program = directory.writeProgram("helper", ALWAYS_EPIPE);
    const directories = [directory.path];
    const handover = await startHandover({ directories, program });
    await handover[Symbol.asyncDispose]();
    await handover[Symbol.asyncDispose]();
    await assert.rejects(handover.pass(), /: the helper is being ended$/);
    assert.deepEqual(names(directory.path), ["helper"]);
  },
});

Deno.test({
  ...SANITIZED,
  name: "The helper does not start without a socket as fd 3",
  async fn() {
    using directory = new TempDir();
    await assert.rejects(
      startHandover({ directories: [directory.path] }),
      /The helper cannot use fd 3: (EBADF|ENOTSOCK)$/,
    );
    assert.deepEqual(names(directory.path), []);
  },
});

Deno.test({
  ...SANITIZED,
  name: "A helper that ends at once is an error",
  async fn() {
    using directory = new TempDir();
    const program = directory.writeProgram("helper", "#!/bin/sh\nexit 3\n");
    await assert.rejects(
      startHandover({ directories: [directory.path], program }),
      /The helper ended at once: exit code 3$/,
    );
    assert.deepEqual(names(directory.path), ["helper"]);
  },
});

Deno.test({
  ...SANITIZED,
  name: "The first directory that can serve is used",
  async fn() {
    using directory = new TempDir();
    const program = directory.writeProgram("helper", ALWAYS_EPIPE);
    const good = `${directory.path}/good`;
    Deno.mkdirSync(good);
    await using _handover = await startHandover({
      directories: [...useless(directory), good, directory.path],
      program,
    });
    assert.deepEqual(names(good), [`handover-${Deno.pid}`]);
  },
});

Deno.test({
  ...SANITIZED,
  name: "When no directory can serve, the error names each and the reason",
  async fn() {
    using directory = new TempDir();
    const directories = useless(directory);
    const [long = "", missing = "", file = ""] = directories;
    await assert.rejects(startHandover({ directories }), (error) => {
      assert.ok(error instanceof AggregateError);
      assert.equal(error.errors.length, 3);
      const tooLong = `${long}: Cannot listen on a path of `;
      assert.ok(error.message.includes(tooLong), error.message);
      assert.ok(error.message.includes(`; ${missing}: `), error.message);
      assert.ok(error.message.includes(`; ${file}: `), error.message);
      return true;
    });
    await assert.rejects(
      startHandover({ directories: [] }),
      /Cannot start the descriptor helper: no directory given$/,
    );
  },
});

Deno.test({
  ...SANITIZED,
  name: "A socket path of 107 bytes works and one of 108 does not",
  async fn() {
    using directory = new TempDir();
    const program = directory.writeProgram("helper", ALWAYS_EPIPE);
    const rest = `/handover-${Deno.pid}/socket`.length + 1;
    const fill = "d".repeat(107 - rest - directory.path.length);
    const longest = `${directory.path}/${fill}`;
    for (const path of [longest, `${longest}d`]) Deno.mkdirSync(path);
    await assert.rejects(
      startHandover({ directories: [`${longest}d`], program }),
      /Cannot listen on a path of 108 bytes: at most 107 wanted$/,
    );
    await using _handover = await startHandover({
      directories: [longest],
      program,
    });
  },
});

Deno.test({
  ...SANITIZED,
  name: "What a killed process has left is replaced, what is in use is not",
  async fn() {
    using directory = new TempDir();
    const program = directory.writeProgram("helper", ALWAYS_EPIPE);
    const directories = [directory.path];
    const home = `${directory.path}/handover-${Deno.pid}`;
    Deno.mkdirSync(home);
    Deno.writeTextFileSync(`${home}/helper`, "left behind");
    Deno.listen({ transport: "unix", path: `${home}/socket` }).close();
    await using _handover = await startHandover({ directories, program });
    assert.deepEqual(names(home), ["socket"]);
    await assert.rejects(
      startHandover({ directories, program }),
      /handover-\d+: another process does$/,
    );
  },
});

Deno.test({
  ...SANITIZED,
  name: "A program still open for writing is started once it is closed",
  async fn() {
    using directory = new TempDir();
    const program = `${directory.path}/true`;
    Deno.copyFileSync("/bin/true", program);
    const busy = Deno.openSync(program, { write: true });
    const started = spawnFresh(program, {});
    busy.close();
    assert.equal((await (await started).status).code, 0);
  },
});

Deno.test({
  ...SANITIZED,
  name: "A directory on a file system without execution is passed over",
  ignore: noexecDirectory() === null,
  async fn() {
    using directory = new TempDir();
    const noexec = Deno.makeTempDirSync({ dir: noexecDirectory() ?? "/" });
    try {
      await assert.rejects(
        startHandover({ directories: [noexec, directory.path] }),
        /Permission denied.*; .*The helper cannot use fd 3/,
      );
      assert.deepEqual(names(noexec), []);
    } finally {
      Deno.removeSync(noexec);
    }
  },
});

/** Directories that cannot serve: too long, missing, not a directory. */
function useless(directory: TempDir): string[] {
  return [
    `${directory.path}/${"long".repeat(25)}`,
    `${directory.path}/missing`,
    directory.writeProgram("file", ""),
  ];
}

function names(directory: string): string[] {
  return [...Deno.readDirSync(directory)].map(({ name }) => name);
}

async function makeFifo(path: string): Promise<void> {
  const { success } = await new Deno.Command("mkfifo", { args: [path] })
    .output();
  assert.ok(success);
}

/** A mounted place where files can be written but not executed. */
function noexecDirectory(): string | null {
  const mounts = Deno.readTextFileSync("/proc/self/mounts").split("\n")
    .map((line) => line.split(" "));
  const found = mounts.find(([, , type = "", options = ""]) =>
    type === "tmpfs" && /\brw\b/.test(options) && /\bnoexec\b/.test(options)
  );
  return found?.[1] ?? null;
}
