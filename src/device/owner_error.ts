/**
 * What only the owner can supply: one row a thing that is missing, with the exit
 * code of a softkey that cannot go on without it.
 *
 * | code | missing |
 * | --- | --- |
 * | 3 | a seed on the card |
 * | 4 | what opens the card's seal |
 * | 5 | a passphrase or key that fits |
 * | 6 | the owner's consent |
 * | 7 | the right node, network or card |
 * | 8 | words or a file that are a seed |
 * | 9 | a terminal, or the option in its place |
 *
 * @module
 */

/** Every thing that can be missing, with its exit code. */
const MISSING = {
  seed: 3,
  key: 4,
  rightKey: 5,
  consent: 6,
  rightNode: 7,
  validSeed: 8,
  terminal: 9,
} as const;

/** A thing that is missing. */
export type Missing = keyof typeof MISSING;

/** The owner has to do something; one plain sentence says what. */
export class OwnerError extends Error {
  override readonly name = "OwnerError";
  readonly missing: Missing;

  constructor(missing: Missing, text: string, options?: ErrorOptions) {
    super(text, options);
    this.missing = missing;
  }

  /** The program's exit code. */
  get code(): number {
    return MISSING[this.missing];
  }
}
