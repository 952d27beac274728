/**
 * The rules of second-level HTLC transactions, and the HTLC scripts that say
 * which HTLC one takes.
 *
 * A request brings a script and a transaction. The script is read into the keys,
 * the hash and the expiry that it stands for; those have to be the commitment's.
 * The transaction is built again from the HTLC that was found and has to be the
 * same in everything that a signature covers.
 *
 * Standard: BOLT 3 ("HTLC Outputs", "HTLC-Timeout and HTLC-Success
 * Transactions").
 *
 * What it does not do: derive keys or look up commitments
 * (`signer/htlc_request.ts`).
 *
 * @module
 */

import { isSameBytes } from "../bitcoin/bytes.ts";
import type { Tx } from "../bitcoin/tx.ts";
import { asPubKey } from "../bitcoin/keys.ts";
import { feerateOf, htlcTxWeight } from "../lightning/weight.ts";
import type { PubKey } from "../wire/types.ts";
import type { Judge } from "./judge.ts";
import { maxFeerate } from "./limits.ts";

/** What an HTLC output's script says; offered and local: by its broadcaster. */
export interface HtlcScript {
  readonly isOffered: boolean;
  /** HASH160 of the revocation key. */
  readonly revocationHash: Uint8Array;
  readonly remoteHtlc: PubKey;
  readonly localHtlc: PubKey;
  /** RIPEMD-160 of the payment hash. */
  readonly paymentHash: Uint8Array;
  /** Null for an offered HTLC: its script does not say it. */
  readonly cltvExpiry: number | null;
  readonly hasAnchors: boolean;
}

/** Reads a script piece by piece; a piece that is not there ends it. */
class ScriptReader {
  readonly #script: Uint8Array;
  #at = 0;
  #isGood = true;

  constructor(script: Uint8Array) {
    this.#script = script;
  }

  get isGoodToEnd(): boolean {
    return this.#isGood && this.#at === this.#script.length;
  }

  /** These very bytes. */
  expect(hex: string): void {
    const wanted = Uint8Array.fromHex(hex);
    if (!isSameBytes(this.take(wanted.length), wanted)) this.#isGood = false;
  }

  take(length: number): Uint8Array {
    const piece = this.#script.subarray(this.#at, this.#at + length);
    if (piece.length < length) this.#isGood = false;
    this.#at += length;
    return piece;
  }

  /** Whether these bytes come next; then they are taken. */
  skip(hex: string): boolean {
    const wanted = Uint8Array.fromHex(hex);
    const next = this.#script.subarray(this.#at, this.#at + wanted.length);
    if (!isSameBytes(next, wanted)) return false;
    this.#at += wanted.length;
    return true;
  }

  /** A number as script pushes it, of four bytes at most and not negative. */
  number(): number {
    const [lead = 0] = this.take(1);
    if (lead === 0) return 0;
    if (lead > 0x50 && lead <= 0x60) return lead - 0x50;
    if (lead > 5) this.#isGood = false;
    const bytes = this.take(lead);
    if ((bytes.at(-1) ?? 0) >= 0x80) this.#isGood = false;
    return bytes.reduceRight((total, byte) => total * 256 + byte, 0);
  }
}

/** BOLT 3, HTLC outputs: what the script says; null for any other script. */
export function readHtlcScript(script: Uint8Array): HtlcScript | null {
  const reader = new ScriptReader(script);
  reader.expect("76a914");
  const revocationHash = reader.take(20);
  reader.expect("8763ac6721");
  const remoteHtlc = asPubKey(reader.take(33));
  reader.expect("7c82012087");
  const isOffered = reader.skip("6475527c21");
  const body = isOffered ? readOffered(reader) : readReceived(reader);
  const hasAnchors = reader.skip("6851b27568");
  if (!hasAnchors) reader.expect("6868");
  if (!reader.isGoodToEnd) return null;
  return { isOffered, revocationHash, remoteHtlc, ...body, hasAnchors };
}

type HtlcBody = Pick<HtlcScript, "localHtlc" | "paymentHash" | "cltvExpiry">;

function readOffered(reader: ScriptReader): HtlcBody {
  const localHtlc = asPubKey(reader.take(33));
  reader.expect("52ae67a914");
  const paymentHash = reader.take(20);
  reader.expect("88ac");
  return { localHtlc, paymentHash, cltvExpiry: null };
}

