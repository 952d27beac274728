/**
 * The setup pages: what the hardware's tools send is taken once, after the
 * owner's yes; everything else gets an answer and changes nothing.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { publicKey } from "../../src/crypto/secp.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { sealSeed } from "../../src/crypto/seed_transfer.ts";
import { UsageError } from "../../src/errors.ts";
import { OwnerError } from "../../src/device/owner_error.ts";
import {
  type Arrival,
  type SetupOptions,
  startSetupServer,
  transferFingerprint,
} from "../../src/device/setup_http.ts";
import {
  acceptedHosts,
  type Interface,
  parseListen,
} from "../../src/device/setup_http/listen.ts";

// The hardware's worked example (sphinx-rs, crypter/src/lib.rs).
const DEVICE_KEY =
  "fac40a932bd16e2da3e89771e37e0ca205f0f4a74a08355e479ee104ab2b726b";
const DEVICE_POINT =
  "0320374fa5511eca1509cc7707659df92a8b4a7416b1771ebc0486167529dce608";
const TOOL_KEY =
  "848edb5da88bd8586e9dd890ba25ed372cca15ce8b0e85e093990032e25bec9f";
const TOOL_POINT =
  "0290efa528c55dde1c4672307847db923d2747d30a2c1b655f01c484680cd2c670";
const PAYLOAD =
  "dcea7b7318037da2e46b08f4e993ef16a93016441098af4b03a516ec0471558e" +
  "51c5978f8d2962f5d103dd1ffcfd8d42000102030405060708090a0b";
const SEED = "01".repeat(32);
const NODE_ID =
  "026f61d7ee82f937f9697f4f3e44bfaaa25849cc4f526b3a57326130eba6346002";

const SETTINGS = {
  broker: "192.168.1.7:1883",
  ssid: "home",
  pass: "correct horse",
  network: "regtest",
};
const FULL = { ...SETTINGS, pubkey: TOOL_POINT, seed: PAYLOAD };

/** Setup pages with an owner, for one test. */
class Bench {
  hasSeed = false;
  /** What the owner says; null: nothing, ever. */
  consent: boolean | null = true;
  /** The owner answers when this does. */
  thinking: Promise<void> = Promise.resolve();
  readonly asked: Arrival[] = [];
  readonly signals: AbortSignal[] = [];
  readonly taken: Arrival[] = [];
  readonly said: string[] = [];
  /** Seeds as they were when they came. */
  readonly seeds: string[] = [];

  start(changes: Partial<SetupOptions> = {}) {
    return startSetupServer({
      listen: "127.0.0.1:0",
      hasSeed: () => this.hasSeed,
      random: () => Uint8Array.fromHex(DEVICE_KEY),
      consent: async (arrival, signal) => {
        this.asked.push(arrival);
        this.signals.push(signal);
        await this.thinking;
        return this.consent ?? await new Promise<boolean>(() => {});
      },
      take: (arrival) => {
        this.taken.push(arrival);
        this.seeds.push(arrival.seed?.reveal().toHex() ?? "");
        return Promise.resolve();
      },
      say: (text) => this.said.push(text),
      ...changes,
    });
  }
}

async function withPages(
  bench: Bench,
  use: (address: string, arrived: Promise<void>) => Promise<void>,
  changes: Partial<SetupOptions> = {},
): Promise<void> {
  const server = bench.start(changes);
  try {
    await use(server.address, server.arrived);
  } finally {
    await server.stop();
  }
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

async function ask(url: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url, init);
  return { status: response.status, text: await response.text() };
}

const post = (address: string, settings: unknown) => {
  const json = typeof settings === "string"
    ? settings
    : JSON.stringify(settings);
  const query = encodeURIComponent(json);
  return ask(`${address}/config?config=${query}`, { method: "POST" });
};

const SUCCESS = { status: 200, text: '{"success":true}' };

/** The error of an answer that is one. */
function errorOf({ text }: Answer): string {
  const body: unknown = JSON.parse(text);
  assert.ok(typeof body === "object" && body !== null && "error" in body);
  assert.deepEqual(Object.keys(body), ["error"]);
  assert.equal(typeof body.error, "string");
  return `${body.error}`;
}

async function assertRefused(
  answer: Promise<Answer>,
  status: number,
  text: RegExp,
): Promise<void> {
  const found = await answer;
  const error = errorOf(found);
  assert.match(error, text);
  assert.equal(found.status, status, error);
}

