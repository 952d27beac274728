/**
 * Following bitcoind: what is asked of it, what is made of the answers, and
 * that neither its absence nor its refusal hurts.
 *
 * bitcoind is a web server in this process that answers as the real one does
 * (bitcoin/src/httprpc.cpp: errors have status 500, a wrong login 401).
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { type BitcoindLogin, ChainFollower } from "../../src/chain.ts";
import { feeratePerKw, isNews } from "../../src/chain/fees.ts";
import type { FeeReference } from "../../src/wire/vls.ts";

const PAUSES = {
  first: 5,
  longest: 20,
  look: 10,
  call: 1_000,
  calls: 3,
  rest: 60_000,
};
const PASSWORD: BitcoindLogin = {
  kind: "password",
  user: "me",
  password: "p:w",
};

interface Call {
  readonly method: string;
  readonly params: readonly unknown[];
}

/** A bitcoind on loopback. */
class FakeBitcoind implements AsyncDisposable {
  readonly calls: Call[] = [];
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #blocks: (() => void)[] = [];
  login = "me:p:w";
  estimate: unknown = { feerate: 0.0004, blocks: 2 };
  /** By the number of blocks that was asked for. */
  readonly estimates = new Map<unknown, unknown>();
  minimum = 0.00001;
  canWait = true;
  isWarm = true;
  height = 100;

  constructor(port = 0) {
    this.#server = Deno.serve(
      { port, hostname: "127.0.0.1", onListen: () => {} },
      (request) => this.#answer(request),
    );
  }

  get port(): number {
    return this.#server.addr.port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** A block: those who wait for one hear of it. */
  block(): void {
    this.height += 1;
    this.wake();
  }

  /** The waits end without a block. */
  wake(): void {
    for (const wake of this.#blocks.splice(0)) wake();
  }

  get waiting(): number {
    return this.#blocks.length;
  }

  async #answer(request: Request): Promise<Response> {
    const wanted = `Basic ${btoa(this.login)}`;
    if (request.headers.get("authorization") !== wanted) {
      return new Response("", { status: 401 });
    }
    const { id, method, params } = await request.json();
    this.calls.push({ method, params });
    const error = (code: number, message: string) =>
      Response.json({ result: null, error: { code, message }, id }, {
        status: 500,
      });
    if (!this.isWarm) return error(-28, "Loading block index…");
    if (method === "waitfornewblock") {
      if (!this.canWait) return error(-32601, "Method not found");
      await new Promise<void>((wake) => this.#blocks.push(wake));
      const result = { hash: `block ${this.height}`, height: this.height };
      return Response.json({ result, error: null, id });
    }
    const result = method === "estimatesmartfee"
      ? this.estimates.get(params[0]) ?? this.estimate
      : { mempoolminfee: this.minimum };
    return Response.json({ result, error: null, id });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.block();
    await this.#server.shutdown();
  }
}

/** What a follower told, and its stop. */
class Following implements AsyncDisposable {
  readonly fees: FeeReference[] = [];
  readonly log: string[] = [];
  readonly #chain: ChainFollower;
  now = 1_700_000_000_000;

  constructor(url: string, login: BitcoindLogin = PASSWORD) {
    this.#chain = new ChainFollower({
      bitcoind: { url, login },
      feeReference: (reference) => this.fees.push(reference),
      log: (level, text) => this.log.push(`${level} ${text}`),
      now: () => this.now,
      pauses: PAUSES,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#chain.stop();
  }
}

async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (what()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`Never: ${what}`);
}

Deno.test("BTC per 1000 vbytes become satoshi per 1000 weight, rounded up", () => {
  // 1 sat per vbyte is BOLT 3's 250, and 40 sat per vbyte 10000.
  assert.equal(feeratePerKw(0.00001), 250);
  assert.equal(feeratePerKw(0.0004), 10_000);
  assert.equal(feeratePerKw(0.00001001), 251);
  assert.equal(feeratePerKw(1e9), 0xffff_ffff);
  for (const none of [undefined, null, 0, -1, NaN, "0.1", {}]) {
    assert.equal(feeratePerKw(none), null);
  }
});

Deno.test("Every whole number of satoshi per vbyte is exact", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 100_000 }), (rate) => {
    assert.equal(feeratePerKw(rate / 100_000), rate * 250);
  }));
});

Deno.test("News is the first, a change of five percent, or ten minutes", () => {
  const at = (feeratePerKw: number, time: bigint) => ({ feeratePerKw, time });
  const last = at(1000, 100n);
  assert.ok(isNews(null, last));
  assert.ok(!isNews(last, at(1049, 699n)));
  assert.ok(!isNews(last, at(951, 699n)));
  assert.ok(isNews(last, at(1050, 100n)));
  assert.ok(isNews(last, at(950, 100n)));
  assert.ok(isNews(last, at(1000, 700n)));
});

Deno.test("The first estimate is told at once, the next when a block changes it", async () => {
  await using bitcoind = new FakeBitcoind();
  await using following = new Following(bitcoind.url);
  const { fees, log } = following;
  await until(() => bitcoind.waiting === 1);
  assert.deepEqual(fees, [{ feeratePerKw: 10_000, time: 1_700_000_000n }]);
  assert.ok(
    bitcoind.calls.some(({ method, params }) =>
      method === "estimatesmartfee" && params[0] === 2 &&
      params[1] === "CONSERVATIVE"
    ),
  );
  bitcoind.block();
  await until(() => bitcoind.waiting === 1);
  assert.equal(fees.length, 1, "the same is no news");
  bitcoind.estimate = { feerate: 0.0005 };
  bitcoind.block();
  await until(() => fees.length === 2);
  assert.equal(fees[1]?.feeratePerKw, 12_500);
  following.now += 600_000;
  await until(() => bitcoind.waiting === 1);
  bitcoind.block();
  await until(() => fees.length === 3);
  assert.deepEqual(fees[2], { feeratePerKw: 12_500, time: 1_700_000_600n });
  const states = log.filter((line) => !line.startsWith("debug"));
  assert.deepEqual(states, [`info following bitcoind at ${bitcoind.url}`]);
});

