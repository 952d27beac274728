/**
 * Which version a write gets, and what becomes of a key that was deleted.
 *
 * A deleted key leaves a row without bytes, so that its versions go on. One
 * payment leaves one, so they would grow for ever: from {@link TOMBSTONES} of
 * them on they are removed, and the greatest version that was removed raises the
 * floor, where a key that is not there starts. So the versions of a key always
 * rise, whatever was removed.
 *
 * | the key | its next version |
 * | --- | --- |
 * | is there, or its deleted row is | one more |
 * | is not there | the floor |
 *
 * What it does not do: read or write a card.
 *
 * @module
 */

/** How many deleted rows may stay until all of them are removed. */
export const TOMBSTONES = 1_000;

/** The version after this one; null for a key that is not there. */
export function nextVersion(before: bigint | null, floor: bigint): bigint {
  return before === null ? floor : before + 1n;
}

/** The floor when rows with these versions are removed. */
export function floorAfter(
  floor: bigint,
  removed: readonly bigint[],
): bigint {
  return removed.reduce((least, version) => {
    return version >= least ? version + 1n : least;
  }, floor);
}
