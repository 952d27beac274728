/**
 * Every decoder meets bytes that nobody vouches for. Seeds that once found
 * something are in tests/fuzz/seeds.json and run each time.
 *
 * @module
 */

import fc from "npm:fast-check@4.10.2";
import seeds from "../fuzz/seeds.json" with { type: "json" };
import { runs } from "../support/arbitrary.ts";
import { TARGETS } from "../support/fuzz.ts";

const kept: readonly { readonly target: string; readonly seed: number }[] =
  seeds;

for (const { name, input, check } of TARGETS) {
  Deno.test(`Any bytes are a ${name} or a DecodeError`, () => {
    fc.assert(fc.property(input, check), { numRuns: runs() });
    for (const { target, seed } of kept) {
      if (target === name) fc.assert(fc.property(input, check), { seed });
    }
  });
}
