/**
 * JSON from the programs under test, taken apart without trusting its shape.
 *
 * @module
 */

/** Any JSON value. */
export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json };

type Path = readonly (string | number)[];

/** What is at a path; undefined where there is nothing. */
export function find(value: Json, ...path: Path): Json | undefined {
  let found: Json | undefined = value;
  for (const key of path) {
    if (typeof found !== "object" || found === null) return undefined;
    found = (found as { readonly [key: string]: Json })[key];
  }
  return found;
}

/** The text at a path. */
export function text(value: Json, ...path: Path): string {
  const found = find(value, ...path);
  if (typeof found === "string") return found;
  throw mismatch(value, path, "a text");
}

/** The number at a path. */
export function number(value: Json, ...path: Path): number {
  const found = find(value, ...path);
  if (typeof found === "number") return found;
  throw mismatch(value, path, "a number");
}

/** The elements at a path. */
export function list(value: Json, ...path: Path): readonly Json[] {
  const found = find(value, ...path);
  if (Array.isArray(found)) return found;
  throw mismatch(value, path, "a list");
}

const LONGEST_SHOWN = 300;

function mismatch(value: Json, path: Path, wanted: string): Error {
  const shown = JSON.stringify(value)?.slice(0, LONGEST_SHOWN);
  return new Error(`Cannot find ${wanted} at ${path.join(".")} in ${shown}`);
}
