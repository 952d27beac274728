/**
 * `softkey run` as a process: the first contact with a node, cards of other
 * releases and other nodes, what is missing where nobody is, and its end.
 *
 * @module
 */

import assert from "node:assert/strict";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { openCard } from "../../src/device/card.ts";
import { openCardStore, standingChange } from "../../src/device/card_state.ts";
import {
  candidateOfFile,
  candidateOfWords,
  nodeKeyIn,
} from "../../src/device/setup/candidate.ts";
import { Secret } from "../../src/crypto/secret.ts";
import {
  makeSecretFile,
  openSecretFile,
  parseSecretFile,
} from "../../src/keyderiv.ts";
import { REQUESTS } from "../../src/wire/hsmd.ts";
import { decodeMessage, encodeMessage } from "../../src/wire/message.ts";
import type { BlockHash } from "../../src/wire/types.ts";
import { INIT } from "../broker/fake.ts";
import { writeCardSecret } from "../support/card_folder.ts";
import { freePort } from "../support/paths.ts";
import { startNode } from "../support/node.ts";
import {
  driveSoftkey,
  inFolder,
  readWords,
  runSoftkey,
  secretsLeftIn,
  spawnSoftkey,
  startSoftkey,
  typeBack,
  typeNewPassphrase,
  untilSaid,
} from "../support/softkey.ts";

const secretOf = (seed: number) =>
  makeSecretFile(new Uint8Array(16).fill(seed));

/** A softkey whose broker is not there, and what it said when it ended. */
async function start(folder: string, seed: number) {
  return await startSoftkey({
    folder,
    url: `mqtt://127.0.0.1:${freePort()}`,
    secret: secretOf(seed),
    output: "piped",
  });
}

/** Runs until it says this, then ends it kindly; its exit code. */
async function runUntil(
  folder: string,
  { seed, text }: { readonly seed: number; readonly text: string },
): Promise<number> {
  const softkey = await start(folder, seed);
  await untilSaid(softkey, text);
  softkey.kill("SIGTERM");
  const { code } = await softkey.status;
  return code;
}

Deno.test("a card from before there was a memory gets an empty one, and the owner is told", () =>
  inFolder(async (folder) => {
    await openCard(`${folder}/card`);
    const text = "channels that were opened before are unknown to this signer";
    assert.equal(await runUntil(folder, { seed: 1, text }), 0);
    assert.ok((await Deno.stat(`${folder}/card/state.db`)).isFile);
  }));

Deno.test("a memory of another node is refused before anything connects", () =>
  inFolder(async (folder) => {
    assert.equal(await runUntil(folder, { seed: 1, text: "connecting" }), 0);
    const softkey = await start(folder, 2);
    const said = await new Response(softkey.stdout).text();
    const { code } = await softkey.status;
    assert.equal(code, 2);
    assert.doesNotMatch(said, /connecting/);
    assert.equal(await runUntil(folder, { seed: 1, text: "connecting" }), 0);
  }));

Deno.test("a second softkey with the same card ends with exit code 2", () =>
  inFolder(async (folder) => {
    const first = await start(folder, 1);
    await untilSaid(first, "connecting");
    const second = await start(folder, 1);
    await new Response(second.stdout).text();
    assert.equal((await second.status).code, 2);
    first.kill("SIGTERM");
    assert.equal((await first.status).code, 0);
  }));

const PASSPHRASE = "correct horse battery";

/** The node id that a broker is paired with, in hex. */
const nodeIdOf = (book: {
  readonly current:
    | { readonly identity: { readonly nodeId: Uint8Array } }
    | null;
}) => book.current?.identity.nodeId.toHex() ?? "none";

/** Everything about a seed that nobody may find. */
function secretsOf(words: string): Readonly<Record<string, Uint8Array>> {
  const utf8 = new TextEncoder();
  const { file } = candidateOfWords(words, null, true);
  const { seed } = openSecretFile(parseSecretFile(file.reveal()));
  const node = nodeKeyIn(file.reveal(), null)?.reveal();
  const half = seed.reveal().subarray(0, 32);
  return {
    words: utf8.encode(words),
    "half of the words": utf8.encode(words.split(" ").slice(6).join(" ")),
    seed: half,
    "seed in hex": utf8.encode(half.toHex()),
    "node key": node ?? half,
    passphrase: utf8.encode(PASSPHRASE),
  };
}

