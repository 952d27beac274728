/**
 * How a card gets its seed: a pure state machine between the owner and the card.
 *
 * ```
 * consent -> source -+-> entropy -> shown -> positions -> typeBack -+-> seal
 *   |                |                ^---- wrong word ----'        |    |
 *   no               +-> typing -> wordsPassphrase ------> confirm -+    v
 *   v                |     '- misspelt                       |        storing
 * refused            +-> path -> reading -> unlock ----------+           |
 *                                                     another node       v
 *                                                     -> refused       done
 * ```
 *
 * A first contact starts at consent; `softkey init` and `restore` start where
 * their options leave the first question open. Nothing is stored before the one
 * effect `store`, which comes once, at the end: whatever ends a setup earlier
 * leaves a card without a seed.
 *
 * What is typed or shown of a seed is either hidden or on a screen that goes
 * away, so that it stays in no scroll-back.
 *
 * What it does not do: draw randomness, read files, encrypt, store
 * (`setup/shell.ts` does), or word what is said (`setup/screens.ts`).
 *
 * @module
 */

import { Secret } from "../crypto/secret.ts";
import { WORD_COUNTS } from "../crypto/words.ts";
import { SecretFileError } from "../keyderiv.ts";
import {
  candidateOfFile,
  candidateOfWords,
  closedKindOf,
  fileProblem,
  misspeltIn,
  newWords,
  splitWords,
  wordsProblem,
} from "./setup/candidate.ts";
import {
  beforeWordsScreen,
  contactScreen,
  countOf,
  misspeltScreen,
  pathScreen,
  secretText,
  sourceScreen,
  textOf,
  typingScreen,
  unlockScreen,
  wordsPassphraseScreen,
} from "./setup/screens.ts";
import type {
  Candidate,
  Plan,
  Setup,
  SetupEvent,
  Source,
  Step,
  Turn,
} from "./setup/state.ts";
import { enter, finish, judge, refuse, seal, stay } from "./setup/turns.ts";

/** Words that are typed back. */
export const TYPED_BACK = 3;
const NOTHING = new Secret(new Uint8Array());

/** Begins a setup. */
export function startSetup(plan: Plan): Turn {
  return plan.node === null
    ? chooseSource(plan)
    : enter(plan, { kind: "consent" }, contactScreen(plan.node, plan.network));
}

/** What follows an event; one that nobody waits for changes nothing. */
export function stepSetup(setup: Setup, event: SetupEvent): Turn {
  const { plan, step } = setup;
  const next = event.kind === "line"
    ? afterLine(plan, step, event.text)
    : afterResult(plan, step, event);
  return next ?? stay(setup);
}

/** An answer of the owner's. */
function afterLine(plan: Plan, step: Step, text: string): Turn | null {
  switch (step.kind) {
    case "consent":
      return afterConsent(plan, text);
    case "source":
      return afterSource(plan, text);
    case "typeBack":
      return afterTypedBack(plan, step, text);
    case "typing":
      return afterTyping(plan, step.words, text);
    case "wordsPassphrase":
      return afterWordsPassphrase(plan, step.words, text);
    case "path":
      return afterPath(plan, text);
    case "unlock":
      return afterUnlock(plan, step.file, text);
    case "confirm":
      return afterConfirm(plan, step.candidate, text);
    case "entropy":
    case "shown":
    case "positions":
    case "misspelt":
    case "reading":
    case "seal":
    case "storing":
    case "done":
    case "refused":
      return null;
  }
}

/** The result of an effect, or of a screen that was shown. */
function afterResult(
  plan: Plan,
  step: Step,
  event: Exclude<SetupEvent, { kind: "line" }>,
): Turn | null {
  switch (event.kind) {
    case "seen":
      return afterSeen(plan, step);
    case "entropy":
      return step.kind === "entropy"
        ? afterEntropy(plan, step.words, event.bytes)
        : null;
    case "positions":
      return step.kind === "positions"
        ? afterPositions(plan, step.words, event.numbers)
        : null;
    case "file":
      return step.kind === "reading" ? afterFile(plan, event.bytes) : null;
    case "key":
      return step.kind === "seal"
        ? enter(plan, { kind: "storing", candidate: step.candidate })
        : null;
    case "failed":
      return afterFailure(plan, step, event.text);
    case "stored":
      return step.kind === "storing" ? finish(plan, step.candidate) : null;
  }
}

