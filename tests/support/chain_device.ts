/**
 * A device that knows the chain's messages and nothing else: the tracker, with
 * as little around it as the follower can see.
 *
 * @module
 */

import { decodeHeader, encodeHeader } from "../../src/bitcoin/header.ts";
import {
  extendChain,
  genesisPoint,
  headerProblem,
} from "../../src/bitcoin/difficulty.ts";
import { hashHeader } from "../../src/bitcoin/header.ts";
import { type Network, NETWORKS } from "../../src/bitcoin/networks.ts";
import {
  decodeTxoProof,
  type Findings,
  outpointKey,
  type Watches,
} from "../../src/bitcoin/txo_proof.ts";
import { publicKey } from "../../src/crypto/secp.ts";
import {
  DecodeError,
  PolicyViolation,
  RequestError,
  SIGNER_ERROR_CODES,
} from "../../src/errors.ts";
import {
  addBlock,
  BlockIntake,
  removeBlock,
  startTracker,
  tipOf,
  type TrackerRules,
  type TrackerState,
} from "../../src/signer/tracker.ts";
import { decode, encode } from "../../src/wire/codec.ts";
import {
  CHUNK_SIZE,
  MAX_HEADERS,
  NATIVE_CHAIN_MESSAGES as N,
} from "../../src/wire/chain_native.ts";
import {
  decodeMessage,
  encodeMessage,
  messageType,
} from "../../src/wire/message.ts";
import {
  CHAIN_MESSAGES as C,
  signedHeartbeat,
  signHeartbeat,
  SIZED_ADD_BLOCK,
} from "../../src/wire/txoo.ts";
import { type Outpoint, type Txid, txid } from "../../src/wire/types.ts";
import { encodeSignerError } from "../../src/wire/vls.ts";
import type { DeviceLine, DeviceLines } from "../../src/chain.ts";

const ACCOUNT = new Uint8Array(32).fill(9);

/** What a device is like. */
export interface DeviceOptions {
  readonly isNative?: boolean;
  readonly network?: Network;
  readonly maxReorg?: number;
  readonly isStarted?: boolean;
  /** Unix seconds. */
  readonly birthday?: bigint;
}

/** A device's chain. */
export class FakeChainDevice {
  readonly isNative: boolean;
  readonly network: Network;
  readonly accountKey: Uint8Array = publicKey(ACCOUNT);
  readonly txids = new Set<string>();
  readonly outpoints = new Set<string>();
  /** What it found, by height. */
  readonly findings = new Map<number, Findings>();
  /** Numbers of the messages that it was asked. */
  readonly asked: number[] = [];
  state: TrackerState;
  isStarted: boolean;
  birthday: bigint;
  /** Its clock, Unix seconds. */
  now: () => number = () => Math.floor(Date.now() / 1000);
  /** Refuses what it says a text about. */
  refuse: (type: number) => string | null = () => null;
  #intake: BlockIntake | null = null;

  constructor(options: DeviceOptions = {}) {
    this.isNative = options.isNative ?? true;
    this.network = options.network ?? NETWORKS.regtest;
    this.isStarted = options.isStarted ?? true;
    this.birthday = options.birthday ?? 0n;
    const rules: TrackerRules = {
      network: this.network,
      oracles: [],
      oraclesNeeded: 0,
      wantsWholeBlocks: this.isNative,
      maxReorg: options.maxReorg ?? 100,
    };
    const { height, header } = genesisPoint(this.network);
    const filterHeader = new Uint8Array(32);
    this.state = startTracker(rules, { height, header, filterHeader });
  }

  get height(): number {
    return tipOf(this.state).point.height;
  }

  get tip(): string {
    return tipOf(this.state).point.hash.toHex();
  }