Deno.test("Without a block the fees are looked at after a number of waits", async () => {
  await using bitcoind = new FakeBitcoind();
  await using following = new Following(bitcoind.url);
  const looks = () =>
    bitcoind.calls.filter(({ method }) => method === "getmempoolinfo").length;
  await until(() => bitcoind.waiting === 1);
  bitcoind.block();
  await until(() => bitcoind.waiting === 1 && looks() === 2);
  for (let i = 0; i < PAUSES.calls; i++) {
    assert.equal(looks(), 2);
    await until(() => bitcoind.waiting === 1);
    bitcoind.wake();
  }
  await until(() => looks() === 3);
  assert.equal(following.fees.length, 1);
});

Deno.test("The mempool's own minimum counts where it is higher, or alone", async () => {
  await using bitcoind = new FakeBitcoind();
  bitcoind.estimate = { errors: ["Insufficient data"], blocks: 0 };
  bitcoind.minimum = 0.00002;
  await using following = new Following(bitcoind.url);
  await until(() => bitcoind.waiting === 1);
  assert.equal(following.fees[0]?.feeratePerKw, 500);
  bitcoind.estimate = { feerate: 0.00001 };
  bitcoind.minimum = 0.00003;
  bitcoind.block();
  await until(() => following.fees.length === 2);
  assert.equal(following.fees[1]?.feeratePerKw, 750);
});

Deno.test("Where the next two blocks cannot be estimated, later ones count", async () => {
  await using bitcoind = new FakeBitcoind();
  bitcoind.estimate = { errors: ["Insufficient data"], blocks: 0 };
  bitcoind.estimates.set(6, { feerate: 0.0003 });
  bitcoind.estimates.set(24, { feerate: 0.0001 });
  await using following = new Following(bitcoind.url);
  await until(() => bitcoind.waiting === 1);
  assert.deepEqual(following.fees.map(({ feeratePerKw }) => feeratePerKw), [
    7_500,
  ]);
});

Deno.test("Where blocks cannot be waited for it looks now and then", async () => {
  await using bitcoind = new FakeBitcoind();
  bitcoind.canWait = false;
  await using following = new Following(bitcoind.url);
  await until(() => following.fees.length === 1);
  bitcoind.estimate = { feerate: 0.001 };
  await until(() => following.fees.length === 2);
  const tries = bitcoind.calls.filter(({ method }) =>
    method === "waitfornewblock"
  );
  assert.equal(tries.length, 1);
});

Deno.test("A bitcoind that is away, starts and restarts is one line a change", async () => {
  const first = new FakeBitcoind();
  const { port, url } = first;
  await using following = new Following(url);
  const { log, fees } = following;
  await until(() => first.waiting === 1);
  const restart = first[Symbol.asyncDispose]();
  await restart;
  await until(() => log.some((line) => line.startsWith("unusual")));
  await new Promise((resolve) => setTimeout(resolve, 100));
  await using second = new FakeBitcoind(port);
  second.estimate = { feerate: 0.002 };
  second.isWarm = false;
  await until(() => second.calls.length > 3);
  assert.equal(fees.length, 1, "a bitcoind that loads knows nothing");
  second.isWarm = true;
  await until(() => fees.length === 2);
  const states = log.filter((line) => !line.startsWith("debug"))
    .map((line) => line.replace(/ bitcoind at .*/, ""));
  const away = "unusual no fee reference from";
  // Away, loading, back: the two reasons may come with one more in between.
  assert.ok(states.length >= 4 && states.length <= 5, log.join("\n"));
  assert.equal(states[0], "info following");
  assert.ok(states.slice(1, -1).every((line) => line === away));
  assert.equal(states.at(-1), "info following");
});

Deno.test("A cookie is read anew for each call", async () => {
  await using bitcoind = new FakeBitcoind();
  bitcoind.login = "__cookie__:new";
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(path, "__cookie__:old\n");
    const login: BitcoindLogin = { kind: "cookie", path };
    await using following = new Following(bitcoind.url, login);
    await until(() => following.log.length > 0);
    assert.match(following.log[0] ?? "", /401, the login is wrong/);
    await Deno.writeTextFile(path, "__cookie__:new\n");
    await until(() => following.fees.length === 1);
    assert.ok(!following.log.some((line) => /cookie__/.test(line)));
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("A web server that is no bitcoind, and a lost cookie, are told and survived", async () => {
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    () => new Response("<html>hello</html>"),
  );
  const url = `http://127.0.0.1:${server.addr.port}`;
  {
    await using following = new Following(url);
    await until(() => following.log.length === 1);
    assert.match(following.log[0] ?? "", /answers 200, want 200 and JSON/);
  }
  {
    const login: BitcoindLogin = { kind: "cookie", path: "/nonexistent" };
    await using following = new Following(url, login);
    await until(() => following.log.length === 1);
    assert.match(following.log[0] ?? "", /^unusual no fee reference/);
    assert.deepEqual(following.fees, []);
  }
  await server.shutdown();
});
