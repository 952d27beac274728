/**
 * The broker over HTTP: every route, and who may ask it.
 *
 * @module
 */

import assert from "node:assert/strict";
import http from "node:http";
import net from "node:net";
import fc from "npm:fast-check@4.10.2";
import { type HttpServers, startHttp } from "../../../src/cli/http.ts";
import { ROUTES } from "../../../src/cli/http/routes.ts";
import { Streams } from "../../../src/cli/http/streams.ts";
import { ConfigError } from "../../../src/errors.ts";
import { METRICS } from "../../../src/metrics/rows.ts";
import { readExposition } from "../../metrics/exposition.ts";
import { ABANDONED, FakeFace, QUIET, SIGNING } from "./fake_face.ts";
import { eventsOf, open, sendRaw, visit, withSite } from "./visit.ts";

const TOKEN = "a token of twenty eight bytes";
const ENVELOPE = "ab".repeat(80);

// ----------------------------------------------------------------- routes

Deno.test("the page shows the banner, and allows no script but its own", () =>
  withSite(async ({ port }) => {
    const { status, headers, body } = await visit(port, { path: "/" });
    assert.equal(status, 200);
    assert.equal(headers["content-type"], "text/html; charset=utf-8");
    const policy = `${headers["content-security-policy"]}`;
    assert.match(policy, /^default-src 'none';/);
    assert.ok(!/unsafe|\*/.test(policy), policy);
    assert.match(body, /^<!doctype html>/);
    assert.match(body, /softkey-1 signs since /);
  }));

Deno.test("/health is 200 after a signature and 503 with the reason else", () =>
  withSite(async ({ port, face }) => {
    const good = await visit(port, { path: "/health" });
    assert.equal(good.status, 200);
    assert.equal(JSON.parse(good.body).healthy, true);
    face.health = { isHealthy: false, at: 5, reason: "no device since 12:03" };
    const ill = await visit(port, { path: "/health" });
    assert.equal(ill.status, 503);
    assert.deepEqual(JSON.parse(ill.body), {
      healthy: false,
      at: 5,
      reason: "no device since 12:03",
    });
  }));

Deno.test("/metrics is by the book of Prometheus", () =>
  withSite(async ({ port, face }) => {
    face.metrics.add("remote_hsmd_requests_total", ["ecdh_req", "handshake"]);
    const { headers, body } = await visit(port, { path: "/metrics" });
    const type = "text/plain; version=0.0.4; charset=utf-8";
    assert.equal(headers["content-type"], type);
    const names = readExposition(body).map(({ name }) => name);
    assert.deepEqual(names, Object.keys(METRICS));
  }));

Deno.test("/metrics follows the snapshot", () =>
  withSite(async ({ port, face }) => {
    const { handshakes } = QUIET;
    face.status = {
      ...ABANDONED,
      devices: [{ ...SIGNING, role: "held", led: "alarm" }],
      handshakes: { ...handshakes, delayed: 7 },
    };
    await visit(port, { path: "/metrics" });
    const { body } = await visit(port, { path: "/metrics" });
    const families = readExposition(body);
    const valueOf = (name: string) =>
      families.find((one) => one.name === `remote_hsmd_${name}`)?.samples
        .map(({ value }) => value);
    assert.deepEqual(valueOf("queue_oldest_seconds"), [65]);
    assert.deepEqual(valueOf("devices"), [0, 0, 0, 1]);
    assert.deepEqual(valueOf("led_alarm"), [1]);
    assert.deepEqual(valueOf("chain_height"), [922_140]);
    assert.deepEqual(valueOf("heartbeat_age_seconds"), [25]);
    assert.deepEqual(valueOf("peer_handshakes_delayed_total"), [7]);
  }));

Deno.test("/api/status is the snapshot", () =>
  withSite(async ({ port }) => {
    const { body, headers } = await visit(port, { path: "/api/status" });
    assert.equal(headers["content-type"], "application/json");
    assert.deepEqual(JSON.parse(body), QUIET);
  }));