Deno.test("from nothing: consent, words, a node served; a restart; the words alone on another card", () =>
  inFolder(async (folder) => {
    const card = `${folder}/card`;
    let words: readonly string[] = [];
    let nodeId = "";
    await Deno.mkdir(`${folder}/node`);
    {
      await using node = await startNode({ folder: `${folder}/node` });
      const init = node.init();
      let isAnswered = false;
      init.then(() => isAnswered = true);
      await using terminal = driveSoftkey(
        ...["run", "--card", card, "--broker", node.url],
      );
      const asked = await terminal.says("Pair with this node?");
      const [, fingerprint = "none"] = /fingerprint +(\S+)/.exec(asked) ?? [];
      assert.ok(node.log.some((line) => line.includes(fingerprint)));
      await terminal.types("yes");
      await terminal.says("Which one?");
      await terminal.types("1");
      words = await readWords(terminal);
      await typeBack(terminal, words);
      assert.equal(isAnswered, false);
      await typeNewPassphrase(terminal, PASSPHRASE);
      assert.equal((await init).kind, "reply");
      await terminal.says("serving");
      nodeId = nodeIdOf(node.book);
      assert.equal(
        nodeId,
        candidateOfWords(words.join(" "), null, true).nodeId,
      );
      await terminal.press("\x03");
      assert.equal(await terminal.ends(), 0);
    }
    {
      await using node = await startNode({ folder: `${folder}/node` });
      const init = node.init();
      await using terminal = driveSoftkey(
        ...["run", "--card", card, "--broker", node.url],
      );
      await terminal.says("Passphrase of the card: ");
      await terminal.types("not this one");
      await terminal.says("That is not the passphrase");
      await terminal.says("Passphrase of the card: ");
      await terminal.types(PASSPHRASE);
      assert.equal((await init).kind, "reply");
      await terminal.says("serving");
      await terminal.press("\x03");
      assert.equal(await terminal.ends(), 0);
    }
    // Another machine: the node lost its card, and its record of it.
    await Deno.mkdir(`${folder}/new`);
    await using node = await startNode({ folder: `${folder}/new` });
    const init = node.init();
    await using terminal = driveSoftkey(
      ...["run", "--card", `${folder}/second`, "--broker", node.url],
    );
    await terminal.says("Pair with this node?");
    await terminal.types("y");
    await terminal.says("Which one?");
    await terminal.types("3");
    await terminal.says("Words: ");
    await terminal.types(words.join(" "));
    await terminal.says("12 words so far");
    await terminal.types("");
    await terminal.says("Passphrase of the words");
    await terminal.types("");
    await terminal.says(nodeId);
    await terminal.types("yes");
    await typeNewPassphrase(terminal, PASSPHRASE);
    assert.equal((await init).kind, "reply");
    await terminal.says("signs nothing for channels");
    await terminal.says("serving");
    assert.equal(nodeIdOf(node.book), nodeId);
    const secrets = secretsOf(words.join(" "));
    assert.deepEqual(await secretsLeftIn(folder, secrets), []);
    await terminal.press("\x03");
    assert.equal(await terminal.ends(), 0);
    assert.deepEqual(await secretsLeftIn(folder, secrets), []);
  }));

Deno.test("the owner's no to a node stores nothing, and the node is not answered", () =>
  inFolder(async (folder) => {
    await using node = await startNode({ folder });
    node.init();
    await using terminal = driveSoftkey(
      ...["run", "--card", `${folder}/card`, "--broker", node.url],
    );
    await terminal.says("Pair with this node?");
    await terminal.types("no");
    await terminal.says("the owner said no");
    assert.equal(await terminal.ends(), 6);
    assert.equal(node.book.current, null);
  }));

