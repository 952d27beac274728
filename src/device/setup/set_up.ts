/**
 * From a plan to a card with a seed: with a person where there is one, else by
 * the options.
 *
 * What it does not do: open the card.
 *
 * @module
 */

import type { Network } from "../../bitcoin/networks.ts";
import type { Options } from "../arguments.ts";
import { randomBytes } from "../card.ts";
import type { Prompter } from "../prompt.ts";
import { findSealKey, type SealKey } from "../seal_key.ts";
import { Interrupted, print } from "../terminal.ts";
import type { OpenCard } from "./prepare.ts";
import { doneScreen, nodeScreen } from "./screens.ts";
import { storeSeed } from "./seed_store.ts";
import { runSetup } from "./shell.ts";
import type { Candidate, Plan } from "./state.ts";
import { prepareUnattended } from "./unattended.ts";

/** A setup that is about to begin. */
export interface ToSetUp extends OpenCard {
  readonly options: Options;
  readonly prompter: Prompter | null;
  readonly network: Network;
  readonly plan: Plan;
  /** Looked at right before it is stored. @throws {OwnerError} */
  readonly check?: (candidate: Candidate) => Promise<void>;
}

/** Whether somebody is asked, or the options say it all. */
export function isAttended(
  { "words-file": wordsFile, yes }: Options,
  prompter: Prompter | null,
): prompter is Prompter {
  return prompter !== null && wordsFile === undefined && !yes;
}

/**
 * Makes or takes a seed, and stores it; nothing is stored when it throws.
 *
 * @throws {OwnerError | Interrupted}
 */
export async function setUp(all: ToSetUp): Promise<Candidate> {
  const { options, prompter, plan } = all;
  if (!isAttended(options, prompter)) return await setUpUnattended(all);
  try {
    return await runSetup(plan, {
      prompter,
      random: randomBytes,
      readFile: (path) => Deno.readFile(path),
      findKey: () => findSealKey(options, prompter, "new"),
      store: (candidate, key: SealKey) => store(all, candidate, key),
    });
  } catch (error) {
    if (error instanceof Interrupted) {
      print("Ended before the end: nothing was stored on the card.");
    }
    throw error;
  }
}

async function setUpUnattended(all: ToSetUp): Promise<Candidate> {
  const { options, prompter, plan } = all;
  const ready = await prepareUnattended({ options, plan, prompter });
  const { candidate, key } = ready;
  await store(all, candidate, key);
  const lines = [
    ...nodeScreen(candidate, plan.expected),
    ...doneScreen(plan, candidate),
  ];
  for (const line of lines) if (line !== "") print(line);
  return candidate;
}

async function store(
  { card, store, network, plan, check }: ToSetUp,
  candidate: Candidate,
  key: SealKey,
): Promise<void> {
  await check?.(candidate);
  const { node } = plan;
  const now = Date.now();
  await storeSeed({ card, store, network, candidate, key, node, now });
  key.bytes.wipe();
}
