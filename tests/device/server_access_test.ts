/**
 * What softkey's options about the MQTT server come to.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  serverAccess,
  type ServerOptions,
} from "../../src/device/server_access.ts";
import { UsageError } from "../../src/errors.ts";
import { makeCertificate } from "../../src/mqtt/certificate.ts";
import { fromFileUrl } from "../support/paths.ts";

const HASH = new Uint8Array(32).fill(7);
const URL_TLS = "mqtts://mqtt.example.org";
const PINNED = { url: URL_TLS, certHash: HASH };
const PASSWORD = "zuvTqy-98";

/** Files by name, and rows of options that name them. */
async function withFiles(
  fn: (path: (name: string) => string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  const path = (name: string) => `${folder}/${name}`;
  const write = (name: string, text: string) =>
    Deno.writeTextFile(path(name), text);
  try {
    const one = await makeCertificate(["localhost"], Date.now());
    const other = await makeCertificate(["localhost"], Date.now());
    await write("cert", one.cert);
    await write("key", one.key);
    await write("other-key", other.key);
    await write("password", `${PASSWORD}\n`);
    await write("rubbish", PASSWORD);
    await fn(path);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("Without options, the certificate of the pairing is all", async () => {
  assert.deepEqual(
    await serverAccess({}, { url: URL_TLS, certHash: null }),
    {},
  );
  assert.deepEqual(await serverAccess({}, PINNED), { certHash: HASH });
});

Deno.test("Files that options name are read", () =>
  withFiles(async (path) => {
    const access = await serverAccess({
      "mqtt-user": "device",
      "mqtt-password-file": path("password"),
      "mqtt-ca": path("cert"),
      "mqtt-cert": path("cert"),
      "mqtt-key": path("key"),
    }, PINNED);
    const text = (bytes: Uint8Array | undefined) =>
      new TextDecoder().decode(bytes);
    assert.equal(access.user, "device");
    assert.equal(text(access.password?.reveal()), PASSWORD);
    assert.equal(access.ca, await Deno.readTextFile(path("cert")));
    assert.equal(access.cert, access.ca);
    assert.equal(
      text(access.key?.reveal()),
      await Deno.readTextFile(path("key")),
    );
    assert.equal(access.certHash, undefined, "an authority is asked instead");
    assert.doesNotMatch(Deno.inspect(access), new RegExp(PASSWORD));
  }));

Deno.test("A password comes by an open descriptor, too", () =>
  withFiles(async (path) => {
    const script = "import { serverAccess } from " +
      JSON.stringify(
        new URL("../../src/device/server_access.ts", import.meta.url).href,
      ) +
      `;const access = await serverAccess({ "mqtt-user": "device", ` +
      `"mqtt-password-fd": "3" }, { url: null, certHash: null });` +
      `console.log(new TextDecoder().decode(access.password.reveal()));`;
    const { stdout, stderr } = await new Deno.Command("sh", {
      args: [
        "-c",
        'exec "$0" eval --config "$1" "$2" 3< "$3"',
        Deno.execPath(),
        fromFileUrl(new URL("../../deno.json", import.meta.url)),
        script,
        path("password"),
      ],
    }).output();
    const said = new TextDecoder().decode(stdout);
    assert.equal(said, `${PASSWORD}\n`, new TextDecoder().decode(stderr));
  }));

Deno.test("Options that do not work name themselves, and no secret", () =>
  withFiles(async (path) => {
    const user = { "mqtt-user": "device" };
    const rows: readonly (readonly [ServerOptions, RegExp])[] = [
      [{ "mqtt-password-file": path("password") }, /^Missing --mqtt-user/],
      [
        {
          ...user,
          "mqtt-password-file": path("password"),
          "mqtt-password-fd": "3",
        },
        /^Cannot use --mqtt-password-file: found --mqtt-password-fd too/,
      ],
      [
        { ...user, "mqtt-password-fd": "three" },
        /^Cannot use --mqtt-password-fd "three": want the number/,
      ],
      [
        { ...user, "mqtt-password-file": path("none") },
        /^Cannot use --mqtt-password-file \S+: no such file$/,
      ],
      [{ "mqtt-ca": path("none") }, /^Cannot use --mqtt-ca \S+: no such file$/],
      [{ "mqtt-ca": path("rubbish") }, /--mqtt-ca: no PEM certificate/],
      [
        { "mqtt-cert": path("cert") },
        /^Cannot use --mqtt-key: none for the certificate/,
      ],
      [
        { "mqtt-key": path("key") },
        /^Cannot use --mqtt-cert: none for the key/,
      ],
      [
        { "mqtt-cert": path("rubbish"), "mqtt-key": path("key") },
        /--mqtt-cert: no PEM certificate/,
      ],
      [
        { "mqtt-cert": path("cert"), "mqtt-key": path("rubbish") },
        /--mqtt-key: no PEM private key/,
      ],
      [
        { "mqtt-cert": path("cert"), "mqtt-key": path("other-key") },
        /--mqtt-key: the key of another certificate/,
      ],
    ];
    for (const [options, pattern] of rows) {
      await assert.rejects(serverAccess(options, PINNED), (error) => {
        assert.ok(error instanceof UsageError);
        assert.match(error.message, pattern);
        assert.doesNotMatch(error.message, new RegExp(PASSWORD));
        return true;
      });
    }
  }));

Deno.test("What is for TLS is refused where the address has none", () =>
  withFiles(async (path) => {
    const pair = { "mqtt-cert": path("cert"), "mqtt-key": path("key") };
    const rows:
      readonly (readonly [ServerOptions, typeof HASH | null, RegExp])[] = [
        [pair, null, /^Cannot use --mqtt-cert: found an address without TLS/],
        [{ "mqtt-key": path("key") }, null, /^Cannot use --mqtt-key: found an/],
        [{ "mqtt-ca": path("cert") }, null, /^Cannot use --mqtt-ca: found an/],
        [{}, HASH, /^Cannot use the certificate that the pairing names: found/],
      ];
    for (const url of ["mqtt://mqtt.example.org", "ws://mqtt.example.org"]) {
      for (const [options, certHash, pattern] of rows) {
        await assert.rejects(
          serverAccess(options, { url, certHash }),
          (error) => error instanceof UsageError && pattern.test(error.message),
        );
      }
      assert.deepEqual(await serverAccess({}, { url, certHash: null }), {});
    }
    const wss = { url: "wss://mqtt.example.org", certHash: null };
    assert.ok((await serverAccess(pair, wss)).cert);
  }));
