/**
 * Turns of a setup: how a step is entered, judged, ended.
 *
 * What it does not do: know which event leads where (`../setup.ts`).
 *
 * @module
 */

import { WORD_COUNTS } from "../../crypto/words.ts";
import type { Missing } from "../owner_error.ts";
import { mismatchOf } from "./candidate.ts";
import {
  countOf,
  doneScreen,
  nodeScreen,
  questionOf,
  sealScreen,
} from "./screens.ts";
import type {
  Candidate,
  Plan,
  Setup,
  SetupEffect,
  Step,
  Turn,
} from "./state.ts";

/** Compares with what is wanted; asks where nothing is known to compare with. */
export function judge(
  plan: Plan,
  candidate: Candidate,
  lines: readonly string[] = [],
): Turn {
  const mismatch = mismatchOf(candidate, plan.expected);
  if (mismatch !== null) return refuse(plan, "rightNode", mismatch);
  const told = [...lines, ...nodeScreen(candidate, plan.expected)];
  const isSettled = candidate.isNew || candidate.nodeId === null ||
    plan.expected.length > 0;
  return isSettled
    ? seal(plan, candidate, told)
    : enter(plan, { kind: "confirm", candidate }, told);
}

/** The seed is the right one: on to its seal. */
export function seal(
  plan: Plan,
  candidate: Candidate,
  lines: readonly string[],
): Turn {
  const step: Step = { kind: "seal", candidate };
  return enter(plan, step, [...lines, ...sealScreen()]);
}

/** Stored. */
export function finish(plan: Plan, candidate: Candidate): Turn {
  const step: Step = { kind: "done", candidate };
  return enter(plan, step, doneScreen(plan, candidate));
}

/** The end, without a seed. */
export function refuse(plan: Plan, missing: Missing, text: string): Turn {
  return enter(plan, { kind: "refused", missing, text });
}

/** A new step, with what it asks or wants done. */
export function enter(
  plan: Plan,
  step: Step,
  lines: readonly string[] = [],
): Turn {
  return {
    setup: { plan, step },
    lines,
    question: questionOf(step),
    effect: effectOf(step),
  };
}

/** Nothing changes; a question is put again, an effect is not. */
export function stay(setup: Setup): Turn {
  const question = questionOf(setup.step);
  return { setup, lines: [], question, effect: null };
}

function effectOf(step: Step): SetupEffect | null {
  switch (step.kind) {
    case "entropy":
      return { kind: "drawEntropy", size: WORD_COUNTS.get(step.words) ?? 16 };
    case "positions":
      return { kind: "drawPositions", of: countOf(step.words) };
    case "reading":
      return { kind: "readFile", path: step.path };
    case "seal":
      return { kind: "findKey" };
    case "storing":
      return { kind: "store", candidate: step.candidate };
    case "consent":
    case "source":
    case "shown":
    case "typeBack":
    case "typing":
    case "misspelt":
    case "wordsPassphrase":
    case "path":
    case "unlock":
    case "confirm":
    case "done":
    case "refused":
      return null;
  }
}
