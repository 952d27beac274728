/**
 * A setup without a person: everything that a person would be asked is named by
 * an option, and each thing that is missing gets its sentence.
 *
 * | instead of | option |
 * | --- | --- |
 * | yes | --yes |
 * | words on a screen | --words-file FILE, written |
 * | typed words | --words-file FILE, read |
 * | a typed path | --hsm-secret FILE |
 * | a typed passphrase for the seal | see `../seal_key.ts` |
 *
 * What it does not do: show words anywhere.
 *
 * @module
 */

import { WORD_COUNTS } from "../../crypto/words.ts";
import { describeError } from "../../errors.ts";
import { SecretFileError } from "../../keyderiv.ts";
import type { Options } from "../arguments.ts";
import { makeFile, randomBytes } from "../card.ts";
import { OwnerError } from "../owner_error.ts";
import type { Prompter } from "../prompt.ts";
import { findSealKey, type SealKey } from "../seal_key.ts";
import {
  candidateOfFile,
  candidateOfWords,
  fileProblem,
  mismatchOf,
  misspeltIn,
  newWords,
  splitWords,
  wordsProblem,
} from "./candidate.ts";
import { readSeedFile } from "./prepare.ts";
import { textOf } from "./screens.ts";
import type { Candidate, Plan } from "./state.ts";

/**
 * Whoever was killed between the words and the seal left words that nothing
 * needs. Nobody can tell those from the words of another card: the owner says.
 */
const LEFT_WORDS =
  "it is there already, and belongs to no seed on this card, " +
  "which has none; want a new file, or remove this one: that is safe if a " +
  "setup that was cut short left it, not if it has the words of another card";

/** What stands in for a person. */
export interface Unattended {
  readonly options: Options;
  readonly plan: Plan;
  /** May still be there to type the seal's passphrase. */
  readonly prompter: Prompter | null;
}

/** A seed, and the key for its seal. */
export interface Ready {
  readonly candidate: Candidate;
  readonly key: SealKey;
}

/**
 * The seed that the options name, or a new one whose words are written.
 *
 * @throws {OwnerError} with a line for each thing that is missing
 */
export async function prepareUnattended(all: Unattended): Promise<Ready> {
  const { options, plan, prompter } = all;
  const missing = missingOptions(all);
  const key = await findSealKey(options, prompter, "new").catch((error) => {
    if (!(error instanceof OwnerError)) throw error;
    missing.push(error);
    return null;
  });
  const [first] = missing;
  if (first !== undefined || key === null) {
    const text = missing.map(({ message }) => message).join("\n");
    throw new OwnerError(first?.missing ?? "key", text);
  }
  const isNew = plan.source?.kind === "new";
  const candidate = isNew ? await makeNew(all) : await readOld(all);
  return { candidate, key };
}

function missingOptions({ options, plan }: Unattended): OwnerError[] {
  const missing: OwnerError[] = [];
  const path = options["words-file"];
  const { source } = plan;
  if (source?.kind === "new" && path === undefined) {
    missing.push(
      new OwnerError(
        "terminal",
        "Cannot show the words of a new seed: no terminal, want one, or " +
          "--words-file FILE to write them to",
      ),
    );
  }
  if (source?.kind === "new" && !options.yes) {
    missing.push(
      new OwnerError(
        "consent",
        "Cannot make a seed: nobody to ask, want a terminal, or --yes",
      ),
    );
  }
  return missing;
}

async function makeNew({ options, plan }: Unattended): Promise<Candidate> {
  const [known] = plan.expected;
  if (known !== undefined) {
    throw new OwnerError(
      "rightNode",
      `Cannot make a new seed: ${known.by} names node ${known.nodeId}, want ` +
        "the words or the hsm_secret of that node (softkey restore)",
    );
  }
  const count = plan.source?.kind === "new" ? plan.source.words : 12;
  const words = newWords(randomBytes(WORD_COUNTS.get(count) ?? 16));
  const candidate = candidateOfWords(textOf(words), plan.passphrase, true);
  const path = options["words-file"] ?? "";
  const content = new TextEncoder().encode(`${textOf(words)}\n`);
  try {
    await makeFile(path, content, 0o400);
  } catch (cause) {
    const why = cause instanceof Deno.errors.AlreadyExists
      ? LEFT_WORDS
      : `${describeError(cause)}, want a new file`;
    const text = `Cannot write --words-file ${path}: ${why}`;
    throw new OwnerError("terminal", text, { cause });
  }
  return candidate;
}

async function readOld(all: Unattended): Promise<Candidate> {
  const { options, plan } = all;
  const candidate = await readCandidate(all);
  const mismatch = mismatchOf(candidate, plan.expected);
  if (mismatch !== null) throw new OwnerError("rightNode", mismatch);
  const isCompared = candidate.nodeId === null || plan.expected.length > 0;
  if (isCompared || options.yes) return candidate;
  throw new OwnerError(
    "consent",
    `Cannot restore unasked: the seed is node ${candidate.nodeId}, want ` +
      "--node-id to compare it with, or --yes",
  );
}

async function readCandidate(
  { options, plan }: Unattended,
): Promise<Candidate> {
  const { passphrase, source } = plan;
  try {
    if (source?.kind === "file") {
      const bytes = await readSeedFile(source.path, "--hsm-secret");
      return candidateOfFile(bytes, { passphrase });
    }
    const words = await readWords(options["words-file"]);
    return candidateOfWords(words.join(" "), passphrase, false);
  } catch (error) {
    if (!(error instanceof SecretFileError)) throw error;
    const isWrong = error.failure === "wrongPassphrase";
    const missing = isWrong ? "rightKey" : "validSeed";
    throw new OwnerError(missing, fileProblem(error));
  }
}

/** The words in a file; none of them is in what is thrown. */
async function readWords(path: string | undefined): Promise<readonly string[]> {
  if (path === undefined) {
    throw new OwnerError(
      "terminal",
      "Cannot ask for the words: no terminal, want one, or --words-file FILE, " +
        "or --hsm-secret FILE",
    );
  }
  const bytes = await readSeedFile(path, "--words-file");
  const words = splitWords(new TextDecoder().decode(bytes));
  const misspelt = misspeltIn(words).map(({ at }) => at).join(", ");
  const problem = misspelt === ""
    ? wordsProblem(words)
    : `not in the list of words: number ${misspelt}`;
  if (problem === null) return words;
  throw new OwnerError(
    "validSeed",
    `Cannot use the words in ${path}: ${problem}`,
  );
}
