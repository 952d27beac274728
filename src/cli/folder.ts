/**
 * The broker's own folder, in lightningd's directory for the network.
 *
 * @module
 */

/** Relative to where lightningd starts its hsmd. */
export const FOLDER = "remote_hsmd";

/** Which device this node is paired with. */
export const PAIRING_FILE: string = `${FOLDER}/pairing.json`;
