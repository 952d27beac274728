/**
 * All that ever left two signers, and what may never leave: the invariants.
 *
 * | may never leave | because |
 * | --- | --- |
 * | two transactions of the peer's for one number and output | it holds both |
 * | its n+1 before n-1 is revoked | it holds three states |
 * | a broadcast of what was revoked, a secret of what was broadcast | it is punished |
 * | a secret of n before n+1 is countersigned | nothing is left to close with |
 * | another answer to the same request | a retry has to be one |
 *
 * What it sees is each reply as it left, heard or not. It knows a transaction
 * by its txid, so that a wrong name for one (a commitment that is signed as a
 * mutual close) hides nothing.
 *
 * @module
 */

import { decodeTx, txidOf } from "../../../src/bitcoin/tx.ts";
import { perCommitmentSecret } from "../../../src/lightning/shachain.ts";
import { REPLIES, REQUESTS } from "../../../src/wire/hsmd.ts";
import { decodeMessage, messageType } from "../../../src/wire/message.ts";
import {
  type Asked,
  type Commit,
  other,
  type Pair,
  type Side,
} from "../../support/peers.ts";
import { refusalIn } from "./card.ts";

/** Something left that may not. */
export class Violation extends Error {
  override readonly name = "Violation";
}

function must(condition: boolean, text: string): asserts condition {
  if (!condition) throw new Violation(text);
}

const R = REQUESTS;

/** The transactions of requests that have the funding key sign one. */
const SIGNED_TXS: ReadonlyMap<number, (message: Uint8Array) => Uint8Array> =
  new Map([
    [
      R.sign_commitment_tx.type,
      (bytes) => decodeMessage(R.sign_commitment_tx, bytes).tx.tx,
    ],
    [
      R.sign_remote_commitment_tx.type,
      (bytes) => decodeMessage(R.sign_remote_commitment_tx, bytes).tx.tx,
    ],
    [
      R.sign_mutual_close_tx.type,
      (bytes) => decodeMessage(R.sign_mutual_close_tx, bytes).tx.tx,
    ],
    [
      R.sign_splice_tx.type,
      (bytes) => decodeMessage(R.sign_splice_tx, bytes).tx.tx,
    ],
  ]);

interface Known {
  readonly pair: Pair;
  readonly commit: Commit;
}

/** Watches both signers. */
export class Ledger {
  readonly #pairs: readonly Pair[];
  readonly #commits = new Map<string, Known>();
  readonly #answers = new Map<string, string>();
  readonly #countersigned = new Map<string, string>();
  readonly #facts = new Set<string>();
  signatures = 0;
  secrets = 0;

  constructor(pairs: readonly Pair[]) {
    this.#pairs = pairs;
  }

  /** Makes a transaction known for what it is. */
  register(pair: Pair, commit: Commit): Commit {
    this.#commits.set(commit.txid.toHex(), { pair, commit });
    return commit;
  }