Deno.test("without a terminal a card without a seed says all that it wants", () =>
  inFolder(async (folder) => {
    await using node = await startNode({ folder });
    const init = node.init();
    const run = ["run", "--card", `${folder}/card`, "--broker", node.url];
    const nothing = await runSoftkey(...run);
    assert.equal(nothing.code, 3);
    assert.match(nothing.err, /no seed on the card .*softkey init/);
    assert.match(nothing.err, /want --words-file FILE/);
    assert.match(nothing.err, /want --yes/);
    const file = ["--words-file", `${folder}/words`];
    const keyless = await runSoftkey(...run, ...file, "--yes");
    assert.equal(keyless.code, 4, keyless.err);
    const key = ["--key-file", `${folder}/key`];
    const served = spawnSoftkey(...run, ...file, ...key, "--yes");
    assert.equal((await init).kind, "reply");
    const words = (await Deno.readTextFile(`${folder}/words`)).trim();
    assert.equal(
      nodeIdOf(node.book),
      candidateOfWords(words, null, true).nodeId,
    );
    const second = await runSoftkey(...run, "--network", "signet", ...key);
    assert.equal(second.code, 2, "the card is in use");
    const { code, out } = await served.stop();
    assert.equal(code, 0);
    assert.doesNotMatch(out, new RegExp(words));
    const other = await runSoftkey(...run, "--network", "signet", ...key);
    assert.equal(other.code, 7);
    assert.match(other.err, /it is a card for regtest/);
    const wrong = `${folder}/wrong`;
    await Deno.writeFile(wrong, new Uint8Array(32), { mode: 0o400 });
    const misfit = await runSoftkey(...run, "--key-file", wrong);
    assert.equal(misfit.code, 5, misfit.err);
  }));

Deno.test("a node that is on another network than the card is answered with an error, and named", () =>
  inFolder(async (folder) => {
    const message = encodeMessage(REQUESTS.init, {
      ...decodeMessage(REQUESTS.init, INIT),
      bip32KeyVersion: NETWORKS.signet.bip32,
      chainparams: NETWORKS.signet.genesisHash as BlockHash,
    });
    await using node = await startNode({ folder, message });
    const init = node.init();
    const secret = `${folder}/hsm_secret`;
    await Deno.writeFile(secret, secretOf(1));
    const { code, err } = await runSoftkey(
      ...["run", "--card", `${folder}/card`, "--broker", node.url, "--yes"],
      ...["--network", "regtest", "--hsm-secret", secret],
    );
    assert.equal(code, 7, err);
    assert.match(err, /it is on signet, want regtest/);
    assert.notEqual((await init).kind, "reply");
  }));

Deno.test("a node whose lightningd sends a passphrase gets a seed that carries it", () =>
  inFolder(async (folder) => {
    const hsmPassphrase = new TextEncoder().encode("of the node");
    const message = encodeMessage(REQUESTS.init, {
      ...decodeMessage(REQUESTS.init, INIT),
      tlvs: { hsmPassphrase },
    });
    await using node = await startNode({ folder, message });
    const init = node.init();
    const served = spawnSoftkey(
      ...["run", "--card", `${folder}/card`, "--broker", node.url, "--yes"],
      ...["--words-file", `${folder}/words`, "--key-file", `${folder}/key`],
    );
    assert.equal((await init).kind, "reply");
    const words = (await Deno.readTextFile(`${folder}/words`)).trim();
    const passphrase = new Secret(hsmPassphrase);
    const made = candidateOfWords(words, passphrase, true);
    assert.equal(nodeIdOf(node.book), made.nodeId);
    const file = made.file.reveal();
    assert.equal(candidateOfFile(file, { passphrase: null }).nodeId, null);
    assert.equal((await served.stop()).code, 0);
  }));

Deno.test("a card in clear is served with a warning, a moved one not, a restored one in part", () =>
  inFolder(async (folder) => {
    const card = await openCard(`${folder}/card`);
    await writeCardSecret(card, secretOf(4));
    const served = async () => {
      await using node = await startNode({ folder });
      const softkey = spawnSoftkey(
        ...["run", "--card", card.folder, "--broker", node.url, "--yes"],
        ...["--network", "regtest"],
      );
      assert.equal((await node.init()).kind, "reply");
      return await softkey.stop();
    };
    const clear = await served();
    assert.equal(clear.code, 0, clear.err);
    assert.match(clear.out, /in clear: .*seal it with softkey card seal/);
    const at = 1_700_000_000_000n;
    const stand = (kind: "restored" | "moved") => {
      const store = openCardStore(card.folder);
      store.commit([standingChange({ kind, generation: 1n, at })]);
      store.close();
    };
    stand("restored");
    const restored = await served();
    assert.match(restored.out, /restored on 2023-11-14: signs nothing for/);
    stand("moved");
    const moved = await runSoftkey("run", "--card", card.folder);
    assert.equal(moved.code, 7);
    assert.match(moved.err, /it was moved to another one on 2023-11-14/);
  }));
