/** Why a channel of a database cannot be adopted. @module */

/** A channel that does not check, with what is wrong with it. */
export class Unfit extends Error {
  override readonly name = "Unfit";
}
