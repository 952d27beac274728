/**
 * Control messages on a card: durable, in the book, in force; and never again,
 * whatever happens to the card.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { NETWORKS } from "../../../src/bitcoin/networks.ts";
import { Secret } from "../../../src/crypto/secret.ts";
import {
  openCardStore,
  readCardFacts,
  readCardState,
} from "../../../src/device/card_state.ts";
import { backupCard } from "../../../src/device/commands/card/backup.ts";
import { restoreCard } from "../../../src/device/commands/card/restore.ts";
import {
  type ControlAnswer,
  Controls,
} from "../../../src/device/control/controls.ts";
import { decodeEntry } from "../../../src/device/ledger.ts";
import { openSecretFile, parseSecretFile } from "../../../src/keyderiv.ts";
import { deriveControlKey } from "../../../src/keyderiv/control_key.ts";
import { createSigner } from "../../../src/signer/handle.ts";
import { encodeWrite, freshChannel } from "../../../src/signer/memory.ts";
import {
  type ChannelRecord,
  channelSetup,
} from "../../../src/signer/records.ts";
import type { Ownership } from "../../../src/signer/state.ts";
import { MemoryDisk } from "../../../src/store/memory.ts";
import type { Ledger, Store } from "../../../src/store/store.ts";
import { sealEnvelope } from "../../../src/wire/control_envelope.ts";
import {
  type ControlMessage,
  type ControlResponse,
  decodeControlResponse,
  encodeControlMessage,
} from "../../../src/wire/control_message.ts";
import { arbitrary } from "../../support/arbitrary.ts";
import {
  type CardFixture,
  commandLine,
  nobody,
  NODE,
  NOW,
  SEED,
  withCard,
} from "../../support/card_folder.ts";

const network = NETWORKS.regtest;
const KEY = deriveControlKey(openSecretFile(parseSecretFile(SEED))).secret;
const POLICY = {
  msatPerInterval: 5000n,
  interval: "daily",
  htlcLimitMsat: 9000n,
} as const;

function envelope(message: ControlMessage, nonce: bigint, key = KEY) {
  const payload = encodeControlMessage(message);
  return sealEnvelope({ payload, nonce }, key);
}

/** A card that a softkey runs with, as far as control messages go. */
interface Running {
  readonly controls: Controls;
  readonly said: readonly string[];
  readonly owned: Partial<Ownership>;
  ask(bytes: Uint8Array): Promise<ControlResponse & { ending?: string }>;
}

interface Setting {
  readonly now?: number;
  readonly folder?: string;
}

function running(store: Store, setting: Setting = {}): Running {
  const { now = NOW, folder = "/nowhere" } = setting;
  const card = readCardState(store, network);
  let state = createSigner({
    secretFile: new Secret(SEED),
    network,
    isDeveloper: false,
    memory: card.memory,
    policy: card.policy,
    allowlist: card.allowlist,
  });
  const said: string[] = [];
  const owned: Partial<Ownership> = {};
  const controls = new Controls({
    card: { folder },
    store,
    network,
    nonce: card.nonce,
    desk: {
      get state() {
        return state;
      },
      own(ownership) {
        Object.assign(owned, ownership);
        state = { ...state, ...ownership };
      },
    },
    say: (text) => void said.push(text),
    now: () => now,
  });
  const ask = async (bytes: Uint8Array) => answerOf(await controls.take(bytes));
  return { controls, said, owned, ask };
}

function answerOf({ payload, ending }: ControlAnswer) {
  const response = decodeControlResponse(payload);
  return ending === null ? response : { ...response, ending: ending.missing };
}

async function lastNonce({ ask }: Running): Promise<bigint> {
  const answer = await ask(envelope({ kind: "Nonce" }, 0n));
  assert.ok(answer.kind === "Nonce");
  return answer.value;
}

const isInvalid = (answer: ControlResponse) =>
  answer.kind === "Error" && answer.value === "invalid nonce";

function controlLines(ledger: Ledger): readonly string[] {
  return [...ledger.lines()].map(({ body }) => decodeEntry(body))
    .filter(({ kind }) => kind === "control").map(({ text }) => text);
}

/** Uses a card as a softkey does, and lets go of it. */
async function use(
  folder: string,
  work: (running: Running, store: Store) => Promise<void>,
  now = NOW,
): Promise<void> {
  const store = openCardStore(folder);
  const card = running(store, { folder, now });
  try {
    await work(card, store);
  } finally {
    card.controls.close();
    store.close();
  }
  await card.controls.finish();
}

const noChannels = { channels: 0 };
const namesIn = (folder: string) =>
  [...Deno.readDirSync(folder)].map(({ name }) => name).sort();

