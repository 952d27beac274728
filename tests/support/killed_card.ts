/**
 * A command of `softkey card` that is killed before its n-th change to the disk:
 *
 *     deno run -A killed_card.ts N backup|restore|seal|passphrase|wipe …
 *
 * Exit code 0 when there were fewer than n changes, else it dies by SIGKILL.
 *
 * @module
 */

import { openCardStore } from "../../src/device/card_state.ts";
import { backupCard } from "../../src/device/commands/card/backup.ts";
import { restoreCard } from "../../src/device/commands/card/restore.ts";
import {
  changePassphrase,
  sealCard,
} from "../../src/device/commands/card/seal.ts";
import { wipeCard } from "../../src/device/commands/card/wipe.ts";
import { commandLine, nobody, NOW } from "./card_folder.ts";
import { dieAtChange } from "./killed_at.ts";

const [at, ...args] = Deno.args;
dieAtChange(Number(at));

const { options, words: [command, ...words] } = commandLine(...args);
const line = { options, words };
switch (command) {
  case "backup": {
    const folder = options.card ?? "";
    const store = openCardStore(folder);
    const { print } = nobody();
    const path = (text: string) => text;
    const access = { store, folder, network: null, desk: null, print, path };
    await backupCard(access, line, null, NOW);
    store.close();
    break;
  }
  case "restore":
    await restoreCard(line, nobody());
    break;
  case "seal":
    await sealCard(line, nobody());
    break;
  case "passphrase":
    await changePassphrase(line, nobody());
    break;
  case "wipe":
    await wipeCard(line, nobody());
    break;
}