  /** Answers a message, as a signer does. */
  answer(message: Uint8Array): Uint8Array {
    const type = messageType(message) ?? -1;
    this.asked.push(type);
    const refusal = this.refuse(type);
    try {
      if (refusal !== null) throw new PolicyViolation("refused", refusal);
      return this.#answer(type, message);
    } catch (error) {
      this.#intake = null;
      const isOurs = error instanceof RequestError ||
        error instanceof PolicyViolation || error instanceof DecodeError;
      if (!isOurs) throw error;
      const code = error instanceof RequestError
        ? error.code
        : SIGNER_ERROR_CODES.refused;
      const text = new TextEncoder().encode(error.message);
      return encodeSignerError({ code, message: text });
    }
  }

  #answer(type: number, message: Uint8Array): Uint8Array {
    const tip = tipOf(this.state);
    switch (type) {
      case C.tip_info.type: {
        const { height, hash } = tip.point;
        return encodeMessage(C.tip_info_reply, { height, hash });
      }
      case C.forward_watches.type:
        return encodeMessage(C.forward_watches_reply, this.#watchLists());
      case C.reverse_watches.type:
        return encodeMessage(C.reverse_watches_reply, this.#watchLists());
      case C.add_block.type:
        return this.#add(message);
      case C.remove_block.type:
        this.#remove(message);
        return encodeMessage(C.remove_block_reply, {});
      case C.block_chunk.type:
        return this.#takePiece(message);
      case C.get_heartbeat.type:
        return this.#heartbeat();
    }
    return this.#answerNative(type, message);
  }

  #answerNative(type: number, message: Uint8Array): Uint8Array {
    switch (this.isNative ? type : -1) {
      case N.chain_state.type:
        return this.#chainState();
      case N.chain_start.type:
        return this.#start(message);
      case N.chain_headers.type:
        return this.#takeHeaders(message);
    }
    const text = `Cannot read message ${type}`;
    throw new RequestError(SIGNER_ERROR_CODES.badRequest, text);
  }

