/**
 * Every source of a seal's key, and what is said when it is missing.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Secret } from "../../src/crypto/secret.ts";
import { OwnerError } from "../../src/device/owner_error.ts";
import type { Prompter } from "../../src/device/prompt.ts";
import { findSealKey, unseal } from "../../src/device/seal_key.ts";
import { sealSecret } from "../../src/device/sealed_secret.ts";

/** A person who types these lines. */
function typing(...lines: readonly string[]) {
  const left = [...lines];
  const shown: string[] = [];
  const answer = (question: string): Promise<string> => {
    shown.push(question);
    const line = left.shift();
    assert.notEqual(line, undefined, `nobody answers ${question}`);
    return Promise.resolve(line ?? "");
  };
  const prompter: Prompter = {
    show: (text) => void shown.push(text),
    ask: answer,
    askHidden: answer,
    showOnce: () => Promise.reject(new Error("nothing to show")),
  };
  return { prompter, shown, left };
}

async function withFolder(
  use: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  const before = Deno.env.get("CREDENTIALS_DIRECTORY");
  Deno.env.delete("CREDENTIALS_DIRECTORY");
  try {
    await use(folder);
  } finally {
    if (before === undefined) Deno.env.delete("CREDENTIALS_DIRECTORY");
    else Deno.env.set("CREDENTIALS_DIRECTORY", before);
    await Deno.remove(folder, { recursive: true });
  }
}

const textOf = ({ bytes }: { readonly bytes: Secret }) =>
  new TextDecoder().decode(bytes.reveal());

function missing(name: string, text: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof OwnerError, String(error));
    assert.equal(error.missing, name);
    assert.match(error.message, text);
    return true;
  };
}

Deno.test("a key file is made for a new seal, for its owner only, and used again", () =>
  withFolder(async (folder) => {
    const path = `${folder}/key`;
    const options = { "key-file": path };
    await assert.rejects(
      findSealKey(options, null, "open"),
      missing("key", /^Cannot read --key-file .*: there is no such file$/),
    );
    const made = await findSealKey(options, null, "new");
    const { mode, size } = await Deno.stat(path);
    assert.deepEqual([(mode ?? 0) & 0o777, size], [0o400, 32]);
    const again = await findSealKey(options, null, "new");
    assert.equal(made.kind, "file");
    assert.ok(made.bytes.equals(again.bytes));
    assert.deepEqual(
      [...Deno.readDirSync(folder)].map(({ name }) => name),
      ["key"],
    );
  }));

Deno.test("a key file that cannot be made, or is too short, is told", () =>
  withFolder(async (folder) => {
    await assert.rejects(
      findSealKey({ "key-file": `${folder}/none/key` }, null, "new"),
      missing("key", /^Cannot make the key file /),
    );
    await Deno.writeFile(`${folder}/short`, new Uint8Array(31), {
      mode: 0o400,
    });
    await assert.rejects(
      findSealKey({ "key-file": `${folder}/short` }, null, "open"),
      missing("key", /: 31 bytes, want 32 to 1048576$/),
    );
  }));

Deno.test("one line end of a passphrase file is cut, and no more", () =>
  withFolder(async (folder) => {
    const path = `${folder}/passphrase`;
    const cases = [
      ["correct horse", "correct horse"],
      ["correct horse\n", "correct horse"],
      ["correct horse\r\n", "correct horse"],
      ["correct horse\n\n", "correct horse\n"],
      [" correct horse ", " correct horse "],
    ];
    for (const [content = "", wanted] of cases) {
      await Deno.writeTextFile(path, content, { mode: 0o600 });
      const options = { "passphrase-file": path };
      assert.equal(textOf(await findSealKey(options, null, "open")), wanted);
    }
  }));

Deno.test("a passphrase file that others can read is warned of", () =>
  withFolder(async (folder) => {
    const path = `${folder}/passphrase`;
    const said: string[] = [];
    const find = () =>
      findSealKey({ "passphrase-file": path }, null, "open", (text) => {
        said.push(text);
      });
    await Deno.writeTextFile(path, "correct horse");
    await Deno.chmod(path, 0o400);
    await find();
    assert.deepEqual(said, []);
    await Deno.chmod(path, 0o440);
    await find();
    assert.deepEqual(said, [`warning: others can read ${path}: chmod 400 it`]);
  }));

Deno.test("a new passphrase needs 8 characters, wherever it comes from", () =>
  withFolder(async (folder) => {
    const path = `${folder}/passphrase`;
    await Deno.writeTextFile(path, "seven77\n", { mode: 0o400 });
    const options = { "passphrase-file": path };
    await assert.rejects(
      findSealKey(options, null, "new"),
      missing("key", /: 7 characters, want 8 to 4096$/),
    );
    assert.equal(textOf(await findSealKey(options, null, "open")), "seven77");
    await Deno.writeTextFile(`${folder}/empty`, "\n", { mode: 0o400 });
    await assert.rejects(
      findSealKey({ "passphrase-file": `${folder}/empty` }, null, "open"),
      missing("key", /: 0 characters, want 1 to 4096$/),
    );
  }));

