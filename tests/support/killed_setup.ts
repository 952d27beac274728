/**
 * A setup that is killed before its n-th change to the disk:
 *
 *     deno run -A killed_setup.ts N init|restore …
 *
 * With fewer than n changes it ends as the softkey does, else by SIGKILL.
 *
 * @module
 */

import { readArguments } from "../../src/device/arguments.ts";
import { init } from "../../src/device/commands/init.ts";
import { restore } from "../../src/device/commands/restore.ts";
import { complain } from "../../src/device/terminal.ts";
import { dieAtChange } from "./killed_at.ts";

const [at, ...args] = Deno.args;
dieAtChange(Number(at));

const { options, words: [name, ...words] } = readArguments(args);
const command = name === "init" ? init : restore;
Deno.exit(await command({ options, words }).catch(complain));
