/**
 * `deno task e2e:cln`: two real lightningd nodes on regtest, each with its own
 * broker and softkey, through a whole life: fund, open, pay, splice, restart
 * node and device in between, close together and alone. Then two more, which
 * have channels already when their keys move to softkeys; and two whose devices
 * go away, are several, or speak as a Sphinx signer does.
 *
 *     deno task e2e:cln [PART]    only the parts whose title has this in it
 *
 * With SLOW=1 a device stays away for ten minutes, not for half of one.
 *
 * It needs lightningd, lightning-cli, bitcoind and bitcoin-cli (which lightningd
 * itself calls) on PATH, says so where they are not, and is then content. All
 * that it makes is in one temporary folder, and it listens on loopback only.
 *
 * @module
 */

import { ADOPT_STEPS } from "./e2e/adopt.ts";
import { SEVERAL_STEPS } from "./e2e/several.ts";
import { type Step, STEPS } from "./e2e/steps.ts";
import { openWorld, processesOf, type World } from "./e2e/world.ts";

const NEEDED = ["lightningd", "lightning-cli", "bitcoind", "bitcoin-cli"];

async function main(): Promise<number> {
  const missing = await missingPrograms();
  if (missing.length > 0) {
    console.log(`SKIPPED: ${missing.join(", ")} not on PATH`);
    return 0;
  }
  const folder = await Deno.makeTempDir({ prefix: "remote-hsmd-e2e-" });
  try {
    return await runIn(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function missingPrograms(): Promise<string[]> {
  const folders = (Deno.env.get("PATH") ?? "").split(":");
  const missing: string[] = [];
  for (const program of NEEDED) {
    const found = await Promise.all(
      folders.map((folder) => isFile(`${folder}/${program}`)),
    );
    if (!found.includes(true)) missing.push(program);
  }
  return missing;
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch {
    return false; // whatever the reason, it cannot be started
  }
}

/** Each has nodes of its own. */
const PARTS: Readonly<Record<string, readonly Step[]>> = {
  "a whole life": STEPS,
  "nodes with channels move to softkeys": ADOPT_STEPS,
  "a device goes away, several share a seed": SEVERAL_STEPS,
};

async function runIn(folder: string): Promise<number> {
  const start = performance.now();
  const interrupted = untilSignal();
  const [wanted = ""] = Deno.args;
  const parts = Object.entries(PARTS)
    .filter(([title]) => title.includes(wanted));
  for (const [title, steps] of parts) {
    console.log(`\n${title}`);
    const own = await Deno.makeTempDir({ dir: folder });
    const code = await runPart(own, steps, interrupted);
    if (code !== 0) return code;
  }
  const count = parts.flatMap(([, steps]) => steps).length;
  console.log(`\n${count} steps, all done in ${seconds(start)}`);
  return 0;
}

async function runPart(
  folder: string,
  steps: readonly Step[],
  interrupted: Promise<never>,
): Promise<number> {
  await using stack = new AsyncDisposableStack();
  const world = await openWorld(folder, stack);
  try {
    await Promise.race([runAll(world, steps), interrupted]);
    return 0;
  } catch (error) {
    console.log(`\nFAILED: ${error instanceof Error ? error.message : error}`);
    showLogs(world);
    return 1;
  }
}

async function runAll(world: World, steps: readonly Step[]): Promise<void> {
  for (const step of steps) await runStep(step, world);
}

async function runStep({ title, run }: Step, world: World): Promise<void> {
  const start = performance.now();
  let outcome = "FAILED";
  try {
    outcome = await run(world);
  } finally {
    console.log(`${seconds(start)}  ${title}: ${outcome}`);
  }
}

function untilSignal(): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => reject(new Error(signal)));
  }
  return promise;
}

function seconds(start: number): string {
  return `${((performance.now() - start) / 1000).toFixed(1).padStart(6)} s`;
}

const TAIL = 30;
const LONGEST_LINE = 300;

function showLogs(world: World): void {
  for (const { name, lines } of processesOf(world)) {
    console.log(`\n--- ${name}, the last of ${lines.length} lines`);
    for (const line of lines.slice(-TAIL)) {
      console.log(line.slice(0, LONGEST_LINE));
    }
  }
}

if (import.meta.main) Deno.exit(await main());