Deno.test("/api/clients has the form that Sphinx tools read", () =>
  withSite(async ({ port, face }) => {
    const { devices: [device] } = QUIET;
    assert.ok(device !== undefined);
    const devices = [
      device,
      { ...SIGNING, cid: "spare", role: "warm" as const },
      { ...SIGNING, cid: "__proto__", role: "coming" as const },
    ];
    face.status = { ...QUIET, devices };
    const { body, headers } = await visit(port, { path: "/api/clients" });
    assert.equal(headers["content-type"], "text/plain; charset=utf-8");
    const wanted = `{"pubkey":"${QUIET.node.nodeId}","clients":` +
      '{"softkey-1":true,"spare":true,"__proto__":false},' +
      '"current":"softkey-1"}';
    assert.equal(body, wanted);
    face.status = {
      ...ABANDONED,
      node: { ...ABANDONED.node, nodeId: null },
    };
    const none = await visit(port, { path: "/api/clients" });
    assert.equal(none.body, '{"pubkey":null,"clients":{},"current":null}');
  }));

const control = (query: string, body = "") => ({
  method: "POST",
  path: `/api/control${query}`,
  body,
});

Deno.test("/api/control passes a message on and answers in hex", () =>
  withSite(async ({ port, face }) => {
    face.controlOutcome = {
      kind: "answered",
      reply: Uint8Array.of(0xc0, 0xde),
    };
    const asked = control(`?msg=${ENVELOPE}&cid=softkey-1`);
    const { status, body, headers } = await visit(port, asked);
    assert.deepEqual([status, body], [200, "c0de"]);
    assert.equal(headers["content-type"], "text/plain; charset=utf-8");
    const inBody = await visit(port, control("?cid=b%20c", `${ENVELOPE}\n`));
    assert.equal(inBody.body, "c0de");
    // Without a name the one that signs is meant.
    await visit(port, control(`?msg=${ENVELOPE}`));
    assert.deepEqual(face.controlled, [
      { cid: "softkey-1", hex: ENVELOPE },
      { cid: "b c", hex: ENVELOPE },
      { cid: "softkey-1", hex: ENVELOPE },
    ]);
  }));

Deno.test("/api/control fails with the statuses of the Sphinx broker", () =>
  withSite(async ({ port, face }) => {
    const rows = [
      ["?cid=softkey-1", 422],
      ["", 422],
      ["?cid=softkey-1&msg=zz", 500],
      ["?cid=softkey-1&msg=abc", 500],
      [`?cid=softkey-1&msg=${"ab".repeat(64)}`, 500],
    ] as const;
    for (const [query, wanted] of rows) {
      assert.equal((await visit(port, control(query))).status, wanted, query);
    }
    assert.deepEqual(face.controlled, [], "nothing got through");
    const asked = control(`?msg=${ENVELOPE}&cid=x`);
    assert.equal((await visit(port, asked)).status, 404);
    face.controlOutcome = { kind: "failed", reason: "it left" };
    const failed = await visit(port, asked);
    assert.deepEqual([failed.status, failed.body], [500, "it left"]);
  }));

Deno.test("/api/use chooses a device, and only the owner forces one", () =>
  withSite(async ({ port, socketPath, face }) => {
    const use = (query: string) => ({
      method: "POST",
      path: `/api/use${query}`,
    });
    assert.equal((await visit(port, use(""))).status, 422);
    assert.equal((await visit(port, use("?cid=x"))).status, 404);
    face.useOutcome = { kind: "refused", reason: "14 writes behind" };
    const refused = await visit(port, use("?cid=x"));
    assert.deepEqual([refused.status, refused.body], [409, "14 writes behind"]);
    assert.equal((await visit(port, use("?cid=x&force=1"))).status, 403);
    face.useOutcome = { kind: "done", text: "x signs" };
    const forced = await visit(socketPath, use("?cid=x&force=1"));
    assert.deepEqual([forced.status, forced.body], [200, "x signs"]);
    assert.deepEqual(face.used, [
      { cid: "x", isForced: false },
      { cid: "x", isForced: false },
      { cid: "x", isForced: true },
    ]);
  }));

Deno.test("other paths and other methods are told so", () =>
  withSite(async ({ port }) => {
    const paths = ["/x", "/api", "/api/", "//", "/constructor", "/__proto__"];
    for (const path of paths) {
      assert.equal((await visit(port, { path })).status, 404, path);
    }
    for (const [path, { method }] of Object.entries(ROUTES)) {
      const other = method === "GET" ? "POST" : "GET";
      const { status, headers } = await visit(port, { method: other, path });
      assert.deepEqual([status, headers.allow], [405, method], path);
    }
    const head = await visit(port, { method: "HEAD", path: "/health" });
    assert.deepEqual([head.status, head.body], [200, ""]);
  }));

