/**
 * What a card remembers, opened: records, answers, and what the owner chose.
 *
 * | key | value | whose |
 * | --- | --- | --- |
 * | card/node | the node id that this card belongs to, 33 bytes | ours |
 * | answer/NNN | `answers.ts` | ours |
 * | policy | `policy/limits.ts`; missing: the defaults | the owner's |
 * | allowlist | UTF-8, one entry a line | the owner's |
 * | channel/…, payment/…, node | `signer/records.ts` | the signer's |
 *
 * A card from before there was a memory gets an empty one: the channels that it
 * signed for are not known to it.
 *
 * What it does not do: sign, or talk to anybody.
 *
 * @module
 */

import type { Network } from "../bitcoin/networks.ts";
import { describeError, StoreError } from "../errors.ts";
import { type Allowlist, createAllowlist } from "../policy/allowlist.ts";
import {
  decodePolicy,
  defaultPolicy,
  encodePolicy,
  type Policy,
} from "../policy/limits.ts";
import { SignerMemory } from "../signer/memory.ts";
import { openSqliteStore, type SqliteStore } from "../store/sqlite.ts";
import type { Store, StoredValue } from "../store/store.ts";
import { AnswerTail } from "./answers.ts";

/** The database beside the seed. */
export const STATE_FILE = "state.db";

const KEYS = {
  node: "card/node",
  policy: "policy",
  allowlist: "allowlist",
} as const;

/** Everything on a card, decoded. */
export interface CardState {
  readonly store: Store;
  readonly memory: SignerMemory;
  readonly tail: AnswerTail;
  readonly policy: Policy;
  readonly allowlist: Allowlist;
  /** As the owner wrote them. */
  readonly allowed: readonly string[];
  /** Node id that the card belongs to; null for one that is new. */
  readonly node: Uint8Array | null;
}

/** Opens the database of a card folder. @throws {StoreError} */
export function openCardStore(folder: string, waitMs = 0): SqliteStore {
  return openSqliteStore(`${folder}/${STATE_FILE}`, { waitMs });
}

/** Decodes all of it. @throws {StoreError} naming what cannot be read */
export function readCardState(store: Store, network: Network): CardState {
  const values = [...store.load()];
  const find = (key: string): StoredValue | undefined =>
    values.find((value) => value.key === key);
  const allowed = linesOf(find(KEYS.allowlist)?.value);
  const policy = find(KEYS.policy)?.value;
  return readable(() => ({
    store,
    memory: SignerMemory.load(values),
    tail: AnswerTail.load(values),
    policy: policy === undefined
      ? defaultPolicy(network.name)
      : decodePolicy(policy, network.name),
    allowlist: createAllowlist(allowed, network),
    allowed,
    node: find(KEYS.node)?.value ?? null,
  }));
}

/** Whether the card may serve this node; what to write when it is the first. */
export function bindingOf(
  bound: Uint8Array | null,
  nodeId: Uint8Array,
): { readonly key: string; readonly value: Uint8Array } | null {
  if (bound === null) return { key: KEYS.node, value: nodeId };
  if (bound.toHex() === nodeId.toHex()) return null;
  throw new StoreError(
    "use the card",
    `its memory belongs to node ${bound.toHex()}, this seed is node ` +
      `${nodeId.toHex()}; give each node a card of its own`,
  );
}

/** Makes a policy the card's, durably. @throws {StoreError} */
export function storePolicy(store: Store, policy: Policy): void {
  store.commit([{ key: KEYS.policy, value: encodePolicy(policy) }]);
}

/** Makes a list of destinations the card's, durably. @throws {StoreError} */
export function storeAllowlist(store: Store, entries: readonly string[]): void {
  const text = entries.join("\n");
  const value = text === "" ? null : new TextEncoder().encode(text);
  store.commit([{ key: KEYS.allowlist, value }]);
}

function linesOf(value: Uint8Array | undefined): readonly string[] {
  if (value === undefined) return [];
  return new TextDecoder().decode(value).split("\n");
}

/** A value that passes its checksum and cannot be read is of another release. */
function readable<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    const problem =
      `${describeError(cause)}; a newer softkey may have written ` +
      "it: run that one, or restore a copy that is not older than the last " +
      "signature";
    throw new StoreError("read the card", problem, { cause });
  }
}
