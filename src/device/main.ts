/**
 * `softkey`: the signer device in software, a program of its own.
 *
 * It holds the seed and signs; the node's program never contains it.
 *
 *     softkey run --broker mqtt://HOST:PORT --card DIR --network NET
 *                 [--hsm-secret FILE] [--approve refuse|ask] [--yes]
 *     softkey card check --card DIR
 *     softkey policy show|set|unset|warn|strict … --card DIR --network NET
 *     softkey allowlist list|add|remove … --card DIR --network NET
 *
 * Exit codes: 0 done, or stopped by a signal; 1 a check that failed; 2 usage, a
 * file or card that cannot be used, or a card that the node refuses; 70 a bug of
 * ours.
 *
 * @module
 */

import { NETWORKS } from "../bitcoin/networks.ts";
import { UsageError } from "../errors.ts";
import { type Arguments, readArguments } from "./arguments.ts";
import { allowlist } from "./commands/allowlist.ts";
import { card } from "./commands/card.ts";
import { policy } from "./commands/policy.ts";
import { run } from "./commands/run.ts";
import { complain, write } from "./terminal.ts";

const HELP = `softkey: a signer device for a Core Lightning node, in software.

  softkey run --broker URL --card DIR --network NET [--hsm-secret FILE]
              [--approve refuse|ask] [--approval-deadline SECONDS] [--yes]
  softkey card check --card DIR
  softkey policy show --card DIR --network NET
  softkey policy rules [TAG]
  softkey policy set NAME VALUE | unset NAME | warn TAG[@DATE] | strict TAG
  softkey allowlist list | add ENTRY | remove ENTRY

  --broker URL       where the node's broker listens: mqtt://HOST:PORT or
                     ws://HOST:PORT
  --card DIR         the folder that is this device's storage card
  --network NET      ${Object.keys(NETWORKS).join(", ")}
  --hsm-secret FILE  serve this secret, a Core Lightning hsm_secret of any kind,
                     and not the one on the card
  --approve HOW      what only you can allow: refuse (the default), or ask here
  --approval-deadline SECONDS
                     how long a question waits before it is refused, 60
  --yes              consent to everything an owner can consent to: with an empty
                     card, to a new seed
  --developer        honour dev_force fields on mainnet too

policy and allowlist change the card; stop the softkey that runs with it first.
`;

type Command = (args: Arguments) => number | Promise<number>;

const COMMANDS: Readonly<Record<string, Command>> = {
  run,
  card,
  policy,
  allowlist,
};

async function main(args: readonly string[]): Promise<number> {
  const { options, words } = readArguments(args);
  const [name, ...rest] = words;
  if (options.help || name === undefined || name === "help") {
    write(Deno.stdout, HELP);
    return name === undefined && !options.help ? 2 : 0;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) {
    const names = Object.keys(COMMANDS).join(", ");
    throw new UsageError(
      `Unknown command ${JSON.stringify(name)}: want ${names}; try --help`,
    );
  }
  return await command({ options, words: rest });
}

if (import.meta.main) Deno.exit(await main(Deno.args).catch(complain));