Deno.test("the hardware's worked example sets up a softkey, answer by answer", async () => {
  const bench = new Bench();
  await withPages(bench, async (address, arrived) => {
    assert.deepEqual(await ask(`${address}/ecdh`), {
      status: 200,
      text: `{"pubkey":"${DEVICE_POINT}"}`,
    });
    assert.deepEqual(await post(address, FULL), SUCCESS);
    await arrived;
  });
  const [arrival] = bench.taken;
  assert.equal(bench.taken.length, 1);
  assert.deepEqual(bench.seeds, [SEED]);
  assert.equal(arrival?.nodeId, NODE_ID);
  assert.equal(arrival?.broker, "mqtt://192.168.1.7:1883");
  assert.equal(arrival?.network, "regtest");
  assert.equal(arrival?.from, "127.0.0.1");
  assert.deepEqual(bench.asked, bench.taken);
  assert.deepEqual(bench.said, []);
});

Deno.test("a tool that seals for the key that it fetched is understood, and both ends show one fingerprint", async () => {
  const bench = new Bench();
  const random = (length: number) =>
    crypto.getRandomValues(new Uint8Array(length));
  await withPages(bench, async (address) => {
    const { text } = await ask(`${address}/ecdh`);
    const point = Uint8Array.fromHex(JSON.parse(text).pubkey);
    const privateKey = new Secret(random(32));
    const seed = new Secret(random(32));
    const pubkey = publicKey(privateKey.reveal());
    const payload = sealSeed({ privateKey, point }, seed, random(12));
    const settings = { pubkey: pubkey.toHex(), seed: payload.toHex() };
    assert.deepEqual(
      await post(address, { ...SETTINGS, ...settings }),
      SUCCESS,
    );
    assert.deepEqual(bench.seeds, [seed.reveal().toHex()]);
    const shown = transferFingerprint(point, pubkey);
    assert.equal(bench.asked[0]?.fingerprint, shown);
    assert.match(shown, /^[a-z0-9]{4}-[a-z0-9]{4}-[a-z0-9]{4}$/);
    assert.notEqual(shown, transferFingerprint(pubkey, point));
  }, { random });
});

Deno.test("each start has a key of its own", async () => {
  const keys: string[] = [];
  for (let i = 0; i < 2; i++) {
    const random = (length: number) =>
      crypto.getRandomValues(new Uint8Array(length));
    await withPages(new Bench(), async (address) => {
      keys.push((await ask(`${address}/ecdh`)).text);
      assert.equal((await ask(`${address}/ecdh`)).text, keys[i]);
    }, { random });
  }
  assert.notEqual(keys[0], keys[1]);
});

Deno.test("random bytes that are no key are drawn again", async () => {
  const draws = ["00".repeat(32), "ff".repeat(32), DEVICE_KEY];
  const random = () => Uint8Array.fromHex(draws.shift() ?? "");
  await withPages(new Bench(), async (address) => {
    const { text } = await ask(`${address}/ecdh`);
    assert.equal(text, `{"pubkey":"${DEVICE_POINT}"}`);
  }, { random });
});

Deno.test("the same JSON as a body is taken", async () => {
  const bench = new Bench();
  await withPages(bench, async (address) => {
    const body = JSON.stringify(FULL);
    const answer = await ask(`${address}/config`, { method: "POST", body });
    assert.deepEqual(answer, SUCCESS);
  });
  assert.deepEqual(bench.seeds, [SEED]);
});

Deno.test("a plus sign arrives as one when it is sent as %2B, as the hardware has it", async () => {
  for (
    const { plus, status } of [
      { plus: "%2B", status: 200 },
      { plus: "+", status: 400 },
    ]
  ) {
    await withPages(new Bench(), async (address) => {
      // A number with an exponent: 1e+1 is JSON, 1e 1 is not.
      const json = JSON.stringify(FULL).replace("{", '{"n":1e+1,');
      const query = encodeURIComponent(json).replace("%2B", plus);
      const url = `${address}/config?config=${query}`;
      assert.equal((await ask(url, { method: "POST" })).status, status);
    });
  }
});

