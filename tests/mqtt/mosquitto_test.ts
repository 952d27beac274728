/**
 * Broker and devices on mosquitto: plain, under TLS, with client certificates,
 * with passwords; and all the ways in which it does not work.
 *
 * Skipped where mosquitto or openssl is not installed; `.ci/run` installs both.
 *
 * @module
 */

import assert from "node:assert/strict";
import { sha256 } from "../../src/crypto/hash.ts";
import { Secret } from "../../src/crypto/secret.ts";
import type { ServerAccess } from "../../src/mqtt/access.ts";
import { certificateIn } from "../../src/mqtt/pem.ts";
import { Guest, NotedExternal } from "./external_parts.ts";
import {
  Authorities,
  MOSQUITTO,
  Mosquitto,
  type MosquittoOptions,
} from "./mosquitto.ts";

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: `${name} (mosquitto)`, ignore: MOSQUITTO === null, fn });
}

const word = (text: string) => new Secret(new TextEncoder().encode(text));
const USERS = { node: "over and out", device: "roger" };

/** A kind of server, and who it takes. */
interface Row {
  readonly what: string;
  readonly options: (from: Authorities) => MosquittoOptions;
  readonly access: (from: Authorities) => ServerAccess;
}

const tls = (from: Authorities) => ({ tls: { from, name: "server" } });
const pin = (from: Authorities, name: string) => ({
  certHash: sha256(certificateIn(from.cert(name))?.raw ?? new Uint8Array(0)),
});
const shown = (from: Authorities, name: string) => ({
  cert: from.cert(name),
  key: new Secret(from.key(name)),
});

const ROWS: readonly Row[] = [
  { what: "a plain server", options: () => ({}), access: () => ({}) },
  {
    what: "TLS with an authority",
    options: tls,
    access: (from) => ({ ca: from.cert("ca") }),
  },
  {
    what: "TLS with a pinned certificate",
    options: tls,
    access: (from) => pin(from, "server"),
  },
  {
    what: "TLS with client certificates",
    options: (from) => ({ ...tls(from), wantsCertificate: true }),
    access: (from) => ({ ca: from.cert("ca"), ...shown(from, "client") }),
  },
  {
    what: "user and password",
    options: () => ({ users: USERS }),
    access: () => ({ user: "node", password: word(USERS.node) }),
  },
];

function urlOf({ port }: Mosquitto, { tls }: MosquittoOptions): string {
  return `${tls === undefined ? "mqtt" : "mqtts"}://127.0.0.1:${port}/our/node`;
}

for (const { what, options, access } of ROWS) {
  test(`Broker and device meet over ${what}`, async () => {
    await using from = await Authorities.make();
    await using mosquitto = await Mosquitto.start(options(from));
    const url = urlOf(mosquitto, options(from));
    await using broker = new NotedExternal(url, { access: access(from) });
    assert.deepEqual(await broker.next(), { kind: "connected" });
    await using device = await Guest.connect(url, "dev", access(from));
    await device.subscribe("our/node/dev/vls", "our/node/dev/sealed");
    device.publish("our/node/dev/hello", "hi");
    const { session, name } = await broker.nextOf("message");
    assert.equal(name, "hello");
    assert.equal(session.cid, "dev");
    assert.equal(session.key, null);
    assert.equal(session.isSealed, false);
    assert.ok(broker.server.send(session, "vls", Uint8Array.of(1, 2, 3)));
    const { topic, payload } = await device.next();
    assert.equal(topic, "our/node/dev/vls");
    assert.deepEqual([...payload], [1, 2, 3]);
    device.publish("our/node/dev/vls-res", "answer");
    assert.equal((await broker.nextOf("message")).payload, "answer");
  });
}

/** A way in which it does not work, and what the owner reads. */
interface Refusal extends Row {
  readonly reads: RegExp;
}

const mutual = (from: Authorities) => ({
  ...tls(from),
  wantsCertificate: true,
});

