/**
 * The broker's own folder, in lightningd's directory for the network.
 *
 * @module
 */

/** Relative to where lightningd starts its hsmd. */
export const FOLDER = "remote_hsmd";

/** Which device this node is paired with. */
export const PAIRING_FILE: string = `${FOLDER}/pairing.json`;

/** Which device signed last, and which one the operator wants. */
export const ACTIVE_FILE: string = `${FOLDER}/active.json`;

/** State of devices that share it, and the key that they know it by. */
export const STORAGE_FILE: string = `${FOLDER}/storage.db`;
export const STORAGE_KEY_FILE: string = `${FOLDER}/storage_key`;

/** The key that devices know this node by. */
export const LINK_KEY_FILE: string = `${FOLDER}/link_key`;

/** lightningd's own database, where it is SQLite and in its usual place. */
export const NODE_DATABASE = "lightningd.sqlite3";
