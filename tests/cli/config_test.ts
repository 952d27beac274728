/**
 * Settings: which source wins, and what is said about one that cannot be used.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  type Config,
  environmentName,
  loadConfig,
  SETTING_NAMES,
  SETTINGS,
  showAddress,
  showText,
} from "../../src/cli/config.ts";
import { accessOf } from "../../src/cli/meeting.ts";
import { ConfigError } from "../../src/errors.ts";
import { makeCertificate } from "../../src/mqtt/certificate.ts";

/** Loads from a file's text and an environment. */
function load(
  { here, above, env = {} }: {
    readonly here?: string;
    readonly above?: string;
    readonly env?: Readonly<Record<string, string>>;
  },
): Config {
  const files = new Map([
    ["remote_hsmd.toml", here],
    ["../remote_hsmd.toml", above],
  ]);
  return loadConfig({
    readFile: (path) => files.get(path) ?? null,
    environment: (name) => env[name],
  });
}

function failure(sources: Parameters<typeof load>[0]): ConfigError {
  try {
    load(sources);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error("The settings were taken");
}

Deno.test("Without a file and without environment every setting is its default", () => {
  const config = load({});
  for (const name of SETTING_NAMES) {
    assert.equal(config[name].source, "default");
    assert.equal(config[name].text, SETTINGS[name].fallback);
  }
  assert.deepEqual(config.mqtt_listen.value, {
    hostname: "127.0.0.1",
    port: 1883,
  });
  assert.equal(config.ws_listen.value, null);
  assert.equal(config.pairing.value, "code");
  assert.equal(config.cln_version.value, null);
});

Deno.test("Every setting is listed once", () => {
  assert.deepEqual(
    SETTING_NAMES.toSorted(),
    Object.keys(SETTINGS).toSorted(),
  );
});

Deno.test("The file wins over the default, the environment over the file", () => {
  const here = 'pairing = "open"\ntoken_window = 9\n';
  const env = { REMOTE_HSMD_TOKEN_WINDOW: "8" };
  const config = load({ here, env });
  assert.deepEqual(config.pairing, {
    value: "open",
    text: "open",
    source: "remote_hsmd.toml",
  });
  assert.deepEqual(config.token_window, {
    value: 8,
    text: "8",
    source: "REMOTE_HSMD_TOKEN_WINDOW",
  });
  assert.equal(config.log_level.source, "default");
});

Deno.test("The file in the directory wins over the one above it, as a whole", () => {
  const above = 'pairing = "open"\n';
  assert.equal(load({ above }).pairing.source, "../remote_hsmd.toml");
  const config = load({ above, here: 'log_level = "info"' });
  assert.equal(config.log_level.source, "remote_hsmd.toml");
  assert.equal(config.pairing.source, "default");
});

Deno.test("A value that cannot be used is named with its key, its source and what was wanted", () => {
  const bad: Readonly<Record<string, string>> = {
    mqtt_listen: "here",
    ws_listen: "on",
    tls_cert: "",
    tls_key: "",
    public_address: "here",
    mqtt_url: "http://here",
    mqtt_user: "",
    mqtt_ca: "",
    mqtt_cert: "",
    mqtt_key: "",
    handshake_rate: "0",
    lss_url: "127.0.0.1:55551",
    http_listen: "8080",
    pairing: "closed",
    token_window: "-1",
    cln_version: "latest",
    log_level: "loud",
    bitcoind_url: "127.0.0.1:8332",
    bitcoind_cookie: "",
    bitcoind_user: "me:secret",
  };
  for (const name of SETTING_NAMES) {
    const value = bad[name];
    // Any text is a password, and a token is not shown.
    const unshown = ["bitcoind_password", "mqtt_password", "http_token"];
    if (unshown.includes(name)) continue;
    assert.ok(value !== undefined, name);
    for (
      const [sources, source] of [
        [{ env: { [environmentName(name)]: value } }, environmentName(name)],
        [{ here: `${name} = "${value}"` }, "remote_hsmd.toml"],
      ] as const
    ) {
      const { key, message } = failure(sources);
      assert.equal(key, name);
      assert.ok(message.includes(source), message);
      assert.ok(message.includes(JSON.stringify(value)), message);
      assert.ok(message.includes(SETTINGS[name].wanted), message);
    }
  }
});

Deno.test("A token that is too short is refused and not shown", () => {
  const env = { REMOTE_HSMD_HTTP_TOKEN: "short" };
  const { key, message } = failure({ env });
  assert.equal(key, "http_token");
  assert.ok(!message.includes("short"), message);
});

Deno.test("An MQTT server is an address without a password in it", () => {
  const value = (text: string) =>
    load({ env: { REMOTE_HSMD_MQTT_URL: text } }).mqtt_url.value;
  for (const text of ["mqtt://host:1883", "mqtts://host:8883/a/prefix"]) {
    assert.equal(value(text), text);
  }
  for (const text of ["mqtt://me:secret@host:1", "ws://host:1", "mqtt://"]) {
    assert.throws(() => value(text), ConfigError);
  }
});

Deno.test("bitcoind is a web address without a password in it", () => {
  const load1 = (text: string) =>
    load({ env: { REMOTE_HSMD_BITCOIND_URL: text } }).bitcoind_url.value;
  assert.equal(load1("off"), null);
  assert.equal(load1("http://127.0.0.1:8332"), "http://127.0.0.1:8332");
  for (const text of ["http://a:b@127.0.0.1:1", "ftp://x", "", "on"]) {
    const { key } = failure({ env: { REMOTE_HSMD_BITCOIND_URL: text } });
    assert.equal(key, "bitcoind_url", text);
  }
});

Deno.test("A password is a value and never shown", () => {
  const env = { REMOTE_HSMD_BITCOIND_PASSWORD: "hunter2" };
  assert.equal(load({ env }).bitcoind_password.value, "hunter2");
  assert.equal(showText(SETTINGS.bitcoind_password, "hunter2"), "(not shown)");
  assert.equal(showText(SETTINGS.bitcoind_password, ""), '""');
  assert.equal(showText(SETTINGS.pairing, "open"), '"open"');
});

Deno.test("A file that is no TOML is named with the line where it ends to be", () => {
  const { message } = failure({ here: 'pairing = "open"\n\nlog_level =\n' });
  assert.match(message, /remote_hsmd\.toml/);
  assert.match(message, /line 3/);
  assert.ok(!message.includes("\n"));
});

Deno.test("An unknown key is named, with the known ones", () => {
  const { key, message } = failure({ here: "mqtt_port = 1883" });
  assert.equal(key, "mqtt_port");
  for (const name of SETTING_NAMES) assert.ok(message.includes(name));
});

Deno.test("Addresses are host and port, IPv6 in brackets", () => {
  const good = [
    ["127.0.0.1:0", "127.0.0.1", 0],
    ["0.0.0.0:65535", "0.0.0.0", 65_535],
    ["localhost:1883", "localhost", 1883],
    ["[::1]:1883", "::1", 1883],
    ["[fe80::1]:80", "fe80::1", 80],
  ] as const;
  for (const [text, hostname, port] of good) {
    const { value } = load({ env: { REMOTE_HSMD_MQTT_LISTEN: text } })
      .mqtt_listen;
    assert.deepEqual(value, { hostname, port });
    assert.equal(showAddress(value), text);
  }
  for (
    const text of [
      "",
      "1883",
      ":1883",
      "127.0.0.1",
      "127.0.0.1:",
      "127.0.0.1:65536",
      "::1:1883",
      "[::1]",
      "[]:1",
      "a b:1",
      "mqtt://127.0.0.1:1883",
    ]
  ) {
    const { key } = failure({ env: { REMOTE_HSMD_MQTT_LISTEN: text } });
    assert.equal(key, "mqtt_listen", text);
  }
});

Deno.test("A certificate for a server without TLS is an error, not left unused", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const { cert, key } = await makeCertificate(["localhost"], Date.now());
    await Deno.writeTextFile(`${folder}/cert`, cert);
    await Deno.writeTextFile(`${folder}/key`, key);
    for (const name of ["mqtt_ca", "mqtt_cert", "mqtt_key"] as const) {
      const file = `${folder}/${name === "mqtt_key" ? "key" : "cert"}`;
      const env = { [environmentName(name)]: file };
      await assert.rejects(
        accessOf(load({ env }), "mqtt://mqtt.example.org"),
        (error) => error instanceof ConfigError && error.key === name,
      );
    }
    const env = {
      [environmentName("mqtt_cert")]: `${folder}/cert`,
      [environmentName("mqtt_key")]: `${folder}/key`,
    };
    const access = await accessOf(load({ env }), "mqtts://mqtt.example.org");
    assert.equal(access.cert, cert);
    assert.deepEqual(await accessOf(load({}), "mqtt://mqtt.example.org"), {});
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
