/**
 * Walks a person through a setup: asks what the state machine asks, does what it
 * wants done, tells it the result.
 *
 * What it does not do: decide (`../setup.ts`), or word a question.
 *
 * @module
 */

import { Secret } from "../../crypto/secret.ts";
import { describeError } from "../../errors.ts";
import { OwnerError } from "../owner_error.ts";
import type { Prompter } from "../prompt.ts";
import { startSetup, stepSetup, TYPED_BACK } from "../setup.ts";
import { textOf } from "./screens.ts";
import type {
  Candidate,
  Plan,
  SetupEffect,
  SetupEvent,
  SetupQuestion,
  Turn,
} from "./state.ts";

/** What a setup needs done for it; Key opens and closes the seal. */
export interface SetupShell<Key> {
  readonly prompter: Prompter;
  /** Randomness that is fit for keys. */
  readonly random: (size: number) => Uint8Array;
  readonly readFile: (path: string) => Promise<Uint8Array>;
  /** @throws {OwnerError} */
  readonly findKey: () => Promise<Key>;
  /** Durable when it returns; nothing was stored when it throws. */
  readonly store: (candidate: Candidate, key: Key) => Promise<void>;
}

/**
 * From the first question to the stored seed.
 *
 * @throws {OwnerError} when the owner, or the seed, says no
 */
export async function runSetup<Key>(
  plan: Plan,
  shell: SetupShell<Key>,
): Promise<Candidate> {
  const hands = new Hands(shell);
  let turn = startSetup(plan);
  for (;;) {
    if (turn.lines.length > 0) shell.prompter.show(turn.lines.join("\n"));
    const { step } = turn.setup;
    if (step.kind === "done") return step.candidate;
    if (step.kind === "refused") {
      throw new OwnerError(step.missing, step.text);
    }
    turn = stepSetup(turn.setup, await hands.next(turn));
  }
}

class Hands<Key> {
  readonly #shell: SetupShell<Key>;
  /** Found once, used once. */
  #key: { readonly key: Key } | null = null;

  constructor(shell: SetupShell<Key>) {
    this.#shell = shell;
  }

  async next({ question, effect }: Turn): Promise<SetupEvent> {
    if (effect !== null) return await this.#do(effect);
    if (question !== null) return await this.#ask(question);
    throw new OwnerError("terminal", "Cannot go on: nothing is asked");
  }

  async #ask({ kind, text }: SetupQuestion): Promise<SetupEvent> {
    const { prompter } = this.#shell;
    const words = text instanceof Secret ? textOf(text) : text;
    switch (kind) {
      case "clear":
        return { kind: "line", text: await prompter.ask(words) };
      case "hidden":
        return { kind: "line", text: await prompter.askHidden(words) };
      case "once":
        await prompter.showOnce(words);
        return { kind: "seen" };
    }
  }

  async #do(effect: SetupEffect): Promise<SetupEvent> {
    const { random } = this.#shell;
    switch (effect.kind) {
      case "drawEntropy":
        return { kind: "entropy", bytes: random(effect.size) };
      case "drawPositions":
        return { kind: "positions", numbers: drawn(effect.of, random) };
      case "readFile":
        return await this.#read(effect.path);
      case "findKey":
        return await this.#findKey();
      case "store":
        return await this.#store(effect.candidate);
    }
  }

  async #read(path: string): Promise<SetupEvent> {
    try {
      return { kind: "file", bytes: await this.#shell.readFile(path) };
    } catch (error) {
      const why = describeError(error);
      return { kind: "failed", text: `Cannot read ${path}: ${why}` };
    }
  }

  async #findKey(): Promise<SetupEvent> {
    try {
      this.#key = { key: await this.#shell.findKey() };
      return { kind: "key" };
    } catch (error) {
      if (!(error instanceof OwnerError)) throw error;
      return { kind: "failed", text: error.message };
    }
  }

  async #store(candidate: Candidate): Promise<SetupEvent> {
    const found = this.#key;
    if (found === null) {
      throw new OwnerError("key", "Cannot store the seed: there is no key");
    }
    this.#shell.prompter.show("\nSealing the seed …");
    await this.#shell.store(candidate, found.key);
    return { kind: "stored" };
  }
}

/** Some of the numbers from 1 to `of`, all different, in order. */
export function drawn(
  of: number,
  random: (size: number) => Uint8Array,
): readonly number[] {
  const numbers = new Set<number>();
  const fair = 256 - 256 % of;
  while (numbers.size < Math.min(TYPED_BACK, of)) {
    const [byte = 0] = random(1);
    if (byte < fair) numbers.add(1 + byte % of);
  }
  return [...numbers].sort((a, b) => a - b);
}
