/** A program that asks at a terminal, for tests to drive. @module */

import { complain, openTerminal, print } from "../../src/device/terminal.ts";

async function main(): Promise<number> {
  const terminal = openTerminal();
  if (terminal === null) return 1;
  print(`pid ${Deno.pid}`);
  print(`heard ${JSON.stringify(await terminal.ask("name? "))}`);
  for (const question of ["secret? ", "again? "]) {
    const { length } = await terminal.askHidden(question);
    print(`heard ${length} letters`);
  }
  await terminal.showOnce("shown once");
  print("over");
  return 0;
}

Deno.exit(await main().catch(complain));