function readReceived(reader: ScriptReader): HtlcBody {
  reader.expect("63a914");
  const paymentHash = reader.take(20);
  reader.expect("88527c21");
  const localHtlc = asPubKey(reader.take(33));
  reader.expect("52ae6775");
  const cltvExpiry = reader.number();
  reader.expect("b175ac");
  return { localHtlc, paymentHash, cltvExpiry };
}

/** What a to_local script, or the output of an HTLC transaction, says. */
export interface DelayedScript {
  readonly revocation: PubKey;
  readonly delayed: PubKey;
  readonly toSelfDelay: number;
}

/** BOLT 3, to_local: what the script says; null for any other script. */
export function readDelayedScript(script: Uint8Array): DelayedScript | null {
  const reader = new ScriptReader(script);
  reader.expect("6321");
  const revocation = asPubKey(reader.take(33));
  reader.expect("67");
  const toSelfDelay = reader.number();
  reader.expect("b27521");
  const delayed = asPubKey(reader.take(33));
  reader.expect("68ac");
  return reader.isGoodToEnd ? { revocation, delayed, toSelfDelay } : null;
}

/** An HTLC transaction, and the one that it has to be. */
export interface HtlcTxView {
  /** What is wrong with script or commitment; null for nothing. */
  readonly problem: string | null;
  readonly tx: Tx;
  /** Null when there is nothing to build it from. */
  readonly wanted: Tx | null;
  readonly isOffered: boolean;
  readonly hasAnchors: boolean;
  /** What the HTLC's output holds. */
  readonly amount: bigint;
  /** Whether it is ours to broadcast: then its fee is never too high. */
  readonly isHolder: boolean;
}

/** Applies every rule of an HTLC transaction. */
export function checkHtlcTx(
  judge: Judge,
  view: HtlcTxView,
  feeReference: number | null,
): void {
  const { problem, tx, wanted, isOffered } = view;
  judge.require(
    "policy-htlc-other",
    problem === null && wanted !== null,
    () => problem ?? "no commitment has such an HTLC",
  );
  if (wanted === null) return;
  judge.require(
    "policy-htlc-locktime",
    tx.locktime === wanted.locktime && (!isOffered || tx.locktime > 0),
    () => `locktime ${tx.locktime}, want ${wanted.locktime}`,
  );
  checkHtlcFee(judge, view, wanted, feeReference);
  const difference = differenceOf(tx, wanted);
  judge.require(
    "policy-htlc-other",
    difference === null,
    () => `${difference}`,
  );
}

function checkHtlcFee(
  judge: Judge,
  { tx, amount, isOffered, hasAnchors, isHolder }: HtlcTxView,
  wanted: Tx,
  feeReference: number | null,
): void {
  const { policy } = judge;
  const paid = amount - (tx.outputs[0]?.amount ?? 0n);
  const due = amount - (wanted.outputs[0]?.amount ?? 0n);
  const weight = htlcTxWeight(isOffered, hasAnchors);
  const feerate = paid > 0n ? feerateOf(paid, weight) : 0;
  const most = isHolder
    ? policy.hardMaxFeeratePerKw
    : maxFeerate(policy, feeReference);
  judge.require(
    "policy-htlc-fee-range",
    paid === due && paid * 1000n <= BigInt(most) * BigInt(weight),
    () =>
      `fee ${paid} sat (${feerate} sat per kw), want ${due} sat and at most ` +
      `${most} sat per kw`,
  );
}

/** What a signature covers and is not the same, in words; null for nothing. */
function differenceOf(tx: Tx, wanted: Tx): string | null {
  if (tx.version !== wanted.version) {
    return `version ${tx.version}, want ${wanted.version}`;
  }
  if (tx.inputs.length !== wanted.inputs.length) {
    return `${tx.inputs.length} inputs, want ${wanted.inputs.length}`;
  }
  const isSameInput = tx.inputs.every(({ txid, index, sequence }, i) => {
    const other = wanted.inputs[i];
    return other !== undefined && index === other.index &&
      sequence === other.sequence && isSameBytes(txid, other.txid);
  });
  if (!isSameInput) return "another outpoint or sequence than BOLT 3 has";
  const [output] = tx.outputs;
  const [wantedOutput] = wanted.outputs;
  if (output === undefined || wantedOutput === undefined) return "no output";
  if (tx.outputs.length > 1) return `${tx.outputs.length} outputs, want 1`;
  return isSameBytes(output.script, wantedOutput.script)
    ? null
    : "output with another delay or other keys than the commitment's";
}
