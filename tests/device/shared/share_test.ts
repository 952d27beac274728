/**
 * `softkey card share`: what it writes, when it does not, and what the owner has
 * to consent to; `softkey run --dialect sphinx` without it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { UsageError } from "../../../src/errors.ts";
import {
  type Arguments,
  readArguments,
} from "../../../src/device/arguments.ts";
import {
  openCardStore,
  readCardFacts,
  sharingChange,
  standingChange,
} from "../../../src/device/card_state.ts";
import { shareCard } from "../../../src/device/commands/card/share.ts";
import { OwnerError } from "../../../src/device/owner_error.ts";
import { SlotBook } from "../../../src/device/shared/slots.ts";
import type { SqliteStore } from "../../../src/store/sqlite.ts";
import { fromFileUrl, withDeno } from "../../support/paths.ts";
import { FakeServer, TestCard } from "./support.ts";

const ENTRY = fromFileUrl(
  new URL("../../../src/device/main.ts", import.meta.url),
);

async function withStore(
  use: (store: SqliteStore, folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  const store = openCardStore(folder);
  try {
    await use(store, folder);
  } finally {
    store.close();
    await Deno.remove(folder, { recursive: true });
  }
}

function line(...args: readonly string[]): Arguments {
  const { options } = readArguments(args);
  return { options, words: [] };
}

/** Runs it; what it printed. */
async function share(
  store: SqliteStore,
  args: Arguments,
  typed: string | null = null,
): Promise<string> {
  const printed: string[] = [];
  const prompter = typed === null ? null : {
    ask: () => Promise.resolve(typed),
    askHidden: () => Promise.resolve(typed),
    show: () => {},
    showOnce: () => Promise.resolve(),
  };
  const access = {
    store,
    folder: "card",
    network: null,
    desk: null,
    questions: null,
    print: (text: string) => void printed.push(text),
    printError: () => {},
    path: (text: string) => text,
  };
  assert.equal(await shareCard(access, args, prompter), 0);
  return printed.join("\n");
}

Deno.test("a card is shared with its owner's word, and says what that means", () =>
  withStore(async (store) => {
    await assert.rejects(share(store, line()), OwnerError);
    await assert.rejects(share(store, line(), "no"), OwnerError);
    assert.equal(readCardFacts(store).sharing, null);
    const said = await share(store, line(), "share");
    assert.match(said, /two different pasts/);
    const { sharing } = readCardFacts(store);
    assert.deepEqual(sharing, { serverKey: null, isClean: false });
    assert.match(await share(store, line()), /has not met the storage yet/);
  }));

Deno.test("--new-storage forgets the server and all that it acknowledged", () =>
  withStore(async (store) => {
    await assert.rejects(
      share(store, line("--new-storage", "--yes")),
      UsageError,
    );
    const server = new FakeServer();
    const card = new TestCard();
    card.dance(server);
    card.sign(server, { channel: 0, n: 0, t: 1 });
    const rows = [...card.store.load()];
    store.commit(rows.map(({ key, value }) => ({ key, value })));
    assert.ok(SlotBook.load(store.load()).head !== null);
    assert.match(await share(store, line()), /by the storage with key 03/);
    await share(store, line("--new-storage", "--yes"));
    assert.equal(SlotBook.load(store.load()).head, null);
    const { sharing } = readCardFacts(store);
    assert.deepEqual(sharing, { serverKey: null, isClean: false });
  }));

Deno.test("a card that may be old is not the newest state of a new storage", () =>
  withStore(async (store) => {
    const standing = { kind: "restored", generation: 3n, at: 1n } as const;
    store.commit([
      sharingChange({ serverKey: null, isClean: false }),
      standingChange(standing),
    ]);
    await assert.rejects(
      share(store, line("--new-storage", "--yes")),
      /it was restored and may be old/,
    );
    store.commit([standingChange({ ...standing, kind: "moved" })]);
    await assert.rejects(share(store, line("--yes")), /moved to another one/);
  }));

interface Result {
  readonly code: number;
  readonly said: string;
}

async function softkey(...args: readonly string[]): Promise<Result> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", ENTRY, ...args],
    env: withDeno(),
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  return { code, said: text.decode(stdout) + text.decode(stderr) };
}

Deno.test("on the command line: card share, then card check says so; Sphinx wants it first", async () => {
  const around = await Deno.makeTempDir();
  try {
    const folder = `${around}/card`;
    await Deno.writeFile(`${around}/secret`, new Uint8Array(32).fill(9));
    await Deno.mkdir(folder);
    openCardStore(folder).close();
    const run = (...more: readonly string[]) =>
      softkey(
        ...["run", "--broker", "mqtt://127.0.0.1:1", "--card", folder],
        ...["--network", "regtest", "--hsm-secret", `${around}/secret`],
        ...more,
      );
    const strange = await run("--dialect", "morse");
    assert.equal(strange.code, 2, strange.said);
    assert.match(strange.said, /want native or sphinx/);
    const alone = await run("--dialect", "sphinx");
    assert.equal(alone.code, 6, alone.said);
    assert.match(alone.said, /softkey card share first/);
    const shared = await softkey("card", "share", "--yes", "--card", folder);
    assert.equal(shared.code, 0, shared.said);
    const checked = await softkey("card", "check", "--card", folder);
    assert.match(checked.said, /has not met the storage yet/);
  } finally {
    await Deno.remove(around, { recursive: true });
  }
});