Deno.test("a passphrase is read from an open descriptor to its end", () =>
  withFolder(async (folder) => {
    const program = `
      import { findSealKey } from ${
      JSON.stringify(new URL("../../src/device/seal_key.ts", import.meta.url))
    };
      const options = { "passphrase-fd": "0" };
      const { kind, bytes } = await findSealKey(options, null, "open");
      console.log(kind, bytes.length);`;
    const config = new URL("../../deno.json", import.meta.url).pathname;
    await Deno.writeTextFile(`${folder}/program.ts`, program);
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        "--quiet",
        "--config",
        config,
        `${folder}/program.ts`,
      ],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode("correct horse\n"));
    await writer.close();
    const { stdout } = await child.output();
    assert.equal(new TextDecoder().decode(stdout), "passphrase 13\n");
    await assert.rejects(
      findSealKey({ "passphrase-fd": "three" }, null, "open"),
      /Cannot use --passphrase-fd "three": want the number/,
    );
    await assert.rejects(
      findSealKey({ "passphrase-fd": "99999" }, null, "open"),
      missing("key", /^Cannot read --passphrase-fd 99999: /),
    );
  }));

Deno.test("a service's credential is found, after what is named and before a person", () =>
  withFolder(async (folder) => {
    Deno.env.set("CREDENTIALS_DIRECTORY", folder);
    await Deno.writeTextFile(
      `${folder}/softkey-passphrase`,
      "of the service\n",
    );
    const { prompter, shown } = typing();
    assert.equal(
      textOf(await findSealKey({}, prompter, "open")),
      "of the service",
    );
    await Deno.writeFile(`${folder}/softkey-key`, new Uint8Array(32).fill(9));
    assert.equal((await findSealKey({}, prompter, "open")).kind, "file");
    await Deno.writeTextFile(`${folder}/named`, "named one", { mode: 0o400 });
    const options = { "passphrase-file": `${folder}/named` };
    assert.equal(
      textOf(await findSealKey(options, prompter, "open")),
      "named one",
    );
    assert.deepEqual(shown, []);
  }));

Deno.test("without a source and a person, one sentence says what is wanted", () =>
  withFolder(async () => {
    await assert.rejects(
      findSealKey({}, null, "open"),
      missing("key", /^Cannot open the card: no passphrase, want --passphrase/),
    );
    await assert.rejects(
      findSealKey({}, null, "new"),
      missing("key", /^Cannot seal the card: no passphrase, want --passphrase/),
    );
  }));

Deno.test("a new passphrase is typed twice, and again when the two differ", () =>
  withFolder(async () => {
    const good = typing(
      "short",
      "correct horse",
      "corect horse",
      "a b c d e",
      "a b c d e",
    );
    assert.equal(
      textOf(await findSealKey({}, good.prompter, "new")),
      "a b c d e",
    );
    assert.match(
      good.shown.join("\n"),
      /too short, want 8 characters or more\. Try again\./,
    );
    assert.match(
      good.shown.join("\n"),
      /two passphrases are not the same\. Try again\./,
    );
    const bad = typing("a", "b", "c");
    await assert.rejects(
      findSealKey({}, bad.prompter, "new"),
      missing("key", /^Cannot seal the card: the passphrase is too short/),
    );
  }));

Deno.test("a typed passphrase may be wrong twice, one from a file not once", () =>
  withFolder(async (folder) => {
    const seed = new Uint8Array(32).fill(5);
    const key = {
      kind: "passphrase",
      bytes: new Secret(new TextEncoder().encode("correct horse")),
    } as const;
    const sealed = sealSecret(seed, key, null, { logN: 14, r: 8, p: 1 });
    const person = typing("wrong", "wrong again", "correct horse");
    const { secret } = await unseal(sealed, "seed", {}, person.prompter);
    assert.deepEqual(secret.reveal(), seed);
    const stranger = typing("1", "2", "3", "correct horse");
    await assert.rejects(
      unseal(sealed, "seed", {}, stranger.prompter),
      missing("rightKey", /^Wrong passphrase/),
    );
    assert.deepEqual(stranger.left, ["correct horse"]);
    const path = `${folder}/passphrase`;
    await Deno.writeTextFile(path, "wrong", { mode: 0o400 });
    const { prompter, shown } = typing();
    await assert.rejects(
      unseal(sealed, "seed", { "passphrase-file": path }, prompter),
      missing("rightKey", /^Wrong passphrase/),
    );
    assert.deepEqual(shown, []);
  }));

Deno.test("a person is not asked to type a key file", () =>
  withFolder(async () => {
    const bytes = new Secret(new Uint8Array(32));
    const sealed = sealSecret(
      new Uint8Array(32),
      { kind: "file", bytes },
      null,
    );
    const { prompter, shown } = typing();
    await assert.rejects(
      unseal(sealed, "seed", {}, prompter),
      missing("key", /it wants its key file, name that with --key-file/),
    );
    assert.deepEqual(shown, []);
  }));