const REFUSALS: readonly Refusal[] = [
  {
    what: "an authority that did not sign the server's certificate",
    options: tls,
    access: (from) => ({ ca: from.cert("stranger") }),
    reads: /^Cannot trust the server: .* signed by nobody that we know/,
  },
  {
    what: "no authority at all",
    options: tls,
    access: () => ({}),
    reads: /^Cannot trust the server: .* signed by nobody that we know/,
  },
  {
    what: "a certificate for another host",
    options: (from) => ({ tls: { from, name: "elsewhere" } }),
    access: (from) => ({ ca: from.cert("ca") }),
    reads: /^Cannot trust the server: its certificate is for another host$/,
  },
  {
    what: "another certificate than the pinned one",
    options: tls,
    access: (from) => pin(from, "elsewhere"),
    reads: /^Cannot trust the server: its certificate is .{16}…, want .{16}…$/,
  },
  {
    what: "no client certificate",
    options: mutual,
    access: (from) => ({ ca: from.cert("ca") }),
    reads: /^Cannot log in to the server: it wants a client certificate$/,
  },
  {
    what: "a client certificate that another authority signed",
    options: mutual,
    access: (from) => ({ ca: from.cert("ca"), ...shown(from, "outsider") }),
    reads: /^Cannot log in to the server: it does not take our client cert/,
  },
  {
    what: "a wrong password",
    options: () => ({ users: USERS }),
    access: () => ({ user: "node", password: word("roger") }),
    reads: /^it refuses our login: user, password or client id$/,
  },
  {
    what: "no user",
    options: () => ({ users: USERS }),
    access: () => ({}),
    reads: /^it refuses our login: user, password or client id$/,
  },
];

for (const { what, options, access, reads } of REFUSALS) {
  test(`A server is not used with ${what}`, async () => {
    await using from = await Authorities.make();
    await using mosquitto = await Mosquitto.start(options(from));
    const url = urlOf(mosquitto, options(from));
    await using broker = new NotedExternal(url, { access: access(from) });
    const heard = await broker.next();
    assert.equal(heard.kind, "disconnected");
    assert.match(heard.kind === "disconnected" ? heard.reason : "", reads);
  });
}

test("TLS at a plain port, and the other way round, come to nothing", async () => {
  await using from = await Authorities.make();
  await using plain = await Mosquitto.start();
  await using sealed = await Mosquitto.start(tls(from));
  for (
    const url of [
      `mqtts://127.0.0.1:${plain.port}`,
      `mqtt://127.0.0.1:${sealed.port}`,
    ]
  ) {
    const access = { ca: from.cert("ca") };
    await using broker = new NotedExternal(url, { access });
    assert.equal((await broker.next()).kind, "disconnected");
  }
});

test("A server that was killed is found again, and nothing is repeated", async () => {
  await using from = await Authorities.make();
  const options = mutual(from);
  const access = { ca: from.cert("ca"), ...shown(from, "client") };
  await using mosquitto = await Mosquitto.start(options);
  const url = urlOf(mosquitto, options);
  await using broker = new NotedExternal(url, { access });
  broker.server.greet(["dev", "absent"]);
  await broker.nextOf("connected");
  for (let round = 0; round < 3; round++) {
    const device = await Guest.connect(url, "dev", access);
    await device.subscribe("our/node/dev/vls", "our/node/dev/sealed");
    device.publish("our/node/dev/hello", `hello ${round}`);
    const { session, payload } = await broker.nextOf("message");
    assert.equal(payload, `hello ${round}`);
    const ending = mosquitto.kill();
    assert.equal((await broker.nextOf("gone")).session, session);
    assert.ok(!broker.server.send(session, "vls", Uint8Array.of(round)));
    await broker.nextOf("disconnected");
    await ending;
    await device[Symbol.asyncDispose]();
    await mosquitto.restart();
    await broker.nextOf("connected");
  }
  const messages = broker.heard.filter(({ kind }) => kind === "message");
  assert.equal(messages.length, 3);
  await using device = await Guest.connect(url, "dev", access);
  await device.subscribe("our/node/dev/vls", "our/node/dev/sealed");
  broker.server.greet(["dev"]);
  const { topic, payload } = await device.next();
  assert.equal(topic, "our/node/dev/sealed");
  assert.deepEqual([...payload], [5], "shake hands anew");
});
