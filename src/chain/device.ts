/**
 * A device's chain, as questions and answers: one message at a time, each
 * answered before the next.
 *
 * A native device says all that is needed to go on (`wire/chain_native.ts`). A
 * VLS signer says height and hash of its tip; the rest is remembered for it
 * (`vls.ts`).
 *
 * | | native | VLS |
 * | --- | --- | --- |
 * | where it stands | chain_state | tip_info |
 * | what it watches | its own business | forward_watches, reverse_watches |
 * | block | in pieces | filter; in pieces when the filter errs |
 * | block taken back | named | named and proved |
 *
 * @module
 */

import { HEADER_SIZE } from "../bitcoin/header.ts";
import type { Network } from "../bitcoin/networks.ts";
import {
  type Evidence,
  outpointKey,
  type Watches,
} from "../bitcoin/txo_proof.ts";
import { SIGNER_ERROR_CODES } from "../errors.ts";
import {
  type ChainState,
  CHUNK_SIZE,
  NATIVE_CHAIN_MESSAGES,
} from "../wire/chain_native.ts";
import {
  decodeMessage,
  encodeMessage,
  type MessageOf,
  messageType,
  type Row,
} from "../wire/message.ts";
import { CHAIN_MESSAGES, SIZED_ADD_BLOCK } from "../wire/txoo.ts";
import { decodeSignerError, SIGNER_ERROR_TYPE } from "../wire/vls.ts";
import type { PreviousBlock } from "./follow.ts";
import {
  attestedProof,
  type Breathe,
  filterEvidence,
  NO_WATCHES,
  searchBlock,
  type SearchedBlock,
} from "./proof.ts";

const { chain_state, chain_state_reply, chain_start, chain_start_reply } =
  NATIVE_CHAIN_MESSAGES;
const { chain_headers, chain_headers_reply } = NATIVE_CHAIN_MESSAGES;

/** The line to the device that is asked at present. */
export interface DeviceLine {
  /** For people. */
  readonly name: string;
  readonly isNative: boolean;
  readonly network: Network;
  /** Public key (33 bytes) under which it signs heartbeats. */
  readonly accountKey: Uint8Array;
  /** Ends when the device is gone, or another is asked instead. */
  readonly gone: AbortSignal;
  /** Its answer; fails when the device is gone. */
  ask(message: Uint8Array): Promise<Uint8Array>;
}

/** What a device that does not know the chain's messages is asked only. */
const FIRST_QUESTIONS: readonly string[] = [
  chain_state.name,
  CHAIN_MESSAGES.tip_info.name,
];

/** The device said no. */
export class DeviceRefusal extends Error {
  override readonly name = "DeviceRefusal";
  /** One of SIGNER_ERROR_CODES, if it is any of ours. */
  readonly code: number;
  readonly #asked: string;

  constructor(asked: string, code: number, text: string) {
    super(`it refused ${asked}: ${text} (${code})`);
    this.#asked = asked;
    this.code = code;
  }

  /** Whether the device knows nothing of chains. */
  get isUnknown(): boolean {
    return this.code === SIGNER_ERROR_CODES.badRequest &&
      FIRST_QUESTIONS.includes(this.#asked);
  }
}

/** A block, and where it goes. */
export interface NextBlock {
  readonly bytes: Uint8Array;
  readonly height: number;
  /** Filter header of the block before. */
  readonly previousFilterHeader: Uint8Array;
}

const LONGEST_FOREIGN_TEXT = 400;

/** Asks one device. */
export class DeviceChain {
  readonly #line: DeviceLine;
  readonly #breathe: Breathe;

  constructor(line: DeviceLine, breathe: Breathe) {
    this.#line = line;
    this.#breathe = breathe;
  }

  /** Where a native device stands. */
  async state(): Promise<ChainState> {
    return await this.#ask(chain_state, {}, chain_state_reply);
  }

  /** Where a VLS signer stands. */
  async tip(): Promise<Pick<ChainState, "height" | "hash">> {
    const { tip_info, tip_info_reply } = CHAIN_MESSAGES;
    return await this.#ask(tip_info, {}, tip_info_reply);
  }

  /** Gives it a first block. */
  async start(first: MessageOf<typeof chain_start>): Promise<void> {
    await this.#ask(chain_start, first, chain_start_reply);
  }

  /** Gives it headers without their blocks. */
  async headers(headers: readonly Uint8Array[]): Promise<void> {
    await this.#ask(chain_headers, { headers }, chain_headers_reply);
  }

