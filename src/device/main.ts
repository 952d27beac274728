/**
 * `softkey`: the signer device in software, a program of its own.
 *
 * It holds the seed and signs; the node's program never contains it.
 *
 *     softkey pair 'STRING' --card DIR
 *     softkey run|pair --broker URL --card DIR
 *     softkey init|restore --card DIR --network NET
 *     softkey card backup|restore|check|wipe|seal|passphrase|adopt|share --card DIR
 *     softkey policy|allowlist|approve|ledger … --card DIR
 *     softkey control-key --card DIR --out FILE
 *
 * | exit code | means |
 * | --- | --- |
 * | 0 | done, or stopped by a signal while serving |
 * | 1 | a check that failed |
 * | 2 | usage, a file or card that cannot be used, a card that the node refuses |
 * | 3 to 9 | the owner has to supply something, see `owner_error.ts` |
 * | 70 | a bug of ours |
 * | 128 and more | a signal, or Ctrl-C at a question |
 *
 * @module
 */

import { NETWORKS } from "../bitcoin/networks.ts";
import { UsageError } from "../errors.ts";
import { type Arguments, readArguments } from "./arguments.ts";
import { allowlist } from "./commands/allowlist.ts";
import { approve } from "./commands/approve.ts";
import { card } from "./commands/card.ts";
import { controlKey } from "./commands/control_key.ts";
import { init } from "./commands/init.ts";
import { ledger } from "./commands/ledger.ts";
import { pair } from "./commands/pair.ts";
import { policy } from "./commands/policy.ts";
import { restore } from "./commands/restore.ts";
import { run } from "./commands/run.ts";
import { unpair } from "./commands/unpair.ts";
import { complain, write } from "./terminal.ts";

const HELP = `softkey: a signer device for a Core Lightning node, in software.

Start here: remote_hsmd_mqtt pair shows a string at the node;
softkey pair --card DIR 'STRING' asks you whether to pair with that
node, and softkey run --card DIR makes a seed with you and serves it.

  softkey run      serve a node; with a card without a seed, set it up
  softkey pair     consent to a node, to serve it later: 'STRING' as
                   remote_hsmd_mqtt pair shows it, --broker URL, or
                   --list to see which node it is
  softkey unpair   forget the node
  softkey init     make a seed on a card, without a node
  softkey restore  bring back a seed, from words or an hsm_secret file
  softkey card     check | backup | restore | wipe | seal | passphrase |
                   adopt | forget-chain | share
  softkey policy   show | rules [TAG] | set NAME VALUE | unset NAME |
                   warn TAG[@DATE] | strict TAG
  softkey allowlist list | add ENTRY | remove ENTRY
  softkey approve  [NUMBER] [--decline]: answer what a softkey asks
  softkey control-key
                   write the key of your control messages to --out FILE
  softkey ledger   what was signed, refused and decided: [--kind KIND]
                   [--peer HEX] [--channel N] [--since DATE]
                   [--until DATE] [--last N] [--json];
                   verify [FILE] | export FILE

The card and its node:
  --card DIR         the folder that is this device's storage card
  --broker URL       where the node's broker listens: mqtt://HOST:PORT or
                     ws://HOST:PORT; a paired card knows it
  --pair STRING      run, init: join the node of this pairing string first
  --network NET      ${Object.keys(NETWORKS).join(", ")};
                     a card that was used knows it
  --node-id ID       the node id that the seed has to make

The seed:
  --words N          words of a new seed: 12 (the default), 15, 18, 21, 24
  --words-file FILE  init: write the words there, and show none;
                     restore: read them there
  --words-passphrase-file FILE
                     the passphrase that belongs to the words, or to the
                     hsm_secret (lightningd's hsm-passphrase)
  --hsm-secret FILE  restore: a Core Lightning hsm_secret of any kind;
                     run: serve this one; it stays in clear where it is
  --database FILE    restore, card adopt: lightningd.sqlite3 of the node,
                     to learn its channels from
  --move             card backup: the file becomes the card, which signs
                     nothing any more
  --setup-listen ADDRESS:PORT
                     init: wait for the hardware's setup tools there

An MQTT server between them that is not the broker's own:
  --mqtt-user NAME   log in with this name, and with the password in
                     --mqtt-password-file FILE or --mqtt-password-fd N
  --mqtt-ca FILE     the certificate of whoever signed the server's
  --mqtt-cert FILE, --mqtt-key FILE
                     our own certificate and its key, to show to it

What opens the seal of the seed (else you are asked):
  --key-file FILE, --passphrase-file FILE, --passphrase-fd N, or the
  credentials softkey-key or softkey-passphrase of systemd

Several cards of one node:
  card share         from now on all that this card signs is stored with the
                     node's storage first, for another card to go on from
  --new-storage      card share: the storage was replaced for good
  --dialect sphinx   run: speak as a Sphinx signer does, for a Sphinx broker;
                     the link is not sealed then

While it runs:
  --approve HOW      what only you can allow: refuse (the default), or ask
  --approval-deadline SECONDS
                     how long a question waits before it is refused, 60
  --led NAME         show the state by this light of /sys/class/leds
  --yes              consent to everything an owner can consent to
  --developer        honour dev_force fields on mainnet too

Exit codes: 0 done; 1 a check failed; 2 usage, or a file that cannot be
used; 3 no seed; 4 nothing to open the seal; 5 it does not fit; 6 no
consent; 7 another node, network or card; 8 words or file that are no
seed; 9 no terminal.
`;

type Command = (args: Arguments) => number | Promise<number>;

const COMMANDS: Readonly<Record<string, Command>> = {
  run,
  pair,
  unpair,
  init,
  restore,
  card,
  policy,
  allowlist,
  approve,
  "control-key": controlKey,
  ledger,
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