Deno.test("brokers and networks are taken in each of their spellings", async () => {
  const brokers = [
    ["node.local:1883", "mqtt://node.local:1883"],
    ["mqtt://10.0.0.1:1883", "mqtt://10.0.0.1:1883"],
    ["mqtt://10.0.0.1:80/", "mqtt://10.0.0.1:80"],
    ["tcp://NODE:2000", "mqtt://node:2000"],
    ["ws://node:8083", "ws://node:8083"],
    ["[::1]:1883", "mqtt://[::1]:1883"],
    ["node", "mqtt://node:1883"],
  ] as const;
  const networks = [
    ["bitcoin", "bitcoin"],
    ["mainnet", "bitcoin"],
    ["testnet", "testnet"],
    ["testnet4", "testnet4"],
    ["signet", "signet"],
    ["regtest", "regtest"],
  ] as const;
  const cases = [
    ...brokers.map(([broker, url]) => ({ broker, url, network: "regtest" })),
    ...networks.map(([network, name]) => ({ network, name })),
  ];
  for (const { url, ...changes } of cases.map((row) => ({ url: "", ...row }))) {
    const bench = new Bench();
    const name = "name" in changes ? changes.name : "regtest";
    await withPages(bench, async (address) => {
      assert.deepEqual(await post(address, { ...FULL, ...changes }), SUCCESS);
    });
    assert.equal(bench.taken[0]?.network, name);
    assert.equal(bench.taken[0]?.broker, url || "mqtt://192.168.1.7:1883");
  }
});

const { broker: _broker, ...noBroker } = FULL;
const { network: _network, ...noNetwork } = FULL;
const { pubkey: _pubkey, ...noPubkey } = FULL;
const { seed: _seed, ...noSeed } = FULL;