Deno.test("a policy is durable before the answer, in force, and in the book", () =>
  withCard(({ folder }) =>
    use(folder, async (card, store) => {
      const nonce = await lastNonce(card) + 1n;
      const message = { kind: "UpdatePolicy", value: POLICY } as const;
      const answer = await card.ask(envelope(message, nonce));
      assert.deepEqual(answer, { kind: "PolicyUpdated", value: POLICY });
      const kept = readCardState(store, network);
      assert.equal(kept.nonce, nonce);
      assert.equal(kept.policy.maxHtlcValueSat, 9n);
      assert.deepEqual(card.owned.policy, kept.policy);
      const shown = await card.ask(
        envelope({ kind: "QueryPolicy" }, nonce + 1n),
      );
      assert.deepEqual(shown, { kind: "PolicyCurrent", value: POLICY });
      const lines = controlLines(store.ledger);
      assert.ok(lines.includes("Nonce: told the last number"));
      assert.ok(lines.includes(
        `${nonce}: UpdatePolicy: max_htlc_value_sat 9 sat, velocity day:5000 msat`,
      ));
      assert.ok(lines.includes(`${nonce + 1n}: QueryPolicy`));
    })
  ));

Deno.test("an allowlist is durable, and in force", () =>
  withCard(({ folder }) =>
    use(folder, async (card, store) => {
      const nonce = await lastNonce(card) + 1n;
      const value = [`payee:${NODE}`];
      const message = { kind: "UpdateAllowlist", value } as const;
      const answer = await card.ask(envelope(message, nonce));
      assert.deepEqual(answer, { kind: "AllowlistUpdated", value });
      assert.deepEqual(readCardState(store, network).allowed, value);
      assert.deepEqual(card.owned.allowlist?.entries, value);
    })
  ));

Deno.test("a message that was taken is not taken again, nor after a restart", () =>
  withCard(async ({ folder }) => {
    const recorded: Uint8Array[] = [];
    await use(folder, async (card) => {
      const last = await lastNonce(card);
      for (let i = 1n; i <= 3n; i++) {
        const message = { kind: "UpdatePolicy", value: POLICY } as const;
        recorded.push(envelope(message, last + i));
      }
      for (const bytes of recorded) {
        assert.equal((await card.ask(bytes)).kind, "PolicyUpdated");
      }
      for (const bytes of recorded) assert.ok(isInvalid(await card.ask(bytes)));
    });
    // The clock of the next start may be behind: it is not asked.
    await use(folder, async (card) => {
      for (const bytes of recorded) assert.ok(isInvalid(await card.ask(bytes)));
      assert.equal(await lastNonce(card), BigInt(NOW) + 3n);
    }, NOW - 1_000_000);
  }));

Deno.test("of two that come together with one number one is taken", () =>
  withCard(({ folder }) =>
    use(folder, async (card) => {
      const nonce = await lastNonce(card) + 1n;
      const answers = await Promise.all([
        card.ask(envelope({ kind: "QueryPolicy" }, nonce)),
        card.ask(envelope({ kind: "QueryAllowlist" }, nonce)),
      ]);
      assert.equal(answers.filter(isInvalid).length, 1);
    })
  ));

Deno.test("a control message while the card cannot be written did not happen", async () => {
  const disk = new MemoryDisk();
  const store = disk.open();
  const card = running(store);
  const last = await lastNonce(card);
  const message = { kind: "UpdatePolicy", value: POLICY } as const;
  const bytes = envelope(message, last + 1n);
  disk.fault = () => "before";
  const failed = await card.ask(bytes);
  assert.ok(failed.kind === "Error" && /Cannot write/.test(failed.value));
  assert.deepEqual(card.owned, {});
  assert.equal(readCardFacts(store).nonce, last);
  disk.fault = () => null;
  assert.equal((await card.ask(bytes)).kind, "PolicyUpdated");
  card.controls.close();
  store.close();
});

Deno.test("when nobody can tell what was written, nothing more is done", async () => {
  const disk = new MemoryDisk();
  const store = disk.open();
  const card = running(store);
  const last = await lastNonce(card);
  const message = { kind: "UpdatePolicy", value: POLICY } as const;
  disk.fault = () => "after";
  const failed = await card.ask(envelope(message, last + 1n));
  assert.equal(failed.kind, "Error");
  disk.fault = () => null;
  const next = await card.ask(envelope({ kind: "QueryPolicy" }, last + 2n));
  assert.equal(next.kind, "Error");
  assert.deepEqual(card.owned, {});
  card.controls.close();
  store.close();
  // It was written after all: then its number was, too.
  const again = running(disk.open());
  assert.ok(isInvalid(await again.ask(envelope(message, last + 1n))));
  again.controls.close();
});

Deno.test("what the node's host may send by itself fills no book", () =>
  withCard(({ folder }) =>
    use(folder, async (card, store) => {
      const other = new Secret(new Uint8Array(32).fill(9));
      const before = controlLines(store.ledger).length;
      for (let i = 0; i < 100; i++) {
        const forged = envelope({ kind: "ResetAll" }, BigInt(i), other);
        assert.equal((await card.ask(forged)).kind, "Error");
      }
      const lines = controlLines(store.ledger).slice(before);
      assert.equal(lines.length, 1);
      assert.match(lines[0] ?? "", /^refused: .*another key signed it/);
    })
  ));

