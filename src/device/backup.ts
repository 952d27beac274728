/**
 * A backup: a whole card in one file, sealed with the card's own key
 * (`sealed_secret.ts` says how). Inside the seal, all integers big-endian:
 *
 * | field | bytes |
 * | --- | --- |
 * | format | u8 = 1 |
 * | madeAt | u64, Unix time in milliseconds |
 * | network | u16 and UTF-8; empty when the card does not know it |
 * | id | u16 and the file `id` |
 * | cardKey | u16 and the file `card_key` |
 * | seed | u32 and the file `seed.sealed`, sealed once more |
 * | memory | u32 and what `store/copy.ts` makes of the memory |
 *
 * A backup is old with the next signature. What was restored from one is
 * "restored" and signs nothing for channels, but for a backup whose card was
 * marked as moved before it was taken: that one is the last word.
 *
 * What it does not do: read or write files, or ask.
 *
 * @module
 */

import type { Secret } from "../crypto/secret.ts";
import { describeError } from "../errors.ts";
import { type CardDump, decodeCard } from "../store/copy.ts";
import {
  choice,
  decode,
  encode,
  struct,
  u64,
  varBytes,
} from "../wire/codec.ts";
import { type CardFacts, readCardFacts } from "./card_state.ts";
import { OwnerError } from "./owner_error.ts";
import { sealedNodeId, sealFile, type SealKey } from "./sealed_secret.ts";
import type { Standing } from "./standing.ts";

const FORMAT = 1;

const backupRecord = struct("backup", {
  format: choice("format", [FORMAT]),
  madeAt: u64,
  network: varBytes("network", 16),
  id: varBytes("id", 16),
  cardKey: varBytes("card_key", 16),
  seed: varBytes("seed", 32),
  memory: varBytes("memory", 32),
});

/** All that a card is. */
export interface Backup {
  /** Unix time in milliseconds. */
  readonly madeAt: bigint;
  /** Empty when the card does not know it. */
  readonly network: string;
  /** The file `id`. */
  readonly id: Uint8Array;
  /** The file `card_key`. */
  readonly cardKey: Uint8Array;
  /** The file `seed.sealed`. */
  readonly seed: Uint8Array;
  /** What `encodeCard` made. */
  readonly memory: Uint8Array;
}

/** A backup as bytes. */
export function encodeBackup(backup: Backup): Uint8Array<ArrayBuffer> {
  const network = new TextEncoder().encode(backup.network);
  return encode(backupRecord, { ...backup, format: FORMAT, network });
}

/** Reads what {@link encodeBackup} wrote. @throws {DecodeError} */
export function decodeBackup(bytes: Uint8Array): Backup {
  const { format: _, network, ...rest } = decode(backupRecord, bytes);
  return { ...rest, network: new TextDecoder().decode(network) };
}

/** A backup as the file that the owner keeps. */
export function sealBackup(
  text: Uint8Array,
  key: SealKey,
  seed: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const nodeId = sealedNodeId(seed);
  return sealFile({ content: "backup", text, key, nodeId });
}

/** A backup, looked at. */
export interface BackupContent {
  readonly backup: Backup;
  readonly dump: CardDump;
  readonly facts: CardFacts;
  /** Null when the backup does not know it. */
  readonly nodeId: Uint8Array | null;
  /** Whether its card was marked as moved before it was taken. */
  readonly isMove: boolean;
}

/**
 * All of a backup that was opened, verified.
 *
 * @throws {OwnerError} validSeed, for one that is none
 */
export function inspectBackup(opened: Secret): BackupContent {
  try {
    const backup = decodeBackup(opened.reveal());
    const dump = decodeCard(backup.memory);
    const rows = dump.rows.filter(({ value }) => value.length > 0);
    const facts = readCardFacts({ load: () => rows });
    const nodeId = facts.node ?? sealedNodeId(backup.seed);
    const isMove = facts.standing?.kind === "moved";
    return { backup, dump, facts, nodeId, isMove };
  } catch (cause) {
    const text = `Cannot use the backup: ${describeError(cause)}`;
    throw new OwnerError("validSeed", text, { cause });
  }
}

/** The standing of a card that is made from a backup. */
export function standingAfter(
  { isMove, dump }: Pick<BackupContent, "isMove" | "dump">,
  now: number,
): Standing | null {
  if (isMove) return null;
  const { generation } = dump.head;
  return { kind: "restored", generation, at: BigInt(now) };
}