// ------------------------------------------------------- consent and source

function afterConsent(plan: Plan, text: string): Turn | null {
  const isAllowed = yesOrNo(text);
  if (isAllowed === null) return null;
  return isAllowed
    ? chooseSource(plan)
    : refuse(plan, "consent", "Cannot pair: the owner said no to this node");
}

function chooseSource(plan: Plan): Turn {
  return plan.source === null
    ? enter(plan, { kind: "source" }, sourceScreen(plan))
    : beginSource(plan, plan.source);
}

const SOURCES: Readonly<Record<string, Source>> = {
  "1": { kind: "new", words: 12 },
  "2": { kind: "new", words: 24 },
  "3": { kind: "words" },
  "4": { kind: "file", path: "" },
};

function afterSource(plan: Plan, text: string): Turn | null {
  const choice = text.trim();
  const source = Object.hasOwn(SOURCES, choice) ? SOURCES[choice] : undefined;
  return source === undefined ? null : beginSource(plan, source);
}

function beginSource(plan: Plan, source: Source): Turn {
  switch (source.kind) {
    case "new":
      return beginNew(plan, source.words);
    case "words":
      return enter(plan, { kind: "typing", words: NOTHING }, typingScreen());
    case "file":
      return source.path === ""
        ? enter(plan, { kind: "path" }, pathScreen())
        : enter(plan, { kind: "reading", path: source.path });
  }
}

/** A node that has an id already has a seed already. */
function beginNew(plan: Plan, words: number): Turn {
  const [known] = plan.expected;
  if (known === undefined) {
    return enter(plan, { kind: "entropy", words }, beforeWordsScreen(words));
  }
  const text = `Cannot make a new seed: ${known.by} names node ` +
    `${known.nodeId}, want the words or the hsm_secret of that node`;
  return plan.source === null
    ? enter(plan, { kind: "source" }, ["", text])
    : refuse(plan, "rightNode", text);
}

// ------------------------------------------------------------- a new seed

function afterEntropy(
  plan: Plan,
  count: number,
  bytes: Uint8Array,
): Turn | null {
  if (bytes.length !== WORD_COUNTS.get(count)) return null;
  return enter(plan, { kind: "shown", words: newWords(bytes), note: "" });
}

function afterSeen(plan: Plan, step: Step): Turn | null {
  if (step.kind === "shown") {
    return enter(plan, { kind: "positions", words: step.words });
  }
  if (step.kind !== "misspelt") return null;
  return enter(plan, { kind: "typing", words: step.words });
}

function afterPositions(
  plan: Plan,
  words: Secret,
  positions: readonly number[],
): Turn | null {
  const isFit = positions.length === TYPED_BACK &&
    new Set(positions).size === TYPED_BACK &&
    positions.every((at) =>
      Number.isInteger(at) && at >= 1 && at <= countOf(words)
    );
  return isFit ? enter(plan, { kind: "typeBack", words, positions }) : null;
}

function afterTypedBack(
  plan: Plan,
  { words, positions }: Extract<Step, { kind: "typeBack" }>,
  text: string,
): Turn {
  const [at = 0, ...rest] = positions;
  const wanted = textOf(words).split(" ")[at - 1];
  if (text.trim().toLowerCase() !== wanted) {
    const note = `Word ${at} was typed otherwise than it is here. Compare ` +
      "your paper:";
    return enter(plan, { kind: "shown", words, note }, [
      `Word ${at} is not right. The words come once more.`,
    ]);
  }
  if (rest.length > 0) {
    return enter(plan, { kind: "typeBack", words, positions: rest }, [
      "Right.",
    ]);
  }
  const candidate = candidateOfWords(textOf(words), plan.passphrase, true);
  return judge(plan, candidate, ["Right. The paper is good."]);
}

// ------------------------------------------------------------- typed words

