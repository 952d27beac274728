/**
 * The broker's own folder, in lightningd's directory for the network.
 *
 * @module
 */

/** Relative to where lightningd starts its hsmd. */
export const FOLDER = "remote_hsmd";

/** Which device this node is paired with. */
export const PAIRING_FILE: string = `${FOLDER}/pairing.json`;

/** The key that devices know this node by. */
export const LINK_KEY_FILE: string = `${FOLDER}/link_key`;

/** lightningd's own database, where it is SQLite and in its usual place. */
export const NODE_DATABASE = "lightningd.sqlite3";
