/**
 * The commands about devices, and what they tell a device to dial.
 *
 * @module
 */

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { publicKey } from "../../src/crypto/secp.ts";
import { loadConfig } from "../../src/cli/config.ts";
import { dialOf } from "../../src/cli/dial.ts";
import { pairingNews } from "../../src/cli/pair.ts";
import { parsePairingString } from "../../src/mqtt/pairing_string.ts";
import { inFolder, run } from "./program.ts";

const KEY = publicKey(new Uint8Array(32).fill(3)).toHex();
const HASH = new Uint8Array(32).fill(4);

const configOf = (settings: Readonly<Record<string, string>>) =>
  loadConfig({
    readFile: () => null,
    environment: (name) => {
      const key = name.replace(/^REMOTE_HSMD_/, "").toLowerCase();
      return settings[key];
    },
  });

const listening = (certHash: Uint8Array | null = null) => ({
  mqtt: "127.0.0.1:4321",
  certHash,
});

Deno.test("a device dials the first that is set of four settings", () => {
  const rows = [
    [{}, null, "mqtt://127.0.0.1:1883", null, true],
    [{ mqtt_listen: "10.0.0.5:1883" }, null, "mqtt://10.0.0.5:1883", null],
    [{ mqtt_listen: "[::1]:1883" }, null, "mqtt://[::1]:1883", null, true],
    [{ mqtt_listen: "127.0.0.1:0" }, listening(), "mqtt://127.0.0.1:4321"],
    [
      { mqtt_listen: "0.0.0.0:1883", public_address: "node.example:99" },
      null,
      "mqtt://node.example:99",
      null,
    ],
    [
      { mqtt_url: "mqtts://mq.example:8883/me", mqtt_listen: "0.0.0.0:1" },
      null,
      "mqtts://mq.example:8883/me",
      null,
    ],
    [
      { mqtt_url: "mqtt://10.1.1.1:1/me", public_address: "a.example:2" },
      null,
      "mqtt://a.example:2/me",
      null,
    ],
    [
      { tls_cert: "self-signed" },
      listening(HASH),
      "mqtts://127.0.0.1:1883",
      HASH,
    ],
    [{ tls_cert: "a.pem" }, listening(), "mqtts://127.0.0.1:1883", null],
  ] as const;
  for (const [settings, known, url, certHash = null, isNearby] of rows) {
    const dial = dialOf(configOf(settings), known);
    assert.equal(dial.url, url);
    assert.deepEqual(dial.certHash, certHash);
    if (isNearby !== undefined) assert.equal(dial.isNearby, isNearby);
  }
});

Deno.test("where nothing says what to dial, the settings to set are named", () => {
  for (
    const [settings, wanted] of [
      [{ mqtt_listen: "0.0.0.0:1883" }, /want public_address as well/],
      [{ mqtt_listen: "[::]:1883" }, /want public_address as well/],
      [{ mqtt_listen: "127.0.0.1:0" }, /want a port, or the node started/],
      [{ tls_cert: "self-signed" }, /want the node started once/],
    ] as const
  ) assert.throws(() => dialOf(configOf(settings), null), wanted);
});

/** A folder that is called as lightningd calls it. */
const inNode = (use: (cwd: string) => Promise<void>) =>
  inFolder(async (folder) => {
    await Deno.mkdir(`${folder}/signet`);
    await use(`${folder}/signet`);
  });

Deno.test("pair --no-wait shows the string, and keeps no code", () =>
  inNode(async (cwd) => {
    const { code, stdout, stderr } = await run({
      args: ["pair", "--no-wait"],
      cwd,
    });
    assert.equal(code, 0, stderr);
    const [, text = ""] = /softkey pair '(RHS1\w+)'/.exec(stdout) ?? [];
    const invitation = parsePairingString(text);
    assert.equal(invitation.network, "signet");
    assert.equal(invitation.url, "mqtt://127.0.0.1:1883");
    assert.match(stdout, /Only a device on this machine reaches/);
    const linkKey = await Deno.readFile(`${cwd}/remote_hsmd/link_key`);
    assert.deepEqual(invitation.brokerKey, publicKey(linkKey));
    const codes = await Deno.readTextFile(`${cwd}/remote_hsmd/codes.json`);
    assert.ok(!codes.includes(invitation.code.reveal().toHex()));
  }));