Deno.test("every answer forbids caching, sniffing and frames", () =>
  withSite(async ({ port }) => {
    for (const path of ["/", "/health", "/metrics", "/nothing"]) {
      const { headers } = await visit(port, { path });
      assert.match(headers["cache-control"] ?? "", /no-store/);
      assert.equal(headers["x-content-type-options"], "nosniff");
      assert.equal(headers["referrer-policy"], "no-referrer");
      const policy = `${headers["content-security-policy"]}`;
      assert.match(policy, /frame-ancestors 'none'/);
      const cors = Object.keys(headers).filter((name) => /^access-/.test(name));
      assert.deepEqual(cors, []);
    }
  }));

Deno.test("a failure inside is a 500 without its words, and a line", () =>
  withSite(async ({ port, face, log }) => {
    face.challenge = () => Promise.reject(new Error("the inside of it"));
    const { status, body } = await visit(port, { path: "/health" });
    assert.equal(status, 500);
    assert.ok(!body.includes("inside"));
    assert.deepEqual(log, ["HTTP GET: the inside of it"]);
  }));

// ---------------------------------------------------------------- streams

Deno.test("/api/errors tells each error in the form of Sphinx", () =>
  withSite(async ({ port, face }) => {
    const response = await open(port, { path: "/api/errors" });
    assert.equal(response.headers["content-type"], "text/event-stream");
    const events = eventsOf(response);
    face.fail({ cid: "x", code: "Vls", text: 'bad "msg"\n\ndata:fake' });
    const { value } = await events.next();
    const wanted = { code: "Vls", message: 'bad "msg"\n\ndata:fake' };
    assert.equal(value, `data:${JSON.stringify(wanted)}`);
    face.fail({ cid: "x", code: "Control", text: "second" });
    const { value: second } = await events.next();
    assert.equal(second, 'data:{"code":"Control","message":"second"}');
    response.destroy();
  }));

Deno.test("/api/events tells the status at once and when it changed", () =>
  withSite(async ({ port, face }) => {
    const response = await open(port, { path: "/api/events" });
    const events = eventsOf(response);
    const status = (await events.next()).value ?? "";
    assert.equal(status, `event:status\ndata:${JSON.stringify(QUIET)}`);
    face.change(QUIET);
    face.change(ABANDONED);
    const next = (await events.next()).value ?? "";
    assert.equal(next, `event:status\ndata:${JSON.stringify(ABANDONED)}`);
    response.destroy();
  }));

Deno.test("/api/events tells the page its new body", () =>
  withSite(async ({ port }) => {
    const response = await open(port, { path: "/api/events?as=html" });
    const { value } = await eventsOf(response).next();
    const data = JSON.parse((value ?? "").replace(/^event:status\ndata:/, ""));
    assert.equal(data.at, QUIET.at);
    assert.match(data.html, /^<header/);
    response.destroy();
  }));

Deno.test("a stream that is closed listens no more", () =>
  withSite(async ({ port, face }) => {
    const responses = await Promise.all([
      open(port, { path: "/api/errors" }),
      open(port, { path: "/api/events" }),
    ]);
    assert.equal(face.errorListeners.size, 1);
    assert.equal(face.changeListeners.size, 1);
    const { promise, resolve } = Promise.withResolvers<void>();
    const [errors, changes] = [face.errorListeners, face.changeListeners];
    for (const listeners of [errors, changes]) {
      const forget = listeners.delete.bind(listeners);
      listeners.delete = (listener: () => void) => {
        const isGone = forget(listener);
        if (errors.size + changes.size === 0) resolve();
        return isGone;
      };
    }
    for (const response of responses) response.destroy();
    await promise;
  }));

Deno.test("streams are as many as there is room for", () =>
  withSite(async ({ port }) => {
    const open1 = () => open(port, { path: "/api/errors" });
    const all = await Promise.all(Array.from({ length: 16 }, open1));
    assert.ok(all.every(({ statusCode }) => statusCode === 200));
    const { status } = await visit(port, { path: "/api/errors" });
    assert.equal(status, 503);
    const { status: other } = await visit(port, { path: "/api/clients" });
    assert.equal(other, 200);
    for (const response of all) response.destroy();
  }));

