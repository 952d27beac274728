/**
 * What a running softkey does with its owner's control messages: in order, durable
 * before it is answered, with a line in the book.
 *
 * ```
 * envelope -> takeControl -> number, change and line: one commit -> effect -> answer
 *                                     |                               |
 *                                     '- failed: Error, nothing       '- failed: Error
 *                                        happened
 * ```
 *
 * | effect | |
 * | --- | --- |
 * | own | policy and allowlist are in force from the next request on |
 * | part | the softkey ends; started again it wants its owner's consent to a node |
 * | eraseSeed | the seed is gone before the answer; then the softkey ends |
 * | eraseCard | the same, and the rest of the card goes when its memory is closed |
 *
 * What the node's host can bring about without the key (refusals, questions for
 * the number) has lines within bounds.
 *
 * What it does not do: know a message (`take.ts`), or the way that it came.
 *
 * @module
 */

import type { Network } from "../../bitcoin/networks.ts";
import { describeError } from "../../errors.ts";
import { controlPointOf } from "../../signer/handle.ts";
import type { ChannelRecord } from "../../signer/records.ts";
import type { Store } from "../../store/store.ts";
import {
  type ControlResponse,
  encodeControlResponse,
} from "../../wire/control_message.ts";
import { type CardFolder, hasSeed } from "../card.ts";
import type { Desk } from "../desk.ts";
import { eraseRest, eraseSeed } from "../erase.ts";
import { plainText } from "../ledger.ts";
import { LedgerWriter } from "../ledger_writer.ts";
import { OwnerError } from "../owner_error.ts";
import {
  type ControlEffect,
  type ControlFacts,
  type ControlOutcome,
  takeControl,
} from "./take.ts";

/** What a softkey takes its owner's control messages with. */
export interface ControlsOptions {
  readonly card: CardFolder;
  readonly store: Store;
  readonly network: Network;
  readonly desk: Pick<Desk, "state" | "own">;
  /** The last number that was taken. */
  readonly nonce: bigint;
  /** One line to the owner. */
  readonly say: (text: string) => void;
  /** Unix time in milliseconds. */
  readonly now: () => number;
}

/** What a control message is answered. */
export interface ControlAnswer {
  /** Payload of `control-res`. */
  readonly payload: Uint8Array;
  /** Why the softkey ends when the answer has left; null when it goes on. */
  readonly ending: OwnerError | null;
}

/** Takes control messages for one card. */
export class Controls {
  readonly #options: ControlsOptions;
  readonly #writer: LedgerWriter;
  #nonce: bigint;
  /** The control key's point; one seed has one, and to derive it takes time. */
  #point: Uint8Array | null = null;
  #isToErase = false;

  constructor(options: ControlsOptions) {
    this.#options = options;
    this.#nonce = options.nonce;
    const { store, now } = options;
    const fail = (error: unknown) => this.#complain(error);
    this.#writer = new LedgerWriter({ store, now, fail });
  }

  /** Answers an envelope, whatever bytes it has. */
  async take(envelope: Uint8Array): Promise<ControlAnswer> {
    try {
      const isSeedOnCard = await hasSeed(this.#options.card) !== null;
      // From here to the commit nothing comes between.
      const outcome = takeControl(this.#facts(isSeedOnCard), envelope);
      this.#keep(outcome);
      const ending = outcome.effect && await this.#carryOut(outcome.effect);
      return answerOf(outcome.response, ending);
    } catch (error) {
      this.#complain(error);
      const value = plainText(describeError(error));
      return answerOf({ kind: "Error", value }, null);
    }
  }

  /** Writes what waits to be written; before the card is closed. */
  close(): void {
    if (this.#options.store.isCertain) this.#writer.close();
    else this.#writer.stop();
  }

  /** Erases what could not be erased while the card was open. */
  async finish(): Promise<void> {
    if (!this.#isToErase) return;
    const { card, say } = this.#options;
    say(await eraseRest(card.folder));
  }

  #facts(isSeedOnCard: boolean): ControlFacts {
    const { desk, network, now } = this.#options;
    const { state } = desk;
    const { policy, allowlist, memory } = state;
    this.#point ??= controlPointOf(state);
    return {
      point: this.#point,
      nonce: this.#nonce,
      now: now(),
      network,
      policy,
      allowlist,
      paid: memory.node().paid,
      channels: [...memory.channels()].filter(isOpen).map(nameOf),
      isSeedOnCard,
    };
  }

  /** @throws {StoreError} */
  #keep({ changes, text, nonce, isTaken }: ControlOutcome): void {
    const entry = { kind: "control", text };
    this.#writer.keep({
      changes,
      entry: isTaken ? entry : null,
      mayWait: false,
    });
    this.#nonce = nonce;
    if (!isTaken) {
      this.#writer.tellWithinBounds(entry, "control messages without a number");
    }
    this.#options.say(`control message: ${text}`);
  }

  /** Returns why the softkey ends, if it does. */
  async #carryOut(effect: ControlEffect): Promise<OwnerError | null> {
    const { desk, card: { folder } } = this.#options;
    switch (effect.kind) {
      case "own":
        desk.own(effect.ownership);
        return null;
      case "part":
        return new OwnerError("consent", PARTED);
      case "eraseSeed":
        await eraseSeed(folder);
        return new OwnerError("seed", ERASED);
      case "eraseCard":
        await eraseSeed(folder);
        this.#isToErase = true;
        return new OwnerError("seed", ERASED);
    }
  }

  #complain(error: unknown): void {
    this.#options.say(`cannot do as told: ${describeError(error)}`);
  }
}

const PARTED =
  "The owner's control message ended the pairing with this node: " +
  "pair anew with softkey pair, or softkey run";
const ERASED = "The owner's control message erased the seed of this card: it " +
  "comes back from its words only";

function answerOf(
  response: ControlResponse,
  ending: OwnerError | null,
): ControlAnswer {
  return { payload: encodeControlResponse(response), ending };
}

/** One that was only named, and never set up, holds nothing. */
function isOpen({ setup, isForgotten }: ChannelRecord): boolean {
  return setup !== null && !isForgotten;
}

/** As the book names a channel. */
function nameOf({ peerId, dbid }: ChannelRecord): string {
  return `${peerId.toHex().slice(0, 10)}…/${dbid}`;
}