/** What is malformed, with what is said about it. */
const MALFORMED: readonly (readonly [unknown, RegExp])[] = [
  ["", /no JSON/],
  ["{", /no JSON/],
  ["null", /want an object/],
  ["[]", /want an object/],
  ["7", /want an object/],
  [SETTINGS, /seed required/],
  [{ ...FULL, pubkey: null, seed: null }, /seed required/],
  [noBroker, /broker: missing/],
  [noNetwork, /network: missing/],
  [noPubkey, /no pubkey, want both/],
  [noSeed, /no seed, want both/],
  [{ ...FULL, pubkey: 7 }, /pubkey: no hex/],
  [{ ...FULL, pubkey: "" }, /no point of the curve/],
  [{ ...FULL, pubkey: TOOL_POINT.slice(1) }, /pubkey: no hex/],
  [{ ...FULL, pubkey: TOOL_POINT.slice(2) }, /no point of the curve/],
  [{ ...FULL, pubkey: `${TOOL_POINT}00` }, /no point of the curve/],
  [{ ...FULL, pubkey: "02" + "00".repeat(32) }, /no point of the curve/],
  [{ ...FULL, pubkey: "zz".repeat(33) }, /pubkey: no hex/],
  [{ ...FULL, seed: "" }, /0 digits, want 120/],
  [{ ...FULL, seed: PAYLOAD.slice(1) }, /seed: no hex/],
  [{ ...FULL, seed: PAYLOAD.slice(8) }, /112 digits, want 120/],
  [{ ...FULL, seed: `${PAYLOAD}00` }, /122 digits, want 120/],
  [{ ...FULL, seed: ["a"] }, /seed: no hex/],
  [{ ...FULL, network: "Regtest" }, /"Regtest", want bitcoin/],
  [{ ...FULL, network: "" }, /"", want bitcoin/],
  [{ ...FULL, network: "__proto__" }, /"__proto__", want bitcoin/],
  [{ ...FULL, network: 1 }, /network: no text/],
  [{ ...FULL, broker: "" }, /want host:port/],
  [{ ...FULL, broker: ":1883" }, /want host:port/],
  [{ ...FULL, broker: "node:0" }, /want host:port/],
  [{ ...FULL, broker: "node:65536" }, /want host:port/],
  [{ ...FULL, broker: "https://node:1883" }, /want host:port/],
  [{ ...FULL, broker: "mqtt://me:secret@node:1883" }, /want host:port/],
  [{ ...FULL, broker: "mqtt://node:1883/path" }, /want host:port/],
  [{ ...FULL, broker: "node:1883\u001b[2J" }, /want host:port/],
  [{ ...FULL, broker: "a".repeat(300) }, /a{40}…", want host:port/],
  [{ ...FULL, broker: "[:::]:1883" }, /want host:port/],
  [{ ...FULL, broker: "1.2.3.4.5:1883" }, /want host:port/],
];

Deno.test("everything malformed is a 400 that says what, and nothing is asked or taken", async () => {
  const bench = new Bench();
  await withPages(bench, async (address) => {
    for (const [settings, text] of MALFORMED) {
      await assertRefused(post(address, settings), 400, text);
    }
    const url = `${address}/config`;
    const method = "POST";
    await assertRefused(ask(url, { method }), 400, /no settings/);
    await assertRefused(ask(`${url}?conf=1`, { method }), 400, /no settings/);
    const twice = ask(`${url}?config=1&config=2`, { method });
    await assertRefused(twice, 400, /more than once/);
    const body = Uint8Array.of(0xff, 0xfe);
    await assertRefused(ask(url, { method, body }), 400, /no UTF-8/);
    // None of it has used the key up.
    assert.deepEqual(await post(address, FULL), SUCCESS);
  });
  assert.equal(bench.taken.length, 1);
  assert.deepEqual(bench.said, []);
});

Deno.test("other pages, other methods and what is too long are refused", async () => {
  const bench = new Bench();
  await withPages(bench, async (address) => {
    const method = "POST";
    await assertRefused(ask(address), 404, /no such path/);
    await assertRefused(ask(`${address}/ecdh/`), 404, /no such path/);
    await assertRefused(ask(`${address}/ecdh`, { method }), 405, /want GET/);
    await assertRefused(ask(`${address}/config`), 405, /want POST/);
    const long = "a".repeat(4_100);
    await assertRefused(post(address, long), 414, /URL: too long/);
    const body = `${JSON.stringify(FULL)}${" ".repeat(4_100)}`;
    for (const long of [body, body.padEnd(200_000)]) {
      const posted = ask(`${address}/config`, { method, body: long });
      await assertRefused(posted, 413, /body: too long/);
    }
    const headers = { "x-long": "a".repeat(8_200) };
    const heavy = ask(`${address}/ecdh`, { headers });
    await assertRefused(heavy, 431, /headers: too long/);
    const many = Object.fromEntries(
      Array.from({ length: 65 }, (_, i) => [`x-${i}`, "1"]),
    );
    const crowd = ask(`${address}/ecdh`, { headers: many });
    await assertRefused(crowd, 431, /headers: too long/);
  });
  assert.deepEqual(bench.asked, []);
});

/** Sends these bytes; what comes back until the other side closes. */
async function sendRaw(address: string, text: string): Promise<string> {
  const { hostname, port } = new URL(address);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  await connection.write(new TextEncoder().encode(text));
  return await new Response(connection.readable).text();
}

Deno.test("a browser's request is refused, and a request for another host", async () => {
  const bench = new Bench();
  await withPages(bench, async (address) => {
    const { host } = new URL(address);
    const own = `host: ${host}`;
    const port = host.split(":")[1];
    const cases = [
      [[own], 200],
      [[`host: LOCALHOST:${port}`], 200],
      [[own, "sec-fetch-site: none"], 200],
      [[own, `origin: http://${host}`], 403],
      [[own, "origin: null"], 403],
      [[own, "origin: https://evil.example"], 403],
      [[own, "sec-fetch-site: cross-site"], 403],
      [[`host: evil.example:${port}`], 403],
      [["host: 127.0.0.1"], 403],
      [["host: ["], 403],
      [[`host: ${host}@evil.example`], 403],
    ] as const;
    for (const [headers, status] of cases) {
      const lines = ["GET /ecdh HTTP/1.1", ...headers, "connection: close"];
      const answer = await sendRaw(address, `${lines.join("\r\n")}\r\n\r\n`);
      assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `), headers.join());
      assert.doesNotMatch(answer, /access-control/i);
    }
    const preflight = await ask(`${address}/config`, {
      method: "OPTIONS",
      headers: { "access-control-request-method": "POST" },
    });
    assert.equal(preflight.status, 405);
    const nameless = await sendRaw(address, "GET /ecdh HTTP/1.0\r\n\r\n");
    assert.match(nameless, /^HTTP\/1.0 403 /);
  });
  assert.deepEqual(bench.asked, []);
});

Deno.test("whatever is sent is answered, and nothing is asked or taken", async () => {
  const bench = new Bench();
  await withPages(bench, async (address) => {
    const { host } = new URL(address);
    const methods = fc.constantFrom("GET", "POST", "PUT", "HEAD", "DELETE");
    // Targets that are none are refused below us, perhaps by a reset.
    const paths = fc.constantFrom(
      "/config",
      "/config",
      "/ecdh",
      "/",
      "//",
      "/%",
    );
    const words = fc.array(
      fc.constantFrom(
        "config=",
        "config",
        "&",
        "=",
        "%",
        "%00",
        "%ff",
        "+",
        "{",
        encodeURIComponent(JSON.stringify(SETTINGS)),
        encodeURIComponent('{"pubkey":null}'),
      ),
    ).map((parts) => parts.join(""));
    const queries = fc.oneof(
      words,
      fc.string({ unit: "binary" }).map((text) =>
        `config=${encodeURIComponent(text.toWellFormed())}`
      ),
      fc.json().map((text) => `config=${encodeURIComponent(text)}`),
    );
    const bodies = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.json().map((text) => new TextEncoder().encode(text)),
    );
    await fc.assert(
      fc.asyncProperty(
        methods,
        paths,
        queries,
        bodies,
        async (method, path, query, anything) => {
          // The server shows no body of these two, and none is drained.
          const hasBody = method !== "GET" && method !== "HEAD";
          const body = hasBody ? anything : new Uint8Array(0);
          const head = `${method} ${path}?${query} HTTP/1.1\r\nhost: ${host}` +
            `\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n`;
          const bytes = new TextDecoder("latin1").decode(body);
          const answer = await sendRaw(address, head + bytes);
          const isKey = method === "GET" && path === "/ecdh";
          const wanted = isKey
            ? /^HTTP\/1.1 (200|4\d\d) /
            : /^HTTP\/1.1 4\d\d /;
          assert.match(answer, wanted);
          assert.deepEqual(bench.asked, []);
        },
      ),
      { numRuns: 300 },
    );
    assert.deepEqual(await post(address, FULL), SUCCESS);
  });
  assert.deepEqual(bench.said, []);
});

Deno.test("bytes that are no HTTP do not end the pages", async () => {
  await withPages(new Bench(), async (address) => {
    for (
      const text of ["\r\n\r\n", "GET\r\n\r\n", "\x16\x03\x01", "\0\0\0\0\n"]
    ) {
      const { hostname, port } = new URL(address);
      const connection = await Deno.connect({ hostname, port: Number(port) });
      await connection.write(new TextEncoder().encode(text));
      connection.close();
    }
    assert.deepEqual(await post(address, FULL), SUCCESS);
  });
});

Deno.test("a stored seed is never replaced, and the answer says so", async () => {
  const bench = new Bench();
  bench.hasSeed = true;
  await withPages(bench, async (address) => {
    await assertRefused(post(address, FULL), 409, /has one, .* never replaced/);
    assert.deepEqual(bench.asked, []);
    assert.deepEqual(await post(address, SETTINGS), SUCCESS);
  });
  const [arrival] = bench.taken;
  assert.equal(arrival?.seed, null);
  assert.equal(arrival?.nodeId, null);
  assert.equal(arrival?.fingerprint, "");
  assert.equal(arrival?.broker, "mqtt://192.168.1.7:1883");
});

Deno.test("a seed that is stored while the owner thinks is not replaced either", async () => {
  const bench = new Bench();
  const thought = Promise.withResolvers<void>();
  bench.thinking = thought.promise;
  await withPages(bench, async (address) => {
    const answer = post(address, FULL);
    await until(() => bench.asked.length === 1, address);
    bench.hasSeed = true;
    thought.resolve();
    await assertRefused(answer, 409, /never replaced/);
  });
  assert.deepEqual(bench.taken, []);
});

/** Asks for something harmless until it is so: the server runs meanwhile. */
async function until(isSo: () => boolean, address: string): Promise<void> {
  while (!isSo()) await ask(`${address}/`);
}

Deno.test("the key is of no use a second time", async () => {
  const bench = new Bench();
  await withPages(bench, async (address) => {
    assert.deepEqual(await post(address, FULL), SUCCESS);
    await assertRefused(post(address, FULL), 410, /used already/);
    await assertRefused(ask(`${address}/ecdh`), 410, /used already/);
  });
  assert.equal(bench.taken.length, 1);
});

Deno.test("the owner's no is told, and the seed is forgotten", async () => {
  const bench = new Bench();
  bench.consent = false;
  await withPages(bench, async (address) => {
    await assertRefused(post(address, FULL), 403, /the owner said no/);
    bench.consent = true;
    assert.deepEqual(await post(address, FULL), SUCCESS);
  });
  assert.equal(bench.asked.length, 2);
  assert.deepEqual(bench.taken, bench.asked.slice(1));
  assert.throws(() => bench.asked[0]?.seed?.reveal());
  assert.match(bench.said.join("\n"), /127\.0\.0\.1: .*said no.*4 tries left/);
});

Deno.test("an owner who says nothing in time refuses, and is told to stop thinking", async () => {
  const bench = new Bench();
  bench.consent = null;
  await withPages(bench, async (address) => {
    await assertRefused(post(address, FULL), 403, /did not answer in time/);
    assert.equal(bench.signals[0]?.aborted, true);
  }, { consentMs: 5 });
  assert.deepEqual(bench.taken, []);
});

Deno.test("five tries that fail throw the key away, and who waits hears of it", async () => {
  const bench = new Bench();
  const other = `${PAYLOAD.slice(0, -2)}ff`;
  await withPages(bench, async (address, arrived) => {
    for (let i = 0; i < 5; i++) {
      const answer = post(address, { ...FULL, seed: other });
      await assertRefused(answer, 400, /not sealed for the key/);
    }
    await assertRefused(post(address, FULL), 410, /tried too often/);
    await assertRefused(ask(`${address}/ecdh`), 410, /tried too often/);
    await assert.rejects(
      arrived,
      (error) => error instanceof OwnerError && error.missing === "consent",
    );
  });
  assert.deepEqual(bench.asked, []);
  assert.equal(bench.said.length, 5);
});

Deno.test("while the owner thinks, the same waits along and other settings are refused", async () => {
  const bench = new Bench();
  const thought = Promise.withResolvers<void>();
  bench.thinking = thought.promise;
  let requests = 0;
  const hasSeed = () => {
    requests += 1;
    return false;
  };
  await withPages(bench, async (address) => {
    const first = post(address, FULL);
    await until(() => bench.asked.length === 1, address);
    const other = post(address, { ...FULL, broker: "other:1883" });
    await assertRefused(other, 503, /other settings wait/);
    const again = post(address, FULL);
    await until(() => requests === 3, address);
    thought.resolve();
    assert.deepEqual(await first, SUCCESS);
    assert.deepEqual(await again, SUCCESS);
  }, { hasSeed });
  assert.equal(bench.asked.length, 1);
  assert.equal(bench.taken.length, 1);
});

Deno.test("more requests at a time than a tool can need are refused", async () => {
  const bench = new Bench();
  const thought = Promise.withResolvers<void>();
  bench.thinking = thought.promise;
  await withPages(bench, async (address) => {
    const answers = Array.from({ length: 30 }, async () => {
      const answer = await post(address, FULL);
      // The first refusal shows that all places are taken: let the rest go on.
      if (answer.status === 503) thought.resolve();
      return answer.status;
    });
    const statuses = new Set(await Promise.all(answers));
    assert.ok(statuses.has(503));
    assert.ok(statuses.has(200));
  });
  assert.equal(bench.taken.length, 1);
});

Deno.test("a card that cannot be written is the owner's to see, and the same may come again", async () => {
  const bench = new Bench();
  let isFull = true;
  await withPages(bench, async (address) => {
    const answer = await post(address, FULL);
    assert.equal(answer.status, 500);
    assert.match(errorOf(answer), /see its screen/);
    assert.match(bench.said.join("\n"), /no space left/);
    isFull = false;
    assert.deepEqual(await post(address, FULL), SUCCESS);
  }, {
    take: () =>
      isFull ? Promise.reject(new Error("no space left")) : Promise.resolve(),
  });
});

Deno.test("closing ends a question, and half a request does not keep it open", async () => {
  const bench = new Bench();
  bench.consent = null;
  const server = bench.start();
  const { hostname, port } = new URL(server.address);
  const idle = await Deno.connect({ hostname, port: Number(port) });
  const half = await Deno.connect({ hostname, port: Number(port) });
  await half.write(new TextEncoder().encode("GET /ecdh HTTP/1.1\r\nho"));
  const answer = post(server.address, FULL);
  await until(() => bench.asked.length === 1, server.address);
  const stopped = server.stop();
  await assertRefused(answer, 503, /were closed/);
  await stopped;
  idle.close();
  half.close();
  assert.equal(bench.signals[0]?.aborted, true);
  await assert.rejects(fetch(server.address));
  assert.deepEqual(bench.taken, []);
});

Deno.test("closing at once after a success still delivers the answer", async () => {
  const bench = new Bench();
  const server = bench.start();
  const stopped = server.arrived.then(() => server.stop());
  assert.deepEqual(await post(server.address, FULL), SUCCESS);
  await stopped;
});

Deno.test("nothing that is said or answered holds seed, key or WiFi password", async () => {
  const bench = new Bench();
  bench.consent = false;
  const answers: string[] = [];
  await withPages(bench, async (address) => {
    answers.push((await post(address, FULL)).text);
    const { pass } = SETTINGS;
    for (
      const settings of [
        JSON.stringify({ ...FULL, pass }).slice(0, -1),
        { ...FULL, seed: SEED },
        { ...FULL, pubkey: TOOL_KEY },
      ]
    ) answers.push((await post(address, settings)).text);
  });
  const text = [...bench.said, ...answers, JSON.stringify(bench.asked)]
    .join("\n");
  for (const secret of [SEED, DEVICE_KEY, TOOL_KEY, SETTINGS.pass]) {
    assert.ok(!text.includes(secret), secret);
  }
});

const INTERFACES: readonly Interface[] = [
  { name: "lo", family: "IPv4", address: "127.0.0.1" },
  { name: "lo", family: "IPv6", address: "::1" },
  { name: "eth0", family: "IPv6", address: "fe80::1" },
  { name: "eth0", family: "IPv4", address: "192.168.1.5" },
  { name: "tun0", family: "IPv6", address: "fe80::2" },
  { name: "tun0", family: "IPv6", address: "fd00::2" },
];

Deno.test("a place to listen is an address, an interface, or this machine alone", () => {
  const cases = [
    ["8080", "127.0.0.1"],
    [":8080", "127.0.0.1"],
    ["localhost:8080", "127.0.0.1"],
    ["192.168.1.5:8080", "192.168.1.5"],
    ["eth0:8080", "192.168.1.5"],
    ["tun0:8080", "fd00::2"],
    ["[::1]:8080", "::1"],
    ["0.0.0.0:8080", "0.0.0.0"],
  ] as const;
  for (const [text, hostname] of cases) {
    assert.deepEqual(parseListen(text, INTERFACES), { hostname, port: 8080 });
  }
  for (
    const text of [
      "",
      "eth1:80",
      "eth0",
      "node.example:80",
      "1.2.3:80",
      "[eth0]:80",
      "[1.2.3.4]:80",
      "::1:80",
      "127.0.0.1:65536",
      "127.0.0.1:x",
    ]
  ) {
    const named = (error: unknown) =>
      error instanceof UsageError && error.message.includes("lo, eth0, tun0");
    assert.throws(() => parseListen(text, INTERFACES), named, text);
  }
});

Deno.test("hosts that are believed are those of the place", () => {
  const hosts = (
    hostname: string,
    port: number,
  ) => [...acceptedHosts({ hostname, port }, INTERFACES)];
  assert.deepEqual(hosts("127.0.0.1", 81), ["127.0.0.1:81", "localhost:81"]);
  assert.deepEqual(hosts("192.168.1.5", 80), [
    "192.168.1.5",
    "192.168.1.5:80",
  ]);
  assert.deepEqual(hosts("fd00::2", 81), ["[fd00::2]:81"]);
  assert.deepEqual(hosts("::", 81), [
    "127.0.0.1:81",
    "[::1]:81",
    "[fe80::1]:81",
    "192.168.1.5:81",
    "[fe80::2]:81",
    "[fd00::2]:81",
    "localhost:81",
  ]);
});

Deno.test("an address that is taken is one sentence", () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const listen = `127.0.0.1:${taken.addr.port}`;
  assert.throws(
    () => new Bench().start({ listen }),
    (error) => error instanceof UsageError && error.message.includes(listen),
  );
});