Deno.test("a reader that is stuck takes no memory and holds up nobody", () =>
  withSite(async ({ port, face }) => {
    const stuck = await open(port, { path: "/api/errors" });
    stuck.pause();
    const before = Deno.memoryUsage().rss;
    const text = "x".repeat(64 * 1024);
    const quick = await open(port, { path: "/api/errors" });
    const events = eventsOf(quick);
    for (let i = 0; i < 4_000; i++) {
      face.fail({ cid: "x", code: "Vls", text });
      // Nobody but the quick one reads, and it reads them all.
      if (i % 100 === 0) await events.next();
    }
    face.fail({ cid: "x", code: "Vls", text: "last" });
    const grown = Deno.memoryUsage().rss - before;
    assert.ok(grown < 128 * 1024 * 1024, `grew by ${grown}`);
    stuck.destroy();
    quick.destroy();
  }));

Deno.test("a reader that was behind gets the newest when it reads on", () =>
  withSite(async ({ port, face }) => {
    const text = "x".repeat(16 * 1024 * 1024);
    face.status = { ...QUIET, errors: [{ at: 1, cid: null, text }] };
    const response = await open(port, { path: "/api/events" });
    response.pause();
    // What it missed and what is newest: one snapshot is looked at in between.
    const { promise, resolve } = Promise.withResolvers<void>();
    const taken = face.snapshot.bind(face);
    face.snapshot = () => {
      resolve();
      return taken();
    };
    face.change({ ...QUIET, at: 1 });
    await promise;
    face.status = ABANDONED;
    const seen: string[] = [];
    for await (const event of eventsOf(response)) {
      seen.push(event);
      if (event.includes(JSON.stringify(ABANDONED))) break;
    }
    assert.equal(seen.length, 2, "the first, and the newest");
    response.destroy();
  }));