Deno.test("ResetWifi forgets the pairing, and the softkey ends", () =>
  withCard(({ folder }) =>
    use(folder, async (card, store) => {
      assert.ok(readCardFacts(store).pairing !== null);
      const nonce = await lastNonce(card) + 1n;
      const answer = await card.ask(envelope({ kind: "ResetWifi" }, nonce));
      assert.deepEqual(answer, { kind: "ResetWifi", ending: "consent" });
      assert.equal(readCardFacts(store).pairing, null);
    })
  ));

/** Puts channels on a card: one that is set up, one that was only named. */
function addChannels(folder: string): void {
  const peerId = Uint8Array.fromHex(NODE) as ChannelRecord["peerId"];
  const [setup] = fc.sample(arbitrary(channelSetup), 1);
  assert.ok(setup !== undefined);
  const named = freshChannel({ peerId, dbid: 8n });
  const open = { ...freshChannel({ peerId, dbid: 7n }), setup };
  const store = openCardStore(folder);
  const writes = [named, open].map((record) =>
    encodeWrite({ kind: "channel", id: record, record })
  );
  store.commit(writes);
  store.close();
}

Deno.test("a reset is refused while the memory knows an open channel", () =>
  withCard(async ({ folder }) => {
    addChannels(folder);
    await use(folder, async (card) => {
      const last = await lastNonce(card);
      for (const [i, kind] of (["ResetKeys", "ResetAll"] as const).entries()) {
        const bytes = envelope({ kind }, last + BigInt(i + 1));
        const answer = await card.ask(bytes);
        assert.ok(answer.kind === "Error");
        assert.ok(answer.value.includes(`(${NODE.slice(0, 10)}…/7)`));
        assert.equal(answer.ending, undefined);
      }
    });
    assert.ok(namesIn(folder).includes("seed.sealed"));
  }, noChannels));

Deno.test("ResetKeys takes the seed before it answers, and the softkey ends", () =>
  withCard(async ({ folder }) => {
    await use(folder, async (card) => {
      const nonce = await lastNonce(card) + 1n;
      const answer = await card.ask(envelope({ kind: "ResetKeys" }, nonce));
      assert.deepEqual(answer, { kind: "ResetKeys", ending: "seed" });
      assert.ok(!namesIn(folder).includes("seed.sealed"));
    });
    assert.ok(namesIn(folder).includes("state.db"));
    await use(folder, async (card) => {
      const again = await lastNonce(card) + 1n;
      const answer = await card.ask(envelope({ kind: "ResetKeys" }, again));
      assert.match(
        answer.kind === "Error" ? answer.value : "",
        /and not on the card/,
      );
    });
  }, noChannels));

Deno.test("ResetAll takes the card, and nothing of it is replayed to the next", () =>
  withCard(async ({ folder, around }) => {
    const recorded: Uint8Array[] = [];
    await use(folder, async (card) => {
      const last = await lastNonce(card);
      const policy = { kind: "UpdatePolicy", value: POLICY } as const;
      recorded.push(envelope(policy, last + 1n));
      recorded.push(envelope({ kind: "ResetAll" }, last + 2n));
      for (const bytes of recorded) {
        assert.notEqual((await card.ask(bytes)).kind, "Error");
      }
    });
    assert.ok(!namesIn(around).includes("card"));
    // The same words on a new card: the same control key.
    await withCard(async ({ folder }) => {
      await use(folder, async (card) => {
        for (const bytes of recorded) {
          assert.ok(isInvalid(await card.ask(bytes)));
        }
      }, NOW + 60_000);
    }, noChannels);
  }, noChannels));

async function backedUp({ folder, around, keyFile }: CardFixture) {
  const path = `${around}/backup`;
  const store = openCardStore(folder);
  const said = nobody();
  const { print, printError } = said;
  const access = {
    store,
    network,
    folder,
    desk: null,
    questions: null,
    print,
    printError,
    path: (text: string) => text,
  };
  const line = commandLine(path, "--key-file", keyFile, "--yes");
  try {
    assert.equal(await backupCard(access, line, null, NOW), 0);
  } finally {
    store.close();
  }
  return path;
}

Deno.test("what a card took after its backup is not taken by the restored one", () =>
  withCard(async (fixture) => {
    const { folder, around, keyFile } = fixture;
    const recorded: Uint8Array[] = [];
    await use(folder, async (card) => {
      const last = await lastNonce(card);
      const policy = { kind: "UpdatePolicy", value: POLICY } as const;
      await card.ask(envelope(policy, last + 1n));
      for (let i = 2n; i < 5n; i++) recorded.push(envelope(policy, last + i));
    });
    const path = await backedUp(fixture);
    await use(folder, async (card) => {
      for (const bytes of recorded) {
        assert.equal((await card.ask(bytes)).kind, "PolicyUpdated");
      }
    });
    const to = `${around}/restored`;
    const line = commandLine(
      path,
      "--card",
      to,
      "--key-file",
      keyFile,
      "--yes",
    );
    const later = { ...nobody(), now: () => NOW + 60_000 };
    assert.equal(await restoreCard(line, later), 0);
    await use(to, async (card) => {
      for (const bytes of recorded) assert.ok(isInvalid(await card.ask(bytes)));
    });
  }));