  /** Looks through a block for one that wants it whole: may be done ahead. */
  async searchWhole(bytes: Uint8Array): Promise<SearchedBlock> {
    return await searchBlock(bytes, NO_WATCHES, this.#breathe);
  }

  /** Gives it a block with all its bytes; returns the new filter header. */
  async addWhole(
    block: SearchedBlock,
    { height, previousFilterHeader }: Omit<NextBlock, "bytes">,
  ): Promise<Uint8Array> {
    const evidence: Evidence = { kind: "external" };
    const at = { height, previous: previousFilterHeader };
    const { proof, filterHeader } = attestedProof(block, evidence, at);
    await this.#sendPieces(block);
    await this.#add(block, proof);
    return filterHeader;
  }

  /** Gives it a block with a filter; returns the new filter header. */
  async addFiltered(next: NextBlock): Promise<Uint8Array> {
    const { block, proof, filterHeader } = await this.#prove(next, {
      asks: CHAIN_MESSAGES.forward_watches,
      answers: CHAIN_MESSAGES.forward_watches_reply,
    });
    await this.#add(block, proof);
    return filterHeader;
  }

  /** Takes back the tip of a native device. */
  async remove({ header, filterHeader }: PreviousBlock): Promise<void> {
    await this.#remove(null, { header, filterHeader });
  }

  /** Takes back the tip of a VLS signer, which wants the block proved. */
  async removeProved(
    tip: Omit<NextBlock, "previousFilterHeader">,
    previous: PreviousBlock,
  ): Promise<void> {
    const next = { ...tip, previousFilterHeader: previous.filterHeader };
    const { proof } = await this.#prove(next, {
      asks: CHAIN_MESSAGES.reverse_watches,
      answers: CHAIN_MESSAGES.reverse_watches_reply,
    });
    await this.#remove(proof, previous);
  }

  /** Its signed word about where it stands. */
  async heartbeat(): Promise<Uint8Array> {
    const { get_heartbeat, get_heartbeat_reply } = CHAIN_MESSAGES;
    return (await this.#ask(get_heartbeat, {}, get_heartbeat_reply)).heartbeat;
  }

  async #prove(
    { bytes, height, previousFilterHeader }: NextBlock,
    { asks, answers }: {
      readonly asks: Row;
      readonly answers: typeof CHAIN_MESSAGES.forward_watches_reply;
    },
  ): Promise<{
    readonly block: SearchedBlock;
    readonly proof: Uint8Array;
    readonly filterHeader: Uint8Array;
  }> {
    const watches = watchesIn(await this.#ask(asks, {}, answers));
    const block = await searchBlock(bytes, watches, this.#breathe);
    const evidence = filterEvidence(block);
    if (evidence === null) await this.#sendPieces(block);
    const at = { height, previous: previousFilterHeader };
    const shown = evidence ?? { kind: "external" };
    return { block, ...attestedProof(block, shown, at) };
  }

  async #sendPieces({ bytes, seen: { hash } }: SearchedBlock): Promise<void> {
    const { block_chunk, block_chunk_reply } = CHAIN_MESSAGES;
    for (let offset = 0; offset < bytes.length; offset += CHUNK_SIZE) {
      const content = bytes.subarray(offset, offset + CHUNK_SIZE);
      const piece = { hash, offset, content };
      await this.#ask(block_chunk, piece, block_chunk_reply);
    }
  }

  async #add({ bytes }: SearchedBlock, proof: Uint8Array): Promise<void> {
    const header = bytes.subarray(0, HEADER_SIZE);
    const row = this.#line.isNative
      ? CHAIN_MESSAGES.add_block
      : SIZED_ADD_BLOCK;
    await this.#ask(row, { header, proof }, CHAIN_MESSAGES.add_block_reply);
  }

  async #remove(
    proof: Uint8Array | null,
    { header, filterHeader }: PreviousBlock,
  ): Promise<void> {
    const { remove_block, remove_block_reply } = CHAIN_MESSAGES;
    const removal = {
      proof,
      previousHeader: header,
      previousFilterHeader: filterHeader,
    };
    await this.#ask(remove_block, removal, remove_block_reply);
  }

  async #ask<A extends Row["fields"], B extends Row["fields"]>(
    asks: Row<A>,
    value: MessageOf<Row<A>>,
    answers: Row<B>,
  ): Promise<MessageOf<Row<B>>> {
    const message = await this.#line.ask(encodeMessage(asks, value));
    if (messageType(message) === SIGNER_ERROR_TYPE) {
      const { code, message: words } = decodeSignerError(message);
      throw new DeviceRefusal(asks.name, code, printable(words));
    }
    return decodeMessage(answers, message);
  }
}

function watchesIn(
  { txids, outpoints }: MessageOf<typeof CHAIN_MESSAGES.forward_watches_reply>,
): Watches {
  return {
    txids: new Set(txids.map((txid) => txid.toHex())),
    outpoints: new Set(outpoints.map(outpointKey)),
  };
}

/** Text of a device, fit for a log line of ours. */
function printable(bytes: Uint8Array): string {
  // deno-lint-ignore no-control-regex
  const controls = /[\u0000-\u001f\u007f]/g;
  return new TextDecoder().decode(bytes.subarray(0, LONGEST_FOREIGN_TEXT))
    .replace(controls, " ").trim();
}