  get #watches(): Watches {
    return {
      txids: new Set(this.txids),
      outpoints: new Set(this.outpoints),
    };
  }

  #watchLists(): {
    readonly txids: readonly Txid[];
    readonly outpoints: readonly Outpoint[];
  } {
    return {
      txids: [...this.txids].map((hex) =>
        decode(txid, Uint8Array.fromHex(hex))
      ),
      outpoints: [...this.outpoints].map((hex) => {
        const bytes = Uint8Array.fromHex(hex);
        const index = new DataView(bytes.buffer).getUint32(32, true);
        return { txid: decode(txid, bytes.slice(0, 32)), index };
      }),
    };
  }

  #follow = ({ tx, txid }: Findings["found"][number]): string[] =>
    this.txids.has(txid.toHex())
      ? tx.outputs.map((_output, index) => outpointKey({ txid, index }))
      : [];

  #add(message: Uint8Array): Uint8Array {
    const row = this.isNative ? C.add_block : SIZED_ADD_BLOCK;
    const { header, proof } = decodeMessage(row, message, { isStrict: true });
    if (proof === null) throw new RequestError(400, "no proof");
    const added = addBlock(this.state, {
      header: decodeHeader(header),
      proof: decodeTxoProof(proof),
      intake: this.#intake ?? undefined,
      watches: this.#watches,
      follow: this.#follow,
      now: this.now(),
    });
    this.#intake = null;
    this.state = added.state;
    this.findings.set(added.height, added.findings);
    for (const { tx, txid } of added.findings.confirmed) {
      for (const index of tx.outputs.keys()) {
        this.outpoints.add(outpointKey({ txid, index }));
      }
    }
    return encodeMessage(C.add_block_reply, {});
  }

  #remove(message: Uint8Array): void {
    const removal = decodeMessage(C.remove_block, message, { isStrict: true });
    if (!this.isNative) decodeTxoProof(removal.proof ?? new Uint8Array());
    const removed = removeBlock(this.state, removal);
    this.state = removed.state;
    this.findings.delete(removed.height);
  }

  #takePiece(message: Uint8Array): Uint8Array {
    const piece = decodeMessage(C.block_chunk, message, { isStrict: true });
    if (piece.content.length > CHUNK_SIZE) throw new Error("A long piece");
    if (piece.offset === 0) {
      this.#intake = new BlockIntake(this.state, {
        hash: piece.hash,
        watches: this.#watches,
        follow: this.#follow,
        now: this.now(),
      });
    }
    this.#intake?.push(piece);
    return encodeMessage(C.block_chunk_reply, {});
  }

  #heartbeat(): Uint8Array {
    const { height, hash, header } = tipOf(this.state).point;
    const beat = {
      tipHash: hash,
      height,
      tipTime: header.time,
      time: this.now(),
    };
    const heartbeat = encode(signedHeartbeat, signHeartbeat(beat, ACCOUNT));
    return encodeMessage(C.get_heartbeat_reply, { heartbeat });
  }

  #chainState(): Uint8Array {
    const { point: { height, hash }, filterHeader } = tipOf(this.state);
    const { recent, rules } = this.state;
    const before = recent[recent.length - 2];
    return encodeMessage(N.chain_state_reply, {
      isStarted: this.isStarted,
      height,
      hash,
      filterHeader,
      wantsWholeBlocks: rules.wantsWholeBlocks,
      isWatching: this.txids.size + this.outpoints.size > 0,
      maxReorg: rules.maxReorg,
      previous: before === undefined ? null : {
        header: encodeHeader(before.point.header),
        filterHeader: before.filterHeader,
      },
      birthday: this.birthday,
    });
  }

  #start(message: Uint8Array): Uint8Array {
    const first = decodeMessage(N.chain_start, message, { isStrict: true });
    if (this.isStarted) throw new RequestError(400, "it has a chain");
    this.isStarted = true;
    this.state = startTracker(this.state.rules, {
      height: first.height,
      header: decodeHeader(first.header),
      ...(first.period === null ? {} : { period: decodeHeader(first.period) }),
      earlierTimes: first.earlierTimes,
      filterHeader: new Uint8Array(32),
    });
    return encodeMessage(N.chain_start_reply, {});
  }

  #takeHeaders(message: Uint8Array): Uint8Array {
    const { headers } = decodeMessage(N.chain_headers, message, {
      isStrict: true,
    });
    if (headers.length > MAX_HEADERS) throw new Error("Many headers");
    let { point, filterHeader } = tipOf(this.state);
    for (const bytes of headers) {
      const header = decodeHeader(bytes);
      const hash = hashHeader(header);
      const now = this.now();
      const problem = headerProblem(this.network, point, { header, hash, now });
      if (problem !== null) throw new PolicyViolation("chain", problem);
      point = extendChain(this.network, point, { header, hash });
    }
    const { height, hash, work } = point;
    this.state = {
      ...this.state,
      recent: [{ point, filterHeader }],
      best: { height, hash, work },
    };
    return encodeMessage(N.chain_headers_reply, { height });
  }
}

/** Lines to fake devices, without a broker. */
export class FakeLines implements DeviceLines {
  current: DeviceLine | null = null;
  onChange: (() => void) | null = null;
  #gone = new AbortController();
  /** Messages that the line lets through before it breaks. */
  budget = Infinity;

  /** This device is there now. */
  connect(device: FakeChainDevice): void {
    this.#gone.abort();
    this.#gone = new AbortController();
    this.budget = Infinity;
    const { signal } = this.#gone;
    this.current = {
      name: "aa (fake)",
      isNative: device.isNative,
      network: device.network,
      accountKey: device.accountKey,
      gone: signal,
      ask: async (message) => {
        await Promise.resolve();
        if (this.budget-- <= 0) this.disconnect();
        if (signal.aborted) throw new Error("It left");
        return device.answer(message);
      },
    };
    this.onChange?.();
  }

  /** No device is there. */
  disconnect(): void {
    this.#gone.abort();
    this.current = null;
    this.onChange?.();
  }
}