Deno.test("what comes of a string is said once, however often one looks", () => {
  const linkKey = publicKey(new Uint8Array(32).fill(5));
  const by = { cid: "0123", cardKey: linkKey.toHex() };
  const open = { kind: "open" } as const;
  const asked = { kind: "asked", by } as const;
  const paired = { kind: "paired", by } as const;
  const news = [
    [open, open],
    [open, asked],
    [asked, asked],
    [asked, paired],
    [paired, paired],
    [open, paired],
  ].map(([before, state]) =>
    pairingNews(before?.kind ?? "open", state ?? open, linkKey)
      .match(/asks to be paired|Paired with device/g) ?? []
  );
  const [asks, done] = ["asks to be paired", "Paired with device"];
  assert.deepEqual(news, [[], [asks], [], [done], [], [asks, done]]);
});

Deno.test("the network is that of lightningd's database, whatever the folder", () =>
  inFolder(async (cwd) => {
    const nowhere = await run({ args: ["pair", "--no-wait"], cwd });
    assert.equal(nowhere.code, 2);
    assert.match(nowhere.stderr, /Cannot find a node here/);
    const db = new DatabaseSync(`${cwd}/lightningd.sqlite3`);
    db.exec("CREATE TABLE vars (name TEXT, blobval BLOB)");
    db.prepare("INSERT INTO vars VALUES ('genesis_hash', ?)")
      .run(NETWORKS.testnet4.genesisHash);
    db.close();
    const { code, stdout, stderr } = await run({
      args: ["pair", "--no-wait"],
      cwd,
    });
    assert.equal(code, 0, stderr);
    const [, text = ""] = /softkey pair '(RHS1\w+)'/.exec(stdout) ?? [];
    assert.equal(parsePairingString(text).network, "testnet4");
  }));

Deno.test("a Sphinx signer is paired, listed and forgotten by its node id", () =>
  inNode(async (cwd) => {
    const said = async (...args: readonly string[]) => {
      const { code, stdout, stderr } = await run({ args, cwd });
      return { code, text: stdout + stderr };
    };
    const none = await said("devices");
    assert.match(none.text, /No device is paired/);
    const paired = await said("pair", "--device", KEY);
    assert.equal(paired.code, 0, paired.text);
    assert.match(paired.text, /broker 127\.0\.0\.1:1883/);
    const listed = await said("devices");
    assert.match(listed.text, new RegExp(`^sphinx ${KEY}, paired \\d{4}-`));
    const unknown = await said("unpair", "elsewhere");
    assert.equal(unknown.code, 1);
    assert.ok(unknown.text.includes(KEY), unknown.text);
    const gone = await said("unpair", KEY.slice(0, 10));
    assert.equal(gone.code, 0);
    assert.match(gone.text, /Forgot sphinx/);
    assert.equal((await said("unpair", "all")).code, 1);
  }));

Deno.test("what cannot be paired is told in a sentence", () =>
  inNode(async (cwd) => {
    for (
      const [args, env, told] of [
        [["--device", "02aa"], {}, /want the signer's node id, 66 hex/],
        [["--device", "05" + KEY.slice(2)], {}, /want the signer's node id/],
        [[], { REMOTE_HSMD_PAIRING: "open" }, /pairing is open/],
        [["--network", "moon"], {}, /Unknown network "moon"/],
        [["--colour"], {}, /Cannot read the command line/],
        [["RHS1"], {}, /Cannot read the command line/],
      ] as const
    ) {
      const { code, stderr } = await run({ args: ["pair", ...args], cwd, env });
      assert.equal(code, 2, stderr);
      assert.match(stderr, told);
    }
    for (const args of [["unpair"], ["unpair", "a", "b"], ["devices", "x"]]) {
      assert.equal((await run({ args, cwd })).code, 2);
    }
  }));
