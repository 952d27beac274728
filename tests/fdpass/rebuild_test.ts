/**
 * The executables: what is embedded, what the compilers here make of the same
 * sources, and the other architecture under emulation.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  compile,
  findCompilers,
  HANDOVER,
  PARENT,
} from "../../scripts/build_helpers.ts";
import { type Architecture, decodeElf } from "../../src/fdpass/elf.ts";
import { HANDOVER_ELF } from "../../src/fdpass/handover_elf.ts";
import { PARENT_ELF } from "../support/standin/parent_elf.ts";
import {
  openAndClose,
  requestClients,
  SANITIZED,
  startFake,
  takeClients,
  TempDir,
} from "./fake.ts";

const FOREIGN: Architecture = Deno.build.arch === "x86_64"
  ? "aarch64"
  : "x86_64";
const MACHINES: Readonly<Record<Architecture, number>> = {
  x86_64: 62,
  aarch64: 183,
};

const compilers = await findCompilers(Deno.build.arch);
const emulator = findEmulator();

Deno.test({
  ...SANITIZED,
  name: "The embedded helper is small, static, and has the recorded hash",
  async fn() {
    for (const architecture of ["x86_64", "aarch64"] as const) {
      const image = HANDOVER_ELF[architecture];
      const bytes = decodeElf(image);
      const digest = await crypto.subtle.digest("SHA-256", bytes);
      assert.equal(new Uint8Array(digest).toHex(), image.sha256);
      assert.ok(bytes.length <= 4096, `${bytes.length} bytes`);
      checkElf(bytes, architecture);
    }
  },
});

Deno.test({
  ...SANITIZED,
  name: "Rebuilt executables hand descriptors over (needs a C compiler)",
  ignore: compilers.length === 0,
  async fn(t) {
    for (const compiler of compilers) {
      await t.step(`built by ${compiler.version}`, async () => {
        using directory = new TempDir();
        const options = { architecture: Deno.build.arch, compiler };
        const program = `${directory.path}/helper`;
        const parent = `${directory.path}/parent`;
        await compile(HANDOVER, { ...options, output: program });
        await compile(PARENT, { ...options, output: parent });
        checkElf(Deno.readFileSync(program), Deno.build.arch);
        await checkHandover(directory, program, parent);
      });
    }
  },
});

Deno.test({
  ...SANITIZED,
  name: `The ${FOREIGN} executables work (needs qemu-${FOREIGN}-static)`,
  ignore: emulator === null,
  async fn() {
    using directory = new TempDir();
    const wrap = (name: string, bytes: Uint8Array) => {
      const program = directory.writeProgram(`${name}.elf`, bytes);
      const script = `#!/bin/sh\nexec ${emulator} ${program} "$@"\n`;
      return directory.writeProgram(name, script);
    };
    const program = wrap("helper", decodeElf(HANDOVER_ELF[FOREIGN]));
    const parent = wrap("parent", decodeElf(PARENT_ELF[FOREIGN]));
    await checkHandover(directory, program, parent);
  },
});

Deno.test({
  ...SANITIZED,
  name: "An installed helper is the only program that must be allowed to run",
  async fn() {
    using directory = new TempDir();
    const { path } = directory;
    const bytes = decodeElf(HANDOVER_ELF[Deno.build.arch]);
    const program = directory.writeProgram("installed", bytes);
    const home = `${path}/home`;
    Deno.mkdirSync(home);
    await using standin = await startFake({
      directory: home,
      permissions: `--allow-run=${program} --allow-read=${home} ` +
        `--allow-write=${home} ` +
        `--allow-net=unix:${home}/handover-$$/socket`,
      args: [`--program=${program}`],
    });
    await openAndClose(standin, 3);
  },
});

/** The same hand-overs for every executable: one by one, then many at once. */
async function checkHandover(
  directory: TempDir,
  program: string,
  parent: string,
): Promise<void> {
  await using standin = await startFake({
    directory: directory.path,
    args: [`--program=${program}`],
    parent,
  });
  await openAndClose(standin, 20);
  const count = 400;
  await requestClients(standin, count);
  for (const client of await takeClients(standin, count)) client.close();
  standin.close();
  assert.equal(await standin.exit, 2);
}

/** Checks: 64-bit executable, no interpreter, no executable stack. */
function checkElf(bytes: Uint8Array, architecture: Architecture): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const executable = 2;
  const interpreter = 3;
  const stack = 0x6474e551;
  const isExecutable = 1;
  assert.equal(view.getUint32(0), 0x7f454c46);
  assert.equal(view.getUint16(16, true), executable);
  assert.equal(view.getUint16(18, true), MACHINES[architecture]);
  const segments = programHeaders(view);
  assert.ok(!segments.some(({ type }) => type === interpreter));
  const flags = segments.find(({ type }) => type === stack)?.flags;
  assert.equal((flags ?? isExecutable) & isExecutable, 0);
}

function programHeaders(view: DataView): { type: number; flags: number }[] {
  const table = Number(view.getBigUint64(32, true));
  const size = view.getUint16(54, true);
  return Array.from({ length: view.getUint16(56, true) }, (_, i) => ({
    type: view.getUint32(table + i * size, true),
    flags: view.getUint32(table + i * size + 4, true),
  }));
}

function findEmulator(): string | null {
  const path = `/usr/bin/qemu-${FOREIGN}-static`;
  try {
    Deno.statSync(path);
    return path;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}
