/**
 * A pairing as two people at two terminals live it: one at the node, one at the
 * device; from `remote_hsmd_mqtt pair` to a node that is served, and what comes
 * after: another device, a string that was used, an un-pairing.
 *
 * The node is a real broker under a stand-in for lightningd, with the settings
 * that a user gets who sets none but the port.
 *
 * @module
 */

import assert from "node:assert/strict";
import decodeQR from "qr/decode.js";
import { parsePairingString } from "../../src/mqtt/pairing_string.ts";
import { REPLIES } from "../../src/wire/hsmd.ts";
import { decodeMessage } from "../../src/wire/message.ts";
import { FROM_SOURCE } from "../cli/program.ts";
import { initOn } from "../support/life.ts";
import { RunningBroker } from "../support/rig.ts";
import { driveSoftkey, inFolder, runSoftkey } from "../support/softkey.ts";
import { DrivenTerminal } from "../support/terminal.ts";

const SETTINGS = {
  REMOTE_HSMD_PAIRING: "code",
  REMOTE_HSMD_MQTT_LISTEN: "127.0.0.1:0",
} as const;

/** A command of the broker, in a terminal in the node's folder. */
function driveBroker(folder: string, ...args: readonly string[]) {
  return new DrivenTerminal({
    command: "env",
    args: ["-C", folder, Deno.execPath(), ...FROM_SOURCE, ...args],
    env: SETTINGS,
  });
}

function startNode(folder: string): Promise<RunningBroker> {
  return RunningBroker.start({ folder, env: SETTINGS });
}

/** Reads `softkey pair '…'` from the screen, as its owner copies it. */
async function readString(terminal: DrivenTerminal): Promise<string> {
  const screen = await terminal.says("Waiting for the device");
  const text = /softkey pair '(RHS1[^']+)'/.exec(screen)?.[1] ?? "none";
  assert.equal(scan(screen), text);
  return text;
}

/** Reads the QR code from a screen, as a camera does. */
function scan(screen: string): string {
  const rows = screen.split("\n")
    .filter((line) => line.includes("\x1b[30;107m"))
    // deno-lint-ignore no-control-regex
    .map((line) => line.replace(/\x1b\[[\d;]*m|\r/g, ""))
    .flatMap((line) => [
      [...line].map((square) => "▀█".includes(square)),
      [...line].map((square) => "▄█".includes(square)),
    ]);
  const scale = 4;
  const size = (rows[0]?.length ?? 0) * scale;
  const height = rows.length * scale;
  const pixels = new Uint8ClampedArray(size * height * 4).fill(255);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < size; x++) {
      const row = rows[Math.floor(y / scale)] ?? [];
      if (!row[Math.floor(x / scale)]) continue;
      pixels.fill(0, 4 * (y * size + x), 4 * (y * size + x) + 3);
    }
  }
  return decodeQR({ width: size, height, data: pixels });
}

const fingerprintIn = (text: string): string =>
  /fingerprint +([0-9a-z]{4}-[0-9a-z]{4})/.exec(text)?.[1] ?? "none";

async function nodeIdOf({ standin }: RunningBroker): Promise<string> {
  await standin.master.write(initOn("regtest"));
  const reply = await standin.master.read();
  assert.ok(reply !== null);
  return decodeMessage(REPLIES.init_reply_v4, reply).nodeId.toHex();
}

/** A card with a seed, of a person who was asked nothing. */
async function makeCard(folder: string, name: string) {
  const card = ["--card", `${folder}/${name}`, "--key-file", `${folder}/key`];
  const { code, err } = await runSoftkey(
    ...["init", ...card, "--network", "regtest", "--yes"],
    ...["--words-file", `${folder}/${name}.words`],
  );
  assert.equal(code, 0, err);
  return card;
}

