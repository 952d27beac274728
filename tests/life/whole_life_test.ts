/**
 * The whole life of a softkey from nothing, as its owner lives it at a terminal:
 * consent, words, a node served, a restart, another machine, a backup, the end.
 * Then everything that the life left behind is searched for its secrets.
 *
 * The node is a real broker under a stand-in for lightningd, paired with the
 * first device that it accepts; the softkey is the program, in a terminal.
 *
 * Not searched: the screens that show words on purpose and go away; the folder
 * where the owner keeps words and passphrases; card_key in its own file. The link
 * between device and node is searched as it is on the wire: sealed.
 *
 * @module
 */

import assert from "node:assert/strict";
import { candidateOfWords } from "../../src/device/setup/candidate.ts";
import { REPLIES, REQUESTS } from "../../src/wire/hsmd.ts";
import { decodeMessage, encodeMessage } from "../../src/wire/message.ts";
import type { Msat, Sha256 } from "../../src/wire/types.ts";
import { PEER } from "../broker/fake.ts";
import { initOn, Place, type WatchedTerminal } from "../support/life.ts";
import type { RunningBroker } from "../support/rig.ts";
import {
  byteSecret,
  isKeyFile,
  keyFilesIn,
  missedBy,
  type Remains,
  type RunSecret,
  SecretHunt,
  secretsOfWords,
  textSecret,
} from "../support/secrets.ts";
import { readWords, typeBack, typeNewPassphrase } from "../support/softkey.ts";

const PASSPHRASE = "correct horse battery";
const MISTYPED = "the one of another card";
const OTHER_WORDS = `${"abandon ".repeat(11)}about`;
const OTHER_NODE = candidateOfWords(OTHER_WORDS, null, false).nodeId ?? "";
const CHANNEL = { peerId: PEER, dbid: 1n };

/** What lightningd asks, and what it is answered. */
async function ask(
  { standin: { master } }: RunningBroker,
  request: Uint8Array,
): Promise<Uint8Array> {
  await master.write(request);
  const reply = await master.read();
  assert.ok(reply !== null, "no answer");
  return reply;
}

/** Whose node lightningd's init is told that this is, in hex. */
async function serves(node: RunningBroker): Promise<string> {
  const reply = await ask(node, initOn("regtest"));
  const { nodeId } = decodeMessage(REPLIES.init_reply_v4, reply);
  return nodeId.toHex();
}

async function mayPay(node: RunningBroker, sat: bigint): Promise<boolean> {
  const request = encodeMessage(REQUESTS.preapprove_keysend, {
    destination: PEER,
    // 32 bytes, as many different ones as there are amounts.
    paymentHash: new Uint8Array(32).fill(Number(sat % 251n)) as
      & Uint8Array
      & Sha256,
    // A number of millisatoshi.
    amountMsat: sat * 1000n as Msat,
  });
  const row = REPLIES.preapprove_keysend_reply;
  return decodeMessage(row, await ask(node, request)).approved;
}

async function stop(terminal: WatchedTerminal): Promise<void> {
  await terminal.says("serving");
  await terminal.press("\x03");
  assert.equal(await terminal.ends(), 0);
}

async function typeWords(
  terminal: WatchedTerminal,
  words: readonly string[],
): Promise<void> {
  await terminal.says("Words: ");
  await terminal.types(`${words.slice(0, 4).join(" ")} zzzz`);
  await terminal.says("word 5  zzzz");
  await terminal.says("take this away");
  await terminal.types("");
  await terminal.says("Words: ");
  await terminal.types(words.slice(0, 5).join(" "));
  await terminal.says("5 words so far");
  await terminal.types(words.slice(5).join(" "));
  await terminal.says("12 words so far");
  await terminal.types("");
  await terminal.says("Passphrase of the words");
  await terminal.types("");
}

/** One of each kind of place where something can be left. */
const PLACES: readonly RegExp[] = [
  /^\/.*\/cards\/first\/state\.db$/,
  /^\/.*\/out\/backup$/,
  /^\/.*\/out\/book$/,
  /^\/.*\/remote_hsmd\/pairing\.json$/,
  /^the name of \//,
  /^log$/,
  /^screen of run$/,
  /^output of restore$/,
  /^process .*deno$/,
  /^link, from the device$/,
  /^link, to the device$/,
];