  #is(what: string, pair: Pair, side: Side, number: bigint): boolean {
    return this.#facts.has(`${what}/${pair.dbid}/${side}/${number}`);
  }

  #note(what: string, pair: Pair, side: Side, number: bigint): void {
    this.#facts.add(`${what}/${pair.dbid}/${side}/${number}`);
  }

  /** A reply leaves a signer. */
  note(side: Side, asked: Asked, reply: Uint8Array): void {
    if (refusalIn(reply) !== null) return;
    this.#noteAnswer(side, asked, reply);
    const { message, dbid } = asked;
    const type = messageType(message);
    const txOf = SIGNED_TXS.get(type ?? 0);
    if (txOf !== undefined) {
      const isCommitment = type === R.sign_remote_commitment_tx.type;
      this.#noteSigned(side, txOf(message), isCommitment);
    }
    const pair = this.#pairs.find((each) => each.dbid === dbid);
    if (pair === undefined) return;
    if (type === R.revoke_commitment_tx.type) {
      const { commitNum } = decodeMessage(R.revoke_commitment_tx, message);
      const { oldCommitmentSecret } = decodeMessage(
        REPLIES.revoke_commitment_tx_reply,
        reply,
      );
      this.#noteSecret(pair, side, commitNum, oldCommitmentSecret);
    } else if (type === R.get_per_commitment_point.type) {
      const { n } = decodeMessage(R.get_per_commitment_point, message);
      const { oldCommitmentSecret } = decodeMessage(
        REPLIES.get_per_commitment_point_reply,
        reply,
      );
      if (oldCommitmentSecret !== null) {
        this.#noteSecret(pair, side, n - 2n, oldCommitmentSecret);
      }
    } else if (type === R.validate_commitment_tx.type) {
      const { commitNum } = decodeMessage(R.validate_commitment_tx, message);
      this.#note("validated", pair, side, commitNum);
    } else if (type === R.validate_revocation.type) {
      this.#noteRevocation(pair, side, message);
    }
  }

  #noteAnswer(side: Side, { peerId, dbid, message }: Asked, reply: Uint8Array) {
    const key = `${side}/${peerId.toHex()}/${dbid}/${message.toHex()}`;
    const before = this.#answers.get(key);
    must(
      before === undefined || before === reply.toHex(),
      `two answers to the same request ${messageType(message)}`,
    );
    this.#answers.set(key, reply.toHex());
  }

  #noteSigned(side: Side, tx: Uint8Array, isCommitment: boolean): void {
    const known = this.#commits.get(txidOf(decodeTx(tx)).toHex());
    this.signatures += 1;
    if (known === undefined) {
      must(!isCommitment, "signed a commitment that nobody made");
      return;
    }
    const { pair, commit } = known;
    if (commit.owner === side) this.#noteBroadcast(pair, commit);
    else this.#noteCountersigned(pair, side, commit);
  }

  #noteBroadcast(pair: Pair, { owner, number }: Commit): void {
    must(
      !this.#is("revealed", pair, owner, number),
      `signed commitment ${number}, which is revoked`,
    );
    this.#note("broadcast", pair, owner, number);
  }

  #noteCountersigned(
    pair: Pair,
    side: Side,
    { number, funding, txid }: Commit,
  ): void {
    const { outpoint } = funding;
    const key = `${pair.dbid}/${side}/${number}/` +
      `${outpoint.txid.toHex()}:${outpoint.index}`;
    const before = this.#countersigned.get(key);
    must(
      before === undefined || before === txid.toHex(),
      `two signatures for commitment ${number} of the peer's`,
    );
    must(
      number < 2n || this.#is("taken", pair, side, number - 2n),
      `signed commitment ${number} before ${number - 2n} was revoked`,
    );
    this.#countersigned.set(key, txid.toHex());
  }

  #noteSecret(pair: Pair, side: Side, number: bigint, secret: Uint8Array) {
    this.secrets += 1;
    const { shaseed } = pair.keys[side];
    must(
      perCommitmentSecret(shaseed, number).equals(secret),
      `another secret than that of ${number}`,
    );
    must(
      !this.#is("broadcast", pair, side, number),
      `the secret of ${number}, which is signed for broadcast`,
    );
    must(
      this.#is("validated", pair, side, number + 1n),
      `the secret of ${number} before ${number + 1n} is countersigned`,
    );
    this.#note("revealed", pair, side, number);
  }

  #noteRevocation(pair: Pair, side: Side, message: Uint8Array): void {
    const { revokeNum, perCommitmentSecret: secret } = decodeMessage(
      R.validate_revocation,
      message,
    );
    const { shaseed } = pair.keys[other(side)];
    must(
      perCommitmentSecret(shaseed, revokeNum).equals(secret),
      `took a wrong secret for ${revokeNum}`,
    );
    this.#note("taken", pair, side, revokeNum);
  }

  /** A sum of what was seen, for the report of a test. */
  get summary(): string {
    return `${this.signatures} signatures, ${this.secrets} secrets`;
  }
}