function afterTyping(plan: Plan, before: Secret, text: string): Turn {
  if (text.trim() === "!") return retype(plan, "Forgotten. From word 1 again.");
  const known = splitWords(textOf(before));
  const added = splitWords(text);
  if (added.length === 0) return endTyping(plan, known);
  const misspelt = misspeltIn(added, known.length + 1);
  if (misspelt.length > 0) {
    const problem = misspeltScreen(misspelt);
    return enter(plan, { kind: "misspelt", words: before, problem });
  }
  const words = secretText([[...known, ...added].join(" ")]);
  return enter(plan, { kind: "typing", words });
}

function endTyping(plan: Plan, words: readonly string[]): Turn {
  const problem = wordsProblem(words);
  if (problem !== null) {
    return retype(plan, `Cannot use these words: ${problem}.`);
  }
  const text = words.join(" ");
  if (plan.passphrase !== null) {
    return judge(plan, candidateOfWords(text, plan.passphrase, false));
  }
  const step: Step = { kind: "wordsPassphrase", words: secretText([text]) };
  return enter(plan, step, wordsPassphraseScreen());
}

function retype(plan: Plan, why: string): Turn {
  const lines = ["", why, ...typingScreen()];
  return enter(plan, { kind: "typing", words: NOTHING }, lines);
}

function afterWordsPassphrase(plan: Plan, words: Secret, text: string): Turn {
  const passphrase = text === "" ? null : secretText([text]);
  return judge(plan, candidateOfWords(textOf(words), passphrase, false));
}

// ------------------------------------------------------------------- a file

function afterPath(plan: Plan, text: string): Turn | null {
  const path = text.trim();
  return path === "" ? null : enter(plan, { kind: "reading", path });
}

function afterFile(plan: Plan, bytes: Uint8Array): Turn {
  return tryFile(plan, () => {
    const closed = closedKindOf(bytes);
    if (closed === null || plan.passphrase !== null) {
      const { passphrase } = plan;
      return judge(plan, candidateOfFile(bytes, { passphrase }));
    }
    const step: Step = { kind: "unlock", file: new Secret(bytes) };
    return enter(plan, step, unlockScreen(closed));
  });
}

/** A file that is none: another one may be named, where one was typed. */
function tryFile(plan: Plan, use: () => Turn): Turn {
  try {
    return use();
  } catch (error) {
    if (!(error instanceof SecretFileError)) throw error;
    const isWrongKey = error.failure === "wrongPassphrase";
    return plan.source === null
      ? enter(plan, { kind: "path" }, ["", `${fileProblem(error)}.`])
      : refuse(
        plan,
        isWrongKey ? "rightKey" : "validSeed",
        fileProblem(error),
      );
  }
}

function afterUnlock(plan: Plan, file: Secret, text: string): Turn {
  const passphrase = text === "" ? null : secretText([text]);
  try {
    return judge(plan, candidateOfFile(file.reveal(), { passphrase }));
  } catch (error) {
    if (!(error instanceof SecretFileError)) throw error;
    return enter(plan, { kind: "unlock", file }, [`${fileProblem(error)}.`]);
  }
}

function afterFailure(plan: Plan, step: Step, text: string): Turn | null {
  if (step.kind === "reading") {
    return plan.source === null
      ? enter(plan, { kind: "path" }, ["", `${text}.`])
      : refuse(plan, "validSeed", text);
  }
  return step.kind === "seal" ? refuse(plan, "key", text) : null;
}

// --------------------------------------------------- whether it is the node

function afterConfirm(
  plan: Plan,
  candidate: Candidate,
  text: string,
): Turn | null {
  const isRight = yesOrNo(text);
  if (isRight === null) return null;
  return isRight ? seal(plan, candidate, []) : refuse(
    plan,
    "rightNode",
    `Cannot use this seed: it is node ${candidate.nodeId}, want another ` +
      "one, the owner says",
  );
}

/** Null for anything that is neither: asked again. */
function yesOrNo(text: string): boolean | null {
  const answer = text.trim().toLowerCase();
  if (answer === "y" || answer === "yes") return true;
  return answer === "n" || answer === "no" ? false : null;
}