function placesIn(remains: readonly Remains[]): readonly Remains[] {
  return PLACES.map((wanted) => {
    const found = remains.find(({ name }) => wanted.test(name));
    assert.ok(found !== undefined, `nothing is left of ${wanted}`);
    return found;
  });
}

Deno.test("a whole life of a softkey, and no secret in what it leaves behind", async (t) => {
  await using place = await Place.make();
  const cardNamed = (name: string) => ["--card", place.path("cards", name)];
  const first = cardNamed("first");
  const second = cardNamed("second");
  const broker = ["--broker", place.tap.url];
  const regtest = ["--network", "regtest"];
  const passphrase = ["--passphrase-file", await place.keep("1", PASSPHRASE)];
  const backup = place.path("out", "backup");
  const move = place.path("out", "move");
  let words: readonly string[] = [];
  let nodeId = "";

  /** Runs a command to its end. */
  const says = async (
    command: string,
    args: readonly string[],
    wanted: RegExp,
    exitCode = 0,
  ): Promise<string> => {
    const { code, out, err } = await place.command(
      ...command.split(" "),
      ...args,
    );
    assert.match(out + err, wanted);
    assert.equal(code, exitCode, out + err);
    return out + err;
  };

  await t.step(
    "an empty folder is set up, and serves the node that asked",
    async () => {
      await using node = await place.startNode();
      const served = serves(node);
      await using terminal = place.terminal(
        "run",
        ...first,
        ...broker,
        "--approve",
        "ask",
      );
      const screen = await terminal.says("Pair with this node?");
      const [, onScreen = "none"] = /fingerprint +(\S+)/.exec(screen) ?? [];
      const [, inLog] = await node.logged(/fingerprint ([^,]+),/);
      assert.equal(onScreen, inLog);
      await terminal.types("yes");
      await terminal.says("Which one?");
      await terminal.types("1");
      words = await readWords(terminal);
      assert.equal(words.length, 12);
      await terminal.says("from your paper");
      await terminal.types("zzz");
      await terminal.says("is not right");
      assert.deepEqual(await readWords(terminal), words);
      await typeBack(terminal, words);
      await typeNewPassphrase(terminal, PASSPHRASE);
      nodeId = await served;
      assert.equal(
        nodeId,
        candidateOfWords(words.join(" "), null, true).nodeId,
      );
      await terminal.says("serving");

      // From another terminal, while it serves.
      await says(
        "policy set velocity hour:1000000",
        first,
        /velocity hour:1000000/,
      );
      const allowed = mayPay(node, 2_000n);
      await terminal.says("Pay 2000 sat");
      await says("approve", first, /^1 {2}Pay 2000 sat/);
      await says("approve 1", first, /^allowed 1/);
      assert.equal(await allowed, true);
      const declined = mayPay(node, 3_000n);
      await terminal.says("Pay 3000 sat");
      await says("approve 2 --decline", first, /^declined 2/);
      assert.equal(await declined, false);
      const request = { ...CHANNEL, id: CHANNEL.peerId };
      await ask(node, encodeMessage(REQUESTS.new_channel, request));
      const msg = new TextEncoder().encode("signed by a whole life");
      await ask(node, encodeMessage(REQUESTS.sign_message, { msg }));
      await says(
        "ledger --kind signed",
        first,
        /message of 22 bytes under the node key/,
      );
      await says("ledger --kind refused", first, /velocity: 3000 sat/);
      await says("ledger verify", first, /The ledger is whole/);
      await says(
        `ledger export ${place.path("out", "book")}`,
        first,
        /Wrote \d+ lines/,
      );
      await says("card check", first, /standing +good[^]*The card is whole/);
      await says(
        `card backup ${backup} --yes`,
        [...first, ...passphrase],
        /backup written/,
      );
      await says("card wipe --yes", first, /stop it first/, 2);
      await says("approve 7", first, /no such question/, 1);
      await terminal.press("\x03");
      assert.equal(await terminal.ends(), 0);
    },
  );

  await t.step(
    "a restart: a wrong passphrase says so, the right one serves the same node",
    async () => {
      await using node = await place.startNode();
      const served = serves(node);
      await using terminal = place.terminal("run", ...first);
      await terminal.says("Passphrase of the card: ");
      await terminal.types(MISTYPED);
      // Who knows it better does not wait for the answer: nor is that shown.
      await terminal.says("\n");
      await terminal.types(PASSPHRASE);
      await terminal.says("That is not the passphrase");
      assert.equal(await served, nodeId);
      await stop(terminal);
      const wrong = await place.keep("wrong", MISTYPED);
      await says(
        "run",
        [...first, "--passphrase-file", wrong],
        /^softkey: Wrong passphrase/,
        5,
      );
      await says(
        "run",
        [...first, "--network", "signet"],
        /it is a card for regtest/,
        7,
      );
      await says("run", first, /no passphrase, want --passphrase-file/, 4);
    },
  );

  await t.step(
    "another machine: the words alone bring back the same node",
    async () => {
      {
        await using node = await place.startNode();
        await using terminal = place.terminal(
          "restore",
          ...second,
          ...broker,
          ...regtest,
        );
        await typeWords(terminal, words);
        await terminal.says(nodeId);
        await terminal.types("yes");
        await typeNewPassphrase(terminal, PASSPHRASE);
        await terminal.says("this is its seed");
        await terminal.says("Done.");
        assert.equal(await terminal.ends(), 0);
        // The node knows the card that was lost, and says how to give it up.
        await says(
          "run",
          [...second, ...broker, ...passphrase, "--yes"],
          /card is another one[^]*pairing\.json\.card/,
          2,
        );
        const other = ["--words-file", await place.keep("other", OTHER_WORDS)];
        const third = [...cardNamed("third"), ...other, ...regtest, "--yes"];
        const key = ["--key-file", place.path("owner", "key")];
        await says(
          "restore",
          [...third, ...key, ...broker],
          new RegExp(`refuses this seed, which is node ${OTHER_NODE}`),
          7,
        );
        await says(
          "restore",
          [...third, ...key, "--node-id", nodeId],
          new RegExp(`it is node ${OTHER_NODE}, want ${nodeId}`),
          7,
        );
        assert.ok(
          node.log.some((line) =>
            line.includes(OTHER_NODE) && line.includes(nodeId)
          ),
        );
        await says("card check", cardNamed("third"), /there is no seed yet/);
      }
      await Deno.remove(
        place.path("node", "lightningd/remote_hsmd/pairing.json.card"),
      );
      await using node = await place.startNode();
      const served = serves(node);
      await using terminal = place.terminal(
        "run",
        ...second,
        ...broker,
        ...passphrase,
      );
      await terminal.says("signs nothing for channels");
      await terminal.says("Pair with this node?");
      await terminal.types("yes");
      assert.equal(await served, nodeId);
      await stop(terminal);
    },
  );

  await t.step(
    "another node, on another network: nothing is mixed up, pair consents",
    async () => {
      await using node = await place.startNode("other");
      await node.standin.master.write(initOn("signet"));
      const fourth = cardNamed("fourth");
      await says(
        "restore",
        [...fourth, ...broker, ...regtest],
        /it is on signet, want regtest/,
        7,
      );
      await using terminal = place.terminal("pair", ...fourth, ...broker);
      const screen = await terminal.says("Pair with this node?");
      const [, onScreen = "none"] = /fingerprint +(\S+)/.exec(screen) ?? [];
      const [, inLog] = await node.logged(/fingerprint ([^,]+),/);
      assert.equal(onScreen, inLog);
      await terminal.types("yes");
      await terminal.says("Done: paired");
      assert.equal(await terminal.ends(), 0);
      await says("card check", fourth, /network +signet/);
    },
  );

  await t.step(
    "what is missing or wrong is said in a sentence, with its exit code",
    async () => {
      const fifth = [...cardNamed("fifth"), ...regtest];
      const key = ["--key-file", place.path("owner", "key"), "--yes"];
      const wordsFile = async (name: string, list: readonly string[]) => [
        "--words-file",
        await place.keep(name, list.join(" ")),
      ];
      const misspelt = await wordsFile("misspelt", [
        ...words.slice(0, 11),
        "zzz",
      ]);
      await says(
        "restore",
        [...fifth, ...misspelt, ...key],
        /not in the list of words: number 12/,
        8,
      );
      const swapped = await wordsFile(
        "swapped",
        words.with(0, "zoo").with(1, "zoo"),
      );
      await says(
        "restore",
        [...fifth, ...swapped, ...key],
        /checksum does not fit/,
        8,
      );
      const noSeed = await place.keep("no seed", new Uint8Array(31));
      await says(
        "restore",
        [...fifth, "--hsm-secret", noSeed, ...key],
        /it is no hsm_secret/,
        8,
      );
      await says("init", fifth, /want a terminal, or --yes/, 9);
      await says("run", [...fifth, ...broker], /no seed on the card/, 3);
      await says(
        "card check",
        [...first, ...key],
        /it is sealed with a passphrase/,
        5,
      );
      await says("card seal", first, /its seed is sealed already/, 3);
      await says("policy set velocity much", first, /want hour:N/, 2);
      await says(
        "ledger verify",
        ["--card", place.path("cards")],
        /no state\.db/,
        2,
      );
    },
  );

  await t.step(
    "a backup comes back as what it is, a move as the card itself",
    async () => {
      const copy = cardNamed("copy");
      const moved = cardNamed("moved");
      const opened = ["--key-file", place.path("owner", "new key")];
      await says(
        `card restore ${backup} --yes`,
        [...copy, ...passphrase],
        /signs nothing for channels/,
      );
      await says(`card restore ${backup} --yes`, copy, /it is not empty/, 2);
      await says("card passphrase", [
        "key-file",
        place.path("owner", "new key"),
        ...first,
        ...passphrase,
      ], /sealed with the new key/);
      await says(
        `card backup ${move} --move --yes`,
        [...first, ...passphrase],
        /it is sealed with a key file/,
        5,
      );
      await says(
        `card backup ${move} --move --yes`,
        [...first, ...opened],
        /backup written/,
      );
      await says(
        "run",
        [...first, ...opened],
        /it was moved to another one/,
        7,
      );
      await says(
        `card restore ${move} --yes`,
        [...moved, ...opened],
        /goes on where it stopped/,
      );
      await says(
        "card check",
        [...moved, ...opened],
        /standing +good[^]*seed +opens/,
      );
      await says("card check", copy, /standing +restored/);
    },
  );

  await t.step(
    "a wipe takes the card away when its owner names it",
    async () => {
      await using terminal = place.terminal("card", "wipe", ...second);
      await terminal.says("the first 8 characters of the node id");
      await terminal.types(nodeId.slice(0, 7));
      await terminal.says("Nothing was done");
      assert.equal(await terminal.ends(), 6);
      await using again = place.terminal("card", "wipe", ...second);
      await again.says("the first 8 characters of the node id");
      await again.types(nodeId.slice(0, 8));
      await again.says("card wiped");
      assert.equal(await again.ends(), 0);
    },
  );

  const remains = await place.remains();
  const secrets: readonly RunSecret[] = [
    ...secretsOfWords(words, [CHANNEL]),
    ...[PASSPHRASE, MISTYPED].map((text, i) =>
      textSecret(`passphrase ${i + 1}`, text)
    ),
    ...["key", "new key"].map((name) =>
      byteSecret(name, Deno.readFileSync(place.path("owner", name)))
    ),
    ...keyFilesIn(remains),
  ];

  await t.step("nothing that is left behind has a secret in it", () => {
    const hunt = new SecretHunt(secrets);
    const others = remains.filter(({ name }) => !isKeyFile(name));
    assert.deepEqual(others.flatMap((each) => hunt.find(each)), []);
  });

  await t.step(
    "each secret would be found in each place, however it got there",
    () => {
      const hunt = new SecretHunt(secrets);
      for (const place of placesIn(remains)) {
        const missed = missedBy(hunt, place, secrets);
        assert.deepEqual(missed, []);
      }
    },
  );
});