/** Streams alone, with comments as often as a test wants them. */
async function withStreams(
  heartbeatMs: number,
  test: (port: number, face: FakeFace) => Promise<void>,
): Promise<void> {
  const face = new FakeFace();
  const streams = new Streams(face, { heartbeatMs });
  const server = http.createServer((_request, response) => {
    response.writeHead(200);
    response.flushHeaders();
    streams.openErrors(response);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  try {
    await test(address.port, face);
  } finally {
    streams.close();
    server.closeAllConnections();
    await new Promise<void>((done) => server.close(() => done()));
  }
}

Deno.test("a stream on which nothing happens carries comments", () =>
  withStreams(5, async (port) => {
    const response = await open(port, { path: "/" });
    const events = eventsOf(response);
    assert.equal((await events.next()).value, ":");
    assert.equal((await events.next()).value, ":");
    response.destroy();
  }));

Deno.test("a reader that read nothing between two comments is cut off", () =>
  withStreams(20, async (port, face) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const listeners = face.errorListeners;
    const forget = listeners.delete.bind(listeners);
    listeners.delete = (listener) => {
      resolve();
      return forget(listener);
    };
    const response = await open(port, { path: "/" });
    response.on("error", () => {});
    response.pause();
    face.fail({ cid: "x", code: "Vls", text: "x".repeat(32 * 1024 * 1024) });
    await promise;
    response.destroy();
  }));

// ---------------------------------------------------------------- who may

Deno.test("an address that others reach needs a token", async () => {
  const folder = await Deno.makeTempDir();
  const start = (hostname: string): Promise<HttpServers> =>
    startHttp({
      face: new FakeFace(),
      socketPath: `${folder}/broker.sock`,
      listen: { hostname, port: 0 },
      token: "",
      log: () => {},
    });
  for (const hostname of ["0.0.0.0", "::", "192.168.1.2", "node.example"]) {
    await assert.rejects(start(hostname), (error) => {
      assert.ok(error instanceof ConfigError);
      assert.equal(error.key, "http_listen");
      assert.match(error.message, /http_token/);
      return true;
    });
  }
  // Nothing was opened, and nothing is left.
  assert.deepEqual([...Deno.readDirSync(folder)], []);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a token is wanted on every route, in a header", () =>
  withSite(async ({ port }) => {
    const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
    for (const [path, { method }] of Object.entries(ROUTES)) {
      for (const headers of [{}, bearer("wrong"), bearer(`${TOKEN}x`)]) {
        const visited = await visit(port, { method, path, headers });
        assert.equal(visited.status, 401, path);
        assert.equal(visited.headers["www-authenticate"], "Bearer");
        assert.ok(!visited.body.includes(TOKEN));
      }
    }
    const headers = bearer(TOKEN);
    const { status } = await visit(port, { path: "/health", headers });
    assert.equal(status, 200);
    const path = "/api/use?cid=x&force=1";
    const forced = await visit(port, { method: "POST", path, headers });
    assert.equal(forced.status, 404, "the owner asked, and got through");
  }, { token: TOKEN }));

Deno.test("a token in the query opens the page and its stream alone", () =>
  withSite(async ({ port }) => {
    const query = `?token=${encodeURIComponent(TOKEN)}`;
    const { status } = await visit(port, { path: `/${query}` });
    assert.equal(status, 200);
    const stream = await open(port, { path: `/api/events${query}` });
    assert.equal(stream.statusCode, 200);
    stream.destroy();
    for (const path of ["/health", "/api/status", "/metrics"]) {
      const visited = await visit(port, { path: `${path}${query}` });
      assert.equal(visited.status, 401, path);
    }
  }, { token: TOKEN }));

Deno.test("a name that was pointed at this machine is turned away", () =>
  withSite(async ({ port, socketPath }) => {
    const rows = [
      ["localhost", 200],
      [`localhost:${port}`, 200],
      ["127.0.0.1:9", 200],
      ["[::1]:1", 200],
      ["LOCALHOST", 200],
      ["evil.example", 403],
      [`evil.example:${port}`, 403],
      ["127.0.0.1.evil.example", 403],
      ["localhost.evil.example", 403],
      ["127.0.0.1@evil.example", 403],
      ["192.168.1.2", 403],
      ["[::1].evil.example", 403],
    ] as const;
    for (const [host, wanted] of rows) {
      const asked = { path: "/api/clients", headers: { host } };
      assert.equal((await visit(port, asked)).status, wanted, host);
      assert.equal((await visit(socketPath, asked)).status, 200, host);
    }
  }));

Deno.test("another site's page may not post, nor ask from a frame", () =>
  withSite(async ({ port, face }) => {
    const host = `localhost:${port}`;
    const asked = control(`?msg=${ENVELOPE}&cid=x`);
    const foreign = [
      { origin: "http://evil.example" },
      { origin: "null" },
      { origin: `http://localhost:${port + 1}` },
      { origin: `http://${host}.evil.example` },
      { "sec-fetch-site": "cross-site" },
      { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" },
      { "sec-fetch-site": "same-site", origin: `http://${host}` },
    ];
    for (const headers of foreign) {
      const { status } = await visit(port, {
        ...asked,
        headers: { host, ...headers },
      });
      assert.equal(status, 403, JSON.stringify(headers));
    }
    assert.deepEqual(face.controlled, []);
    const own = { host, origin: `http://${host}` };
    assert.equal((await visit(port, { ...asked, headers: own })).status, 404);
    const get = async (headers: Record<string, string>) =>
      (await visit(port, { path: "/health", headers })).status;
    const cross = { "sec-fetch-site": "cross-site" };
    assert.equal(await get({ ...cross, "sec-fetch-mode": "no-cors" }), 403);
    assert.equal(await get({ ...cross, "sec-fetch-mode": "navigate" }), 200);
    assert.equal(await get({ "sec-fetch-site": "same-origin" }), 200);
  }));

// ---------------------------------------------------------- hostile inputs

Deno.test("what is no HTTP gets no answer of ours, and the rest goes on", () =>
  withSite(async ({ port, log }) => {
    const rows = [
      "\0\0\0\0\r\n\r\n",
      "GET\r\n\r\n",
      "GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
      `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${"a".repeat(40_000)}\r\n\r\n`,
      `GET /${"a".repeat(40_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
      "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" +
      "Content-Length: -1\r\n\r\n",
      "GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
    ];
    for (const text of rows) {
      const answer = await sendRaw(port, text);
      assert.match(answer, /^$|^HTTP\/1\.1 4\d\d /, text.slice(0, 40));
    }
    const target = (path: string) =>
      sendRaw(
        port,
        `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
      );
    for (const path of ["http://evil.example/health", "*", "//evil/health"]) {
      assert.match(await target(path), /^HTTP\/1\.1 40[04] /, path);
    }
    const { status } = await visit(port, { path: "/health" });
    assert.equal(status, 200);
    assert.deepEqual(log, []);
  }));

Deno.test("any bytes leave it as it was", () =>
  withSite(async ({ port, log }) => {
    const words = ["GET ", "POST ", "/api/control", "?cid=", "%", " HTTP/1.1"];
    const piece = fc.oneof(
      fc.constantFrom(...words, "\r\n", "Host: localhost", ":", "\0", "\r"),
      fc.string({ unit: "binary", maxLength: 20 }),
    );
    const text = fc.array(piece, { maxLength: 30 });
    await fc.assert(fc.asyncProperty(text, async (pieces) => {
      const answer = await sendRaw(port, pieces.join(""), { isAll: true });
      assert.match(answer, /^$|^HTTP\/1\.1 [2-4]\d\d /);
    }));
    const { status } = await visit(port, { path: "/health" });
    assert.equal(status, 200);
    assert.deepEqual(log, []);
  }));

Deno.test("a body that is too long is refused", () =>
  withSite(async ({ port, face }) => {
    const asked = control("?cid=x", "ab".repeat(64 * 1024));
    const outcome = await visit(port, asked).catch(() => null);
    // Its sender may still be writing when the connection ends.
    assert.ok(outcome === null || outcome.status === 413);
    assert.deepEqual(face.controlled, []);
  }));

Deno.test("connections are as many as there is room for", () =>
  withSite(async ({ port, socketPath }) => {
    const first = Array.from({ length: 64 }, () => hold(port));
    const held = await Promise.all(first);
    const { status } = await visit(socketPath, { path: "/health" });
    assert.equal(status, 200, "the owner's socket has room of its own");
    await assert.rejects(visit(port, { path: "/health" }));
    for (const end of held) end();
  }));

/** A connection that says nothing more, once the server has it. */
async function hold(port: number): Promise<() => void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const socket = net.connect(port, "127.0.0.1");
  socket.on("error", () => {});
  socket.once("data", () => resolve());
  socket.write("GET /api/clients HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await promise;
  return () => socket.destroy();
}

// ------------------------------------------------------------- the socket

async function inFolder(
  test: (path: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await test(`${folder}/broker.sock`);
    assert.deepEqual([...Deno.readDirSync(folder)], [], "nothing is left");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const serve = (socketPath: string) =>
  startHttp({
    face: new FakeFace(),
    socketPath,
    listen: null,
    token: "",
    log: () => {},
  });

Deno.test("the socket is its owner's alone, and is removed at the end", () =>
  inFolder(async (path) => {
    const servers = await serve(path);
    assert.equal(servers.address, null);
    const { mode, isSocket } = Deno.lstatSync(path);
    assert.equal(isSocket, true);
    assert.equal((mode ?? 0) & 0o777, 0o600);
    assert.equal((await visit(path, { path: "/health" })).status, 200);
    await servers.close();
  }));

Deno.test("a socket whose broker is gone is replaced", () =>
  inFolder(async (path) => {
    const listener = Deno.listen({ transport: "unix", path });
    // Closed without being removed, as by a kill.
    Deno.renameSync(path, `${path}.kept`);
    listener.close();
    Deno.renameSync(`${path}.kept`, path);
    const servers = await serve(path);
    assert.equal((await visit(path, { path: "/health" })).status, 200);
    await servers.close();
  }));

Deno.test("a socket that is answered is left alone", () =>
  inFolder(async (path) => {
    const first = await serve(path);
    await assert.rejects(serve(path), /a broker that answers/);
    assert.equal((await visit(path, { path: "/health" })).status, 200);
    await first.close();
  }));

Deno.test("a broker removes no socket that is another's", () =>
  inFolder(async (path) => {
    const first = await serve(path);
    Deno.removeSync(path);
    const second = await serve(path);
    await first.close();
    assert.equal((await visit(path, { path: "/health" })).status, 200);
    await second.close();
  }));
