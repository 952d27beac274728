/**
 * TLS on our own listeners: who is let in, who is believed, and what a client
 * says before it believes.
 *
 * @module
 */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import tls from "node:tls";
import { publicKey } from "../../src/crypto/secp.ts";
import { sha256 } from "../../src/crypto/hash.ts";
import { connectMqtt, type ServerAccess } from "../../src/mqtt/access.ts";
import { makeToken } from "../../src/mqtt/auth.ts";
import { makeCertificate } from "../../src/mqtt/certificate.ts";
import {
  ownCertificate,
  readCertificate,
  type ServerCertificate,
} from "../../src/mqtt/tls.ts";
import { countNoDelay, NotedServer, publish, RawClient } from "./raw.ts";
import { OpensslServer } from "./openssl_server.ts";
import { hasProgram, run } from "./programs.ts";

const HOSTS = ["127.0.0.1", "localhost"];
const SEED = new Uint8Array(32).fill(1);

/** A fresh folder, gone at the end. */
async function withFolder(
  fn: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await fn(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function inFolder(folder: string): Promise<ServerCertificate> {
  const write = (path: string, content: Uint8Array) =>
    Deno.writeFile(path, content, { mode: 0o600 });
  return ownCertificate({ folder, hosts: HOSTS, write, now: Date.now() });
}

async function ours(): Promise<ServerCertificate> {
  let made: ServerCertificate | undefined;
  await withFolder(async (folder) => {
    made = await inFolder(folder);
  });
  assert.ok(made);
  return made;
}

/** How a login over this URL ends: "connected", or what the client says. */
async function outcome(url: string, access: ServerAccess): Promise<string> {
  const client = connectMqtt(url, access, {
    clientId: "aa",
    username: publicKey(SEED).toHex(),
    password: makeToken(SEED, 1000),
    protocolVersion: 4,
    reconnectPeriod: 0,
  });
  const { promise, resolve } = Promise.withResolvers<string>();
  let error = "closed";
  client.on("connect", () => resolve("connected"));
  client.on("error", ({ message }) => error = message);
  client.on("close", () => resolve(error));
  const said = await promise;
  await client.endAsync(true);
  return said;
}

for (const isWebSocket of [false, true]) {
  const scheme = isWebSocket ? "wss" : "mqtts";

  Deno.test(`A pinned certificate is the only one taken over ${scheme}`, async () => {
    const certificate = await ours();
    const other = await ours();
    await using server = await NotedServer.start({ isWebSocket, certificate });
    const url = `${scheme}://127.0.0.1:${server.port}`;
    const wrong = await outcome(url, { certHash: other.hash });
    assert.match(
      wrong,
      /^Cannot trust the server: its certificate is [0-9a-f]{16}…, want [0-9a-f]{16}…$/,
    );
    assert.deepEqual(
      server.happenings.filter(({ kind }) => kind === "login"),
      [],
      "no login leaves before the look at the certificate",
    );
    for (let i = 0; i < 3; i++) {
      const { hash } = certificate;
      assert.equal(await outcome(url, { certHash: hash }), "connected");
    }
    const { isLoopback } = await server.happened("login");
    assert.equal(isLoopback, true);
  });

  Deno.test(`A certificate that nobody vouches for is refused over ${scheme}`, async () => {
    const certificate = await ours();
    await using server = await NotedServer.start({ isWebSocket, certificate });
    const url = `${scheme}://127.0.0.1:${server.port}`;
    assert.match(await outcome(url, {}), /signed by nobody that we know/);
    const { cert } = await ours();
    assert.match(await outcome(url, { ca: cert }), /^Cannot trust the server/);
    const ca = certificate.cert;
    assert.equal(await outcome(url, { ca }), "connected");
  });

  Deno.test(`A certificate for another host is refused over ${scheme}`, async () => {
    const made = await makeCertificate(["example.org"], Date.now());
    const folder = await Deno.makeTempDir();
    const files = { certFile: `${folder}/c`, keyFile: `${folder}/k` };
    await Deno.writeTextFile(files.certFile, made.cert);
    await Deno.writeTextFile(files.keyFile, made.key);
    const certificate = await readCertificate(files);
    await Deno.remove(folder, { recursive: true });
    await using server = await NotedServer.start({ isWebSocket, certificate });
    const url = `${scheme}://127.0.0.1:${server.port}`;
    const ca = made.cert;
    assert.match(await outcome(url, { ca }), /is for another host/);
    const certHash = certificate.hash;
    assert.equal(await outcome(url, { certHash }), "connected");
  });

  Deno.test(`Our listener speaks TLS 1.3 and nothing older over ${scheme}`, async () => {
    const certificate = await ours();
    await using server = await NotedServer.start({ isWebSocket, certificate });
    const handshake = (maxVersion: tls.SecureVersion) =>
      new Promise<string>((resolve) => {
        const { port } = server;
        const ca = certificate.cert;
        const socket = tls.connect({ port, host: "127.0.0.1", ca, maxVersion });
        socket.once("secureConnect", () => {
          resolve(String(socket.getProtocol()));
          socket.destroy();
        });
        socket.once("error", () => resolve("refused"));
      });
    assert.equal(await handshake("TLSv1.2"), "refused");
    assert.equal(await handshake("TLSv1.3"), "TLSv1.3");
  });
}

Deno.test("A plain client on a TLS listener is closed, and harms nobody", async () => {
  const certificate = await ours();
  await using server = await NotedServer.start({ certificate });
  using raw = await RawClient.open(server.port);
  await raw.send(publish("aa/hello", "no TLS"));
  for (;;) if (await raw.read() === null) break;
  const url = `mqtts://127.0.0.1:${server.port}`;
  const certHash = certificate.hash;
  assert.equal(await outcome(url, { certHash }), "connected");
});

Deno.test("A TLS client of a plain listener says so", async () => {
  await using server = await NotedServer.start();
  const url = `mqtts://127.0.0.1:${server.port}`;
  assert.notEqual(await outcome(url, { certHash: sha256() }), "connected");
});

Deno.test("A device that is still to prove itself sends little until it is trusted", async () => {
  await using server = await NotedServer.start({ isPending: true });
  const long = "x".repeat(5_000);
  {
    const { client } = await server.device("aa");
    using _ = client;
    await client.send(publish("aa/vls-res", long));
    assert.equal(await client.read(), null);
  }
  const { client, session } = await server.device("bb", 2);
  using _ = client;
  server.server.trust(session);
  await client.send(publish("bb/vls-res", long));
  await server.happened("message", ({ payload }) => payload === long);
});

for (const isWebSocket of [false, true]) {
  const scheme = isWebSocket ? "wss" : "mqtts";
  for (const end of ["localPort", "remotePort"] as const) {
    const who = end === "localPort" ? "server" : "client";
    Deno.test(`The ${who} of ${scheme} does not wait for more bytes`, async () => {
      const certificate = await ours();
      await using server = await NotedServer.start({
        isWebSocket,
        certificate,
      });
      const { port } = server;
      const url = `${scheme}://127.0.0.1:${port}`;
      const count = await countNoDelay(port, async () => {
        for (let i = 0; i < 3; i++) {
          await outcome(url, { certHash: certificate.hash });
        }
      }, end);
      assert.equal(count, 3);
    });
  }
}

/** DER of the first block of a PEM text. */
function derOf(pem: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromBase64(pem.replace(/-----[^-]+-----|\s/g, ""));
}

/** A key that names the point of one key and holds the number of another. */
function forgedKey(shown: string, held: string): string {
  const forged = derOf(shown);
  // ECPrivateKey (RFC 5915): version 1, then an octet string of 32 bytes.
  const at = forged.toHex().indexOf("0201010420") / 2 + 5;
  const other = derOf(held);
  forged.set(other.subarray(at, at + 32), at);
  return `-----BEGIN PRIVATE KEY-----\n${forged.toBase64()}\n` +
    "-----END PRIVATE KEY-----\n";
}

for (const version of ["-tls1_2", "-tls1_3"]) {
  Deno.test({
    name:
      `A pinned certificate without its key is of no use (openssl ${version})`,
    ignore: !await hasProgram("openssl"),
    fn: () =>
      withFolder(async (folder) => {
        const shown = await makeCertificate(HOSTS, Date.now());
        const held = await makeCertificate(HOSTS, Date.now());
        const certHash = sha256(derOf(shown.cert));
        await Deno.writeTextFile(`${folder}/cert.pem`, shown.cert);
        const serve = async (key: string) => {
          await Deno.writeTextFile(`${folder}/key.pem`, key);
          await using server = await OpensslServer.start(folder, version);
          const url = `mqtts://127.0.0.1:${server.port}`;
          const ending = outcome(url, { certHash });
          const isHeard = await server.hearsMqtt;
          await server.end();
          return { isHeard, said: await ending };
        };
        const honest = await serve(shown.key);
        assert.ok(honest.isHeard, "a CONNECT came to the true server");
        const forged = await serve(forgedKey(shown.key, held.key));
        assert.match(forged.said, /^Cannot/);
        assert.ok(!forged.isHeard);
      }),
  });
}

Deno.test("The broker's own certificate is made once, for its owner alone", async () => {
  await withFolder(async (folder) => {
    const made = await inFolder(folder);
    const again = await inFolder(folder);
    assert.deepEqual(again.hash, made.hash);
    assert.equal(again.isSelfSigned, true);
    for (const name of ["tls_cert.pem", "tls_key.pem"]) {
      const { mode } = await Deno.stat(`${folder}/${name}`);
      assert.equal((mode ?? 0) & 0o777, 0o600, name);
    }
    // A power cut between the two files: nobody has seen the first one's hash.
    await Deno.remove(`${folder}/tls_cert.pem`);
    assert.notDeepEqual((await inFolder(folder)).hash, made.hash);
  });
});

Deno.test("A certificate that cannot be used is named, with its file", async () => {
  await withFolder(async (folder) => {
    const made = await makeCertificate(HOSTS, Date.now());
    const other = await makeCertificate(HOSTS, Date.now());
    const file = async (name: string, text: string) => {
      await Deno.writeTextFile(`${folder}/${name}`, text);
      return `${folder}/${name}`;
    };
    const certFile = await file("c", made.cert);
    const keyFile = await file("k", made.key);
    const otherKey = await file("o", other.key);
    const rubbish = await file("r", "rubbish");
    const rejects = (certFile: string, keyFile: string, pattern: RegExp) =>
      assert.rejects(readCertificate({ certFile, keyFile }), pattern);
    await readCertificate({ certFile, keyFile });
    await rejects(`${folder}/none`, keyFile, /tls_cert .*no such file/);
    await rejects(rubbish, keyFile, /tls_cert .*no PEM certificate/);
    await rejects(certFile, rubbish, /tls_key .*no PEM private key/);
    await rejects(certFile, otherKey, /tls_key .*the key of another/);
  });
});

Deno.test("The certificate is what other programs read in it", async () => {
  const hosts = ["127.0.0.1", "broker.example", "::1", "2001:db8::5:0:1"];
  for (let i = 0; i < 50; i++) {
    const { cert } = await makeCertificate(hosts, Date.now());
    const read = new X509Certificate(cert);
    assert.equal(read.subject, "CN=remote-hsmd");
    assert.equal(read.ca, false);
    assert.ok(read.verify(read.publicKey), "signed by itself");
    for (const ip of ["127.0.0.1", "::1", "2001:db8::5:0:1"]) {
      assert.equal(read.checkIP(ip), ip);
    }
    assert.equal(read.checkHost("broker.example"), "broker.example");
    assert.equal(read.checkHost("other.example"), undefined);
  }
});

Deno.test({
  name: "openssl reads the certificate, and verifies it",
  ignore: !await hasProgram("openssl"),
  fn: () =>
    withFolder(async (folder) => {
      const { cert } = await makeCertificate(["127.0.0.1", "::1"], Date.now());
      const path = `${folder}/cert.pem`;
      await Deno.writeTextFile(path, cert);
      const text = await run("openssl", [
        "x509",
        "-in",
        path,
        "-noout",
        "-subject",
        "-enddate",
        "-ext",
        "subjectAltName,basicConstraints",
      ]);
      assert.match(text, /subject=CN = remote-hsmd/);
      assert.match(text, /notAfter=Dec 31 23:59:59 9999 GMT/);
      assert.match(text, /IP Address:127\.0\.0\.1, IP Address:0:0:0:0:0:0:0:1/);
      assert.match(text, /CA:FALSE/);
      const verified = await run("openssl", [
        "verify",
        "-check_ss_sig",
        "-CAfile",
        path,
        path,
      ]);
      assert.match(verified, /: OK/);
    }),
});
