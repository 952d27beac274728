/**
 * The words in which the setup of a card is written down: where it stands, what
 * can happen to it, what it wants done.
 *
 * What it does not do: decide (`../setup.ts`), or say anything (`screens.ts`).
 *
 * @module
 */

import type { Secret } from "../../crypto/secret.ts";
import type { Missing } from "../owner_error.ts";

/** A node, as its broker introduces it. */
export interface NodeFacts {
  /** Where its broker listens. */
  readonly url: string;
  /** The node's link key, 33 bytes; null for a broker that does not say. */
  readonly brokerKey: Uint8Array | null;
  /** Short name of node and card together, shown on both sides. */
  readonly fingerprint: string;
  readonly network: string | null;
  /** The node id that the node had so far, in hex. */
  readonly expectedNode: string | null;
}

/** Where the seed comes from. */
export type Source =
  | { readonly kind: "new"; readonly words: number }
  | { readonly kind: "words" }
  | { readonly kind: "file"; readonly path: string };

/** A node id that the seed has to make, and who says so. */
export interface Expectation {
  readonly nodeId: string;
  readonly by: string;
}

/** What is known before the owner is asked anything. */
export interface Plan {
  /** Null when the card is set up without one. */
  readonly node: NodeFacts | null;
  readonly network: string;
  /** Null: the owner is asked. */
  readonly source: Source | null;
  readonly expected: readonly Expectation[];
  /** What lightningd sends with init, or was named for the words. */
  readonly passphrase: Secret | null;
}

/** A seed that may be stored. */
export interface Candidate {
  /** The bytes of an hsm_secret file. */
  readonly file: Secret;
  /** In hex; null for a file whose passphrase is not known here. */
  readonly nodeId: string | null;
  /** Whether it was made here, and no node had it before. */
  readonly isNew: boolean;
}

/** Where a setup stands. */
export type Step =
  | { readonly kind: "consent" }
  | { readonly kind: "source" }
  | { readonly kind: "entropy"; readonly words: number }
  | { readonly kind: "shown"; readonly words: Secret; readonly note: string }
  | { readonly kind: "positions"; readonly words: Secret }
  | {
    readonly kind: "typeBack";
    readonly words: Secret;
    /** Numbers of the words that are asked for, the next one first. */
    readonly positions: readonly number[];
  }
  | { readonly kind: "typing"; readonly words: Secret }
  | {
    readonly kind: "misspelt";
    readonly words: Secret;
    readonly problem: Secret;
  }
  | { readonly kind: "wordsPassphrase"; readonly words: Secret }
  | { readonly kind: "path" }
  | { readonly kind: "reading"; readonly path: string }
  | { readonly kind: "unlock"; readonly file: Secret }
  | { readonly kind: "confirm"; readonly candidate: Candidate }
  | { readonly kind: "seal"; readonly candidate: Candidate }
  | { readonly kind: "storing"; readonly candidate: Candidate }
  | { readonly kind: "done"; readonly candidate: Candidate }
  | {
    readonly kind: "refused";
    readonly missing: Missing;
    readonly text: string;
  };

/** A setup: what is known, and where it stands. */
export interface Setup {
  readonly plan: Plan;
  readonly step: Step;
}

/** What can happen to it. */
export type SetupEvent =
  | { readonly kind: "line"; readonly text: string }
  | { readonly kind: "seen" }
  | { readonly kind: "entropy"; readonly bytes: Uint8Array }
  | { readonly kind: "positions"; readonly numbers: readonly number[] }
  | { readonly kind: "file"; readonly bytes: Uint8Array }
  | { readonly kind: "key" }
  | { readonly kind: "failed"; readonly text: string }
  | { readonly kind: "stored" };

/** What it wants done; the result comes back as an event. */
export type SetupEffect =
  | { readonly kind: "drawEntropy"; readonly size: number }
  | { readonly kind: "drawPositions"; readonly of: number }
  | { readonly kind: "readFile"; readonly path: string }
  | { readonly kind: "findKey" }
  | { readonly kind: "store"; readonly candidate: Candidate };

/** How something is asked: in clear, hidden, or on a screen that goes away. */
export interface SetupQuestion {
  readonly kind: "clear" | "hidden" | "once";
  /** A secret where it is one: a screen with words. */
  readonly text: string | Secret;
}

/** What follows an event. */
export interface Turn {
  readonly setup: Setup;
  /** For the owner, to stay on the screen. */
  readonly lines: readonly string[];
  /** Null while something is being done, and at the end. */
  readonly question: SetupQuestion | null;
  readonly effect: SetupEffect | null;
}
