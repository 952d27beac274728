/**
 * A program that is killed while it writes: what it was told to be durable is
 * there when the card is opened again.
 *
 * @module
 */

import assert from "node:assert/strict";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import { fromFileUrl, withDeno } from "../support/paths.ts";

const CHILD = fromFileUrl(new URL("./child.ts", import.meta.url));
const KILLS = Deno.env.get("SLOW") === "1" ? 500 : 25;

/** Runs the writer, kills it after some lines; the last one it printed. */
async function writeAndKill(
  task: "fill" | "turn",
  path: string,
  afterMs: number,
): Promise<string> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", CHILD, task, path],
    env: withDeno(),
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let said = "";
  let isDue = false;
  const decoder = new TextDecoder();
  for await (const part of child.stdout) {
    said += decoder.decode(part, { stream: true });
    if (isDue) continue;
    isDue = true;
    // The moment is the point of this test; nothing is waited for.
    setTimeout(() => child.kill("SIGKILL"), afterMs);
  }
  const { signal } = await child.status;
  assert.equal(signal, "SIGKILL", said);
  return said.slice(0, said.lastIndexOf("\n")).split("\n").at(-1) ?? "";
}

/** Opens what the killed program left; nothing that it said is lost. */
function look(path: string, said: string): void {
  const [generation = "", hash = ""] = said.split(" ");
  const store = openSqliteStore(path);
  store.check();
  const { head } = store;
  assert.ok(head.generation >= BigInt(generation), `lost ${generation}`);
  // One more may have been written whose line was never printed.
  assert.ok(head.generation <= BigInt(generation) + 1n);
  if (head.generation === BigInt(generation)) {
    assert.equal(head.hash.toHex(), hash);
  }
  const last = [...store.load()].find(({ key }) => key === "last");
  const text = new TextDecoder().decode(last?.value);
  assert.equal(text, `${head.generation}`);
  // A line is there exactly when its change is.
  const [newest] = store.ledger.lines({ last: 1 });
  assert.equal(new TextDecoder().decode(newest?.body), text);
  assert.equal(store.ledger.tip.number, head.generation);
  store.close();
}

async function killOften(task: "fill" | "turn"): Promise<void> {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/state.db`;
  try {
    for (let kill = 0; kill < KILLS; kill += 1) {
      look(path, await writeAndKill(task, path, Math.random() * 40));
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test(`killed ${KILLS} times while it writes, a card loses nothing`, () =>
  killOften("fill"));

Deno.test(`killed ${KILLS} times while it opens or closes, a card is whole`, () =>
  killOften("turn"));
