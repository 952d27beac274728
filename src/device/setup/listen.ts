/**
 * A card that is set up by the setup tools of the field's hardware, over HTTP,
 * with the owner's consent here.
 *
 * The key of the seal is settled first, so that a seed that was agreed to is
 * stored at once. What arrives names the broker's address; whose node that is the
 * owner is asked when it is met (`pairing.ts`).
 *
 * What it does not do: speak HTTP (`../setup_http.ts`).
 *
 * @module
 */

import type { Network } from "../../bitcoin/networks.ts";
import type { Secret } from "../../crypto/secret.ts";
import { networkNamed, type Options } from "../arguments.ts";
import { hasSeed, randomBytes } from "../card.ts";
import { networkFor, networkOf } from "../card_state.ts";
import { OwnerError } from "../owner_error.ts";
import type { Prompter } from "../prompt.ts";
import { findSealKey, type SealKey } from "../seal_key.ts";
import { type Arrival, startSetupServer } from "../setup_http.ts";
import { untilInterrupted } from "../terminal.ts";
import { mismatchOf } from "./candidate.ts";
import { expectedNodes, type OpenCard } from "./prepare.ts";
import { doneScreen } from "./screens.ts";
import { storeSeed } from "./seed_store.ts";
import type { Candidate } from "./state.ts";

/** A card that waits for a setup tool. */
export interface Listening extends OpenCard {
  readonly options: Options;
  readonly prompter: Prompter | null;
  /** `ADDRESS:PORT` */
  readonly listen: string;
  /** One line to the owner. */
  readonly say: (text: string) => void;
}

/** Waits until a tool has set the card up. @throws {OwnerError | Interrupted} */
export async function setUpByTool(all: Listening): Promise<void> {
  const { options, prompter, listen, card, say } = all;
  if (prompter === null && !options.yes) {
    throw new OwnerError(
      "consent",
      "Cannot be set up over HTTP: nobody to ask, want a terminal, or --yes",
    );
  }
  const key = await findSealKey(options, prompter, "new");
  const tool = new Tool(all, key);
  const server = startSetupServer({
    listen,
    hasSeed: async () => await hasSeed(card) !== null,
    random: randomBytes,
    consent: (arrival, signal) => tool.consent(arrival, signal),
    take: (arrival) => tool.take(arrival),
    say,
  });
  say(`The setup pages are at ${server.address}. Ctrl-C closes them.`);
  const stop = untilInterrupted();
  try {
    await Promise.race([server.arrived, tool.ended, stop.ended]);
  } finally {
    stop.close();
    await server.stop();
  }
}

/** What arrives, and the owner. */
class Tool {
  readonly #all: Listening;
  readonly #key: SealKey;
  readonly #ended = Promise.withResolvers<never>();
  /** One question at a time, in order. */
  #last: Promise<unknown> = Promise.resolve();
  /** Whether the seed that was agreed to is said to be new. */
  #isNew = true;

  constructor(all: Listening, key: SealKey) {
    this.#all = all;
    this.#key = key;
    // It may end while nobody waits for it.
    this.#ended.promise.catch(() => {});
  }

  /** Rejects when the owner ends the questions. */
  get ended(): Promise<never> {
    return this.#ended.promise;
  }

  consent(arrival: Arrival, signal: AbortSignal): Promise<boolean> {
    const asked = this.#last.then(() => this.#ask(arrival, signal));
    this.#last = asked.catch((error) => this.#ended.reject(error));
    return asked;
  }

  async #ask(arrival: Arrival, signal: AbortSignal): Promise<boolean> {
    const { options, prompter, say } = this.#all;
    const problem = this.#problemOf(arrival);
    if (problem !== null) {
      say(problem);
      return false;
    }
    say(arrivalScreen(arrival).join("\n"));
    if (options.yes || prompter === null) return options.yes;
    const isWanted = await isYes(prompter, "Take this seed? [yes/no] ");
    const isUsed = isWanted &&
      await isYes(prompter, "Did a node ever run with it? [yes/no] ");
    this.#isNew = !isUsed;
    if (signal.aborted) say("Too late: the tool does not wait any more.");
    return isWanted && !signal.aborted;
  }

  #problemOf(arrival: Arrival): string | null {
    if (arrival.seed === null) return "Refused: no seed came.";
    try {
      const network = this.#network(arrival);
      const { options, store } = this.#all;
      const expected = expectedNodes(options, store, { network, node: null });
      return mismatchOf(this.#candidate(arrival, arrival.seed), expected);
    } catch (error) {
      if (error instanceof OwnerError) return error.message;
      throw error;
    }
  }

  async take(arrival: Arrival): Promise<void> {
    const { card, store, say } = this.#all;
    const { seed, broker } = arrival;
    if (seed === null) return;
    const network = this.#network(arrival);
    const candidate = this.#candidate(arrival, seed);
    const key = this.#key;
    const now = Date.now();
    const node = null;
    const all = { card, store, network, candidate, key, node, broker, now };
    await storeSeed(all);
    key.bytes.wipe();
    const plan = {
      node,
      network: network.name,
      source: null,
      expected: [],
      passphrase: null,
    };
    say(doneScreen(plan, candidate).join("\n"));
  }

  #network({ network }: Arrival): Network {
    const { options, store } = this.#all;
    const isOpen = options.network === undefined && networkOf(store) === null;
    const own = isOpen ? networkNamed(network) : networkFor(options, store);
    if (own.name === network) return own;
    throw new OwnerError(
      "rightNode",
      `Cannot use what came: it is for ${network}, want ${own.name}`,
    );
  }

  #candidate({ nodeId }: Arrival, seed: Secret): Candidate {
    return { file: seed, nodeId, isNew: this.#isNew };
  }
}

/** What came, for the owner to judge. */
function arrivalScreen(arrival: Arrival): readonly string[] {
  const { from, broker, network, fingerprint, nodeId } = arrival;
  return [
    "",
    `A setup tool at ${from} sends a seed:`,
    "",
    `  broker       ${broker}`,
    `  network      ${network}`,
    `  fingerprint  ${fingerprint}`,
    "  node id",
    `  ${nodeId ?? "unknown"}`,
    "",
    "If the tool shows a fingerprint, it has to be the same. If you did not",
    "just send it yourself, answer no.",
  ];
}

async function isYes(prompter: Prompter, question: string): Promise<boolean> {
  for (;;) {
    const answer = (await prompter.ask(question)).trim();
    if (/^y(es)?$/i.test(answer)) return true;
    if (/^no?$/i.test(answer)) return false;
  }
}