Deno.test("from `pair` at the node to a node that is served", (t) =>
  inFolder(async (folder) => {
    const node = `${folder}/regtest`;
    await Deno.mkdir(node);
    const card = await makeCard(folder, "card");
    await using broker = await startNode(node);
    await broker.address();
    const cid = await Deno.readTextFile(`${folder}/card/id`);
    let text = "";

    await t.step(
      "both screens show one fingerprint, and both say paired",
      async () => {
        await using here = driveBroker(node, "pair");
        text = await readString(here);
        assert.equal(parsePairingString(text).network, "regtest");
        await using there = driveSoftkey("pair", text, ...card);
        const shown = await there.says("Pair with this node? [yes/no]");
        const asked = await here.says("the same on the device's screen");
        assert.match(asked, new RegExp(`Device ${cid} asks to be paired`));
        assert.match(fingerprintIn(shown), /-/);
        assert.equal(fingerprintIn(asked), fingerprintIn(shown));
        await there.types("yes");
        await there.says("Done: paired with the node at mqtt://127.0.0.1:");
        assert.equal(await there.ends(), 0);
        await here.says(`Paired with device ${cid}`);
        assert.equal(await here.ends(), 0);
      },
    );

    await t.step("the device serves, and needs no address", async () => {
      await using device = driveSoftkey("run", ...card);
      const nodeId = await nodeIdOf(broker);
      await device.says("serving");
      await device.press("\x03");
      assert.equal(await device.ends(), 0);
      const { out } = await runSoftkey("card", "check", ...card);
      assert.ok(out.includes(nodeId), out);
    });

    await t.step("the string was good once", async () => {
      const other = await makeCard(folder, "other");
      const { code, err } = await runSoftkey("pair", text, ...other, "--yes");
      assert.equal(code, 7, err);
      const list = await runSoftkey("pair", "--list", ...other);
      assert.match(list.out, /paired with no node/);
    });

    await t.step("both sides list the pairing", async () => {
      await using here = driveBroker(node, "devices");
      await here.says(`native ${cid} (softkey`);
      assert.equal(await here.ends(), 0);
      const { out } = await runSoftkey("pair", "--list", ...card);
      assert.match(out, /broker +mqtt:\/\/127\.0\.0\.1:\d+\nnetwork +regtest/);
    });

    await t.step("an un-paired device is let go, and told", async () => {
      await using device = driveSoftkey("run", ...card);
      await device.says("connected to");
      await using here = driveBroker(node, "unpair", cid.slice(0, 8));
      await here.says(`Forgot native ${cid}`);
      assert.equal(await here.ends(), 0);
      await device.says("the node refuses this card: it was unpaired");
      assert.equal(await device.ends(), 2);
    });

    await t.step("the same card is paired again by a new string", async () => {
      await using here = driveBroker(node, "pair");
      const again = await readString(here);
      const { code, err } = await runSoftkey("pair", again, ...card, "--yes");
      assert.equal(code, 0, err);
      await here.says("Paired with device");
      assert.equal(await here.ends(), 0);
      await using device = driveSoftkey("run", ...card);
      await device.says("serving");
      await device.press("\x03");
      assert.equal(await device.ends(), 0);
    });

    await t.step("a card that forgets its node serves nobody", async () => {
      const { code, out } = await runSoftkey("unpair", ...card);
      assert.equal(code, 0, out);
      assert.equal((await runSoftkey("unpair", ...card)).code, 1);
      const served = await runSoftkey("run", ...card);
      assert.equal(served.code, 2);
      assert.match(served.err, /Missing --broker/);
    });

    await t.step("Ctrl-C takes the string back", async () => {
      await using here = driveBroker(node, "pair");
      const stopped = await readString(here);
      await here.press("\x03");
      await here.says("of no use any more");
      assert.equal(await here.ends(), 130);
      const { code } = await runSoftkey("pair", stopped, ...card, "--yes");
      assert.equal(code, 7);
    });
  }));

Deno.test("a card without a seed joins, makes one and serves, in one go", () =>
  inFolder(async (folder) => {
    const node = `${folder}/regtest`;
    await Deno.mkdir(node);
    // While the node does not run: a port that is known is all it takes.
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const listen = `127.0.0.1:${listener.addr.port}`;
    listener.close();
    const env = { ...SETTINGS, REMOTE_HSMD_MQTT_LISTEN: listen };
    await using here = new DrivenTerminal({
      command: "env",
      args: ["-C", node, Deno.execPath(), ...FROM_SOURCE, "pair"],
      env,
    });
    const text = await readString(here);
    await using broker = await RunningBroker.start({
      folder: node,
      listen,
      env,
    });
    const init = nodeIdOf(broker);
    await using device = driveSoftkey(
      ...["run", "--pair", text, "--card", `${folder}/card`, "--yes"],
      ...["--key-file", `${folder}/key`, "--words-file", `${folder}/words`],
    );
    await here.says("Paired with device");
    await device.says("serving");
    const nodeId = await init;
    await device.press("\x03");
    assert.equal(await device.ends(), 0);
    const check = await runSoftkey(
      ...["card", "check", "--card", `${folder}/card`],
      ...["--key-file", `${folder}/key`],
    );
    assert.ok(check.out.includes(nodeId), check.out);
  }));

Deno.test("a certificate that the node made itself is known by its string", () =>
  inFolder(async (folder) => {
    const node = `${folder}/regtest`;
    await Deno.mkdir(node);
    const card = await makeCard(folder, "card");
    const env = { ...SETTINGS, REMOTE_HSMD_TLS_CERT: "self-signed" };
    await using broker = await RunningBroker.start({ folder: node, env });
    await broker.logged(/devices on mqtts:/);
    await using here = new DrivenTerminal({
      command: "env",
      args: ["-C", node, Deno.execPath(), ...FROM_SOURCE, "pair"],
      env,
    });
    const text = await readString(here);
    const { url, certHash } = parsePairingString(text);
    assert.match(url, /^mqtts:/);
    assert.equal(certHash?.length, 32);
    const paired = await runSoftkey("pair", text, ...card, "--yes");
    assert.equal(paired.code, 0, paired.err);
    await here.says("Paired with device");
    assert.equal(await here.ends(), 0);
    const init = nodeIdOf(broker);
    await using device = driveSoftkey("run", ...card);
    await device.says("serving");
    await init;
    await device.press("\x03");
    assert.equal(await device.ends(), 0);
  }));
