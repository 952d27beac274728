/**
 * A recorded node with channels lives on a sealed card: its secret moves from a
 * file in clear into the seal, it opens, pays and closes over the whole path, its
 * card is backed up, and nothing that is left behind has a secret of it.
 *
 * Here the secrets are known before, so that also the keys of channels and the
 * secrets of commitments that were not revoked are looked for. One flipped byte of
 * the card that it leaves is found.
 *
 * Not looked for: what the node asked for and was told (released secrets, shared
 * secrets, derived secrets).
 *
 * @module
 */

import assert from "node:assert/strict";
import { openSecretFile, parseSecretFile } from "../../src/keyderiv.ts";
import type { ChannelId } from "../../src/keyderiv/channel.ts";
import { REPLIES } from "../../src/wire/hsmd.ts";
import { decodeMessage } from "../../src/wire/message.ts";
import { Place } from "../support/life.ts";
import {
  type Life,
  newOutcome,
  playLife,
  readRecording,
  RECORDINGS,
} from "../support/recording.ts";
import {
  byteSecret,
  COMMITMENTS,
  isKeyFile,
  keyFilesIn,
  missedBy,
  type RunSecret,
  SecretHunt,
  secretsOfChannels,
  secretsOfNode,
} from "../support/secrets.ts";
import { lifeNetwork } from "../support/whole_path.ts";
import { checkFlips } from "./flips.ts";

/** A node that opens, pays, and has its channel closed. */
const NAME = "flows/pay-node1";

/** Channels that a recording names. */
function channelsOf({ events }: Life): readonly ChannelId[] {
  const found = new Map<string, ChannelId>();
  for (const event of events) {
    if (event.kind !== "open" || event.dbid === 0n) continue;
    const { peer: peerId, dbid } = event;
    found.set(`${peerId.toHex()}/${dbid}`, { peerId, dbid });
  }
  return [...found.values()];
}

/** The secret of a commitment that a reply tells the node, if it is such a reply. */
function secretIn(type: number, bytes: Uint8Array): Uint8Array | null {
  switch (type) {
    case REPLIES.get_per_commitment_point_reply.type:
      return decodeMessage(REPLIES.get_per_commitment_point_reply, bytes)
        .oldCommitmentSecret;
    case REPLIES.validate_commitment_tx_reply.type:
      return decodeMessage(REPLIES.validate_commitment_tx_reply, bytes)
        .oldCommitmentSecret;
    case REPLIES.revoke_commitment_tx_reply.type:
      return decodeMessage(REPLIES.revoke_commitment_tx_reply, bytes)
        .oldCommitmentSecret;
  }
  return null;
}

/** Secrets of commitments that the node was told, in hex. */
function releasedIn({ events }: Life): ReadonlySet<string> {
  const released = events.flatMap((event) => {
    const secret = event.kind === "reply"
      ? secretIn(event.type, event.bytes)
      : null;
    return secret === null ? [] : [secret.toHex()];
  });
  return new Set(released);
}

Deno.test("a recorded node on a sealed card leaves no secret behind", async (t) => {
  const { lives } = await readRecording(
    new URL(`${NAME}.jsonl.gz`, RECORDINGS),
  );
  const [life] = lives;
  assert.ok(life !== undefined);
  await using place = await Place.make();
  const folder = place.path("cards", "card");
  const card = ["--card", folder];
  const key = ["--key-file", place.path("owner", "key")];
  const book = place.path("out", "book");
  const works = async (...args: readonly string[]) => {
    const { code, out, err } = await place.command(...args);
    assert.equal(code, 0, out + err);
    return out;
  };

  await t.step("its secret is sealed", async () => {
    await Deno.mkdir(folder, { mode: 0o700 });
    const mode = { mode: 0o400 };
    await Deno.writeFile(`${folder}/hsm_secret`, life.secret, mode);
    await works("card", "seal", ...card, ...key);
  });

  await t.step("it lives as it was recorded", async () => {
    await using node = await place.startNode();
    await using terminal = place.terminal(
      ...["run", ...card, ...key, "--broker", place.tap.url, "--yes"],
      ...["--network", lifeNetwork(life).name, "--developer"],
    );
    await terminal.says("connected to");
    // Nobody has blocks to show here.
    await works("policy", "set", "chain", "believed", ...card);
    const outcome = newOutcome();
    await playLife(life, node.standin, outcome);
    assert.deepEqual(outcome.differences, []);
    await terminal.says("serving");
    await terminal.press("\x03");
    assert.equal(await terminal.ends(), 0);
  });

  await t.step(
    "its book is whole, its card is backed up and checked",
    async () => {
      const lines = await works("ledger", "--kind", "signed", ...card);
      assert.match(lines, /commitment \d+ of/);
      await works("ledger", "export", book, ...card);
      const file = place.path("out", "backup");
      await works("card", "backup", file, "--yes", ...card, ...key);
      assert.match(
        await works("card", "check", ...card, ...key),
        /seed +opens/,
      );
    },
  );

  await t.step(
    "one flipped byte of its card or its book is found",
    () => checkFlips({ card: folder, book, seed: 1 }),
  );

  const remains = await place.remains();
  const secret = openSecretFile(parseSecretFile(life.secret));
  const channels = channelsOf(life);
  const released = releasedIn(life);
  assert.ok(channels.length > 0 && released.size > 0);
  const secrets: readonly RunSecret[] = [
    ...secretsOfNode(secret),
    ...secretsOfChannels(secret, channels, released),
    byteSecret("key file", await Deno.readFile(place.path("owner", "key"))),
    ...keyFilesIn(remains),
  ];

  await t.step("nothing that is left behind has a secret in it", () => {
    const hunt = new SecretHunt(secrets);
    const others = remains.filter(({ name }) => !isKeyFile(name));
    assert.deepEqual(others.flatMap((each) => hunt.find(each)), []);
  });

  await t.step(
    "what was released is sealed on the link; in clear it would be found",
    () => {
      const all = secretsOfChannels(secret, channels, new Set())
        .filter(({ name }) => name.startsWith("secret of commitment"));
      assert.ok(all.length === COMMITMENTS * channels.length);
      const hunt = new SecretHunt(all);
      const link = remains.find(({ name }) => name === "link, from the device");
      assert.ok(link !== undefined && link.bytes.length > 0);
      assert.deepEqual(hunt.find(link), []);
      assert.deepEqual(missedBy(hunt, link, all), []);
      const state = remains.find(({ name }) => name.endsWith("/card/state.db"));
      assert.ok(state !== undefined);
      assert.deepEqual(missedBy(new SecretHunt(secrets), state, secrets), []);
    },
  );
});
