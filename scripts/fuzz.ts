/**
 * Runs the fuzz generators for as long as it is told to.
 *
 *     deno run --allow-read --allow-write=tests/fuzz scripts/fuzz.ts \
 *       [--seconds 60] [--seed N] [--target part-of-a-name]
 *
 * The seed of a run is printed, so that the run can be had again. A seed that
 * finds something is also kept in tests/fuzz/seeds.json, which the tests replay;
 * commit it with the fix.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { runBurst, type Target, TARGETS } from "../tests/support/fuzz.ts";

const SEEDS = new URL("../tests/fuzz/seeds.json", import.meta.url);
/** Inputs for a target before the next one has its turn. */
const BURST = 200;

/** A seed that found something. */
interface Finding {
  readonly target: string;
  readonly seed: number;
}

async function keep(finding: Finding): Promise<void> {
  const kept: Finding[] = JSON.parse(await Deno.readTextFile(SEEDS));
  const all = JSON.stringify([...kept, finding], null, 2);
  await Deno.writeTextFile(SEEDS, `${all}\n`);
}

/** Runs bursts of all targets until the time is over; counts the findings. */
async function run(
  targets: readonly Target[],
  options: { readonly seed: number; readonly seconds: number },
): Promise<number> {
  const end = Date.now() + options.seconds * 1000;
  const broken = new Set<string>();
  let bursts = 0;
  for (let seed = options.seed; Date.now() < end; seed = (seed + 1) | 0) {
    for (const target of targets) {
      if (Date.now() >= end || broken.has(target.name)) continue;
      const problem = runBurst(target, { seed, count: BURST });
      bursts++;
      if (problem === null) continue;
      broken.add(target.name);
      console.error(`${target.name}, seed ${seed}:\n${problem}\n`);
      await keep({ target: target.name, seed });
    }
  }
  console.log(
    `${bursts * BURST} inputs for ${targets.length} decoders, ` +
      `${broken.size || "none"} broken, from seed ${options.seed}`,
  );
  return broken.size;
}

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      seconds: { type: "string", default: "60" },
      seed: { type: "string", default: `${Date.now() | 0}` },
      target: { type: "string", default: "" },
    },
  });
  const seconds = Number(values.seconds);
  const seed = Number(values.seed);
  const targets = TARGETS.filter(({ name }) => name.includes(values.target));
  if (!(seconds > 0) || !Number.isInteger(seed) || targets.length === 0) {
    console.error("Usage: fuzz.ts [--seconds N] [--seed N] [--target name]");
    return 2;
  }
  console.log(`seed ${seed}, ${seconds} seconds`);
  return await run(targets, { seed, seconds }) > 0 ? 1 : 0;
}

if (import.meta.main) Deno.exitCode = await main(Deno.args);
