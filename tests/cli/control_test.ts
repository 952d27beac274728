/**
 * `control` against a device that takes messages as a softkey does, behind a
 * broker that is a few lines.
 *
 * @module
 */

import assert from "node:assert/strict";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { control, type ControlWorld } from "../../src/cli/control.ts";
import { publicKey } from "../../src/crypto/secp.ts";
import { Secret } from "../../src/crypto/secret.ts";
import {
  type ControlFacts,
  type ControlOutcome,
  takeControl,
} from "../../src/device/control/take.ts";
import { UsageError } from "../../src/errors.ts";
import { createAllowlist } from "../../src/policy/allowlist.ts";
import { defaultPolicy } from "../../src/policy/limits.ts";
import { sealEnvelope } from "../../src/wire/control_envelope.ts";
import {
  encodeControlMessage,
  encodeControlResponse,
} from "../../src/wire/control_message.ts";

const KEY = new Uint8Array(32).fill(0xcd);
/** Of sphinx-rs (sphinx-ios 256). */
const WORDS = "dentist car absurd advice fame exact century poverty daring " +
  "member shock write";
const WORDS_POINT =
  "02cbe4f3693d7caf2a9ec10e0e4795c54ae0d214d7e385aaeee408a973ffad25bd";
const CID = "0123456789abcdef0123456789abcdef";
const ADDRESS = "bcrt1q6rhpng9evdsfnn833a4f4vej0asu6dk5srld6x";
const PAYEE = `payee:${publicKey(KEY).toHex()}`;

/** A device, the broker in front of it, and the owner's terminal. */
class Scene {
  facts: ControlFacts;
  /** What came, newest last. */
  readonly taken: ControlOutcome[] = [];
  readonly asked: string[] = [];
  readonly out: string[] = [];
  readonly err: string[] = [];
  clients = JSON.stringify({ pubkey: null, clients: {}, current: CID });
  typed = WORDS;

  constructor(point = publicKey(KEY)) {
    const network = NETWORKS.regtest;
    this.facts = {
      point,
      nonce: 41n,
      now: 1_790_000_000_000,
      network,
      policy: defaultPolicy("regtest"),
      allowlist: createAllowlist([], network),
      paid: { start: 0n, buckets: [] },
      channels: [],
      isSeedOnCard: true,
    };
  }

  /** What the device makes of an envelope. */
  meet(envelope: Uint8Array): Uint8Array {
    const outcome = takeControl(this.facts, envelope);
    const { effect, nonce, response } = outcome;
    const ownership = effect?.kind === "own" ? effect.ownership : {};
    this.facts = { ...this.facts, ...ownership, nonce };
    this.taken.push(outcome);
    return encodeControlResponse(response);
  }

  readonly ask: ControlWorld["ask"] = (method, path, body = "") => {
    const url = new URL(path, "http://broker");
    this.asked.push(`${method} ${url.pathname}`);
    if (url.pathname === "/api/clients") {
      return Promise.resolve({ status: 200, body: this.clients });
    }
    const { cid, msg = body } = Object.fromEntries(url.searchParams);
    if (cid !== CID) return Promise.resolve({ status: 404, body: "no such" });
    const reply = this.meet(Uint8Array.fromHex(msg ?? ""));
    return Promise.resolve({ status: 200, body: reply.toHex() });
  };

  run(...args: readonly string[]): Promise<number> {
    return control(args, {
      ask: this.ask,
      askHidden: () => Promise.resolve(this.typed),
      print: (text) => void this.out.push(text),
      printError: (text) => void this.err.push(text),
    });
  }
}

async function withKey(
  use: (keyFile: string, folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/key`;
    await Deno.writeTextFile(path, `${KEY.toHex()}\n`, { mode: 0o600 });
    await use(path, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Runs commands one after another on one device. */
function scene(
  use: (
    scene: Scene,
    run: (...args: readonly string[]) => Promise<number>,
  ) => Promise<void>,
): () => Promise<void> {
  return () =>
    withKey(async (keyFile) => {
      const scene = new Scene();
      await use(scene, (...args) => scene.run("--key", keyFile, ...args));
    });
}

Deno.test(
  "nonce tells the last number and takes none",
  scene(async (scene, run) => {
    assert.equal(await run("nonce"), 0);
    assert.deepEqual(scene.out, ["last number taken: 41"]);
    assert.equal(scene.facts.nonce, 41n);
    assert.deepEqual(scene.asked, ["GET /api/clients", "POST /api/control"]);
  }),
);

Deno.test(
  "policy shows and sets, and keeps what is not named",
  scene(async (scene, run) => {
    assert.equal(await run("policy", "set", "day:5000", "htlc:9000"), 0);
    assert.deepEqual(scene.out, [
      "payments: 5000 msat a day",
      "HTLCs: 9000 msat",
    ]);
    assert.equal(scene.facts.nonce, 42n);
    assert.equal(await run("policy", "set", "hour:7"), 0);
    assert.equal(await run("policy"), 0);
    assert.deepEqual(scene.out.slice(-2), [
      "payments: 7 msat an hour",
      "HTLCs: 9000 msat",
    ]);
    assert.equal(await run("policy", "set", "unlimited"), 0);
    assert.equal(scene.facts.policy.velocity.kind, "unlimited");
    assert.ok(scene.out.includes("payments: unlimited"));
  }),
);

Deno.test(
  "a policy that the device refuses ends with exit code 1 and its words",
  scene(async (scene, run) => {
    assert.equal(await run("policy", "set", "day:1", "htlc:1"), 1);
    assert.match(
      scene.err[0] ?? "",
      /refuses UpdatePolicy: Cannot set max_htlc/,
    );
    assert.deepEqual(scene.out, []);
  }),
);

Deno.test(
  "the allowlist is set, added to, removed from and shown",
  scene(async (scene, run) => {
    assert.equal(await run("allowlist", "set", ADDRESS), 0);
    assert.equal(await run("allowlist", "add", PAYEE, ADDRESS), 0);
    assert.deepEqual(scene.facts.allowlist.entries, [
      `address:${ADDRESS}`,
      PAYEE,
    ]);
    assert.equal(await run("allowlist", "remove", ADDRESS), 0);
    assert.deepEqual(scene.facts.allowlist.entries, [PAYEE]);
    assert.equal(await run("allowlist", "show"), 0);
    assert.equal(scene.out.at(-1), `allowed: ${PAYEE}`);
    await assert.rejects(run("allowlist", "remove", ADDRESS), UsageError);
    assert.equal(await run("allowlist", "set"), 0);
    assert.equal(scene.out.at(-1), "the allowlist is empty");
  }),
);

Deno.test(
  "velocity and all are shown, as text and as JSON",
  scene(async (scene, run) => {
    assert.equal(await run("velocity"), 0);
    assert.equal(await run("--json", "all"), 0);
    const [text, json = ""] = scene.out;
    assert.equal(text, "paid of late: nothing");
    const { AllCurrent } = JSON.parse(json);
    assert.deepEqual(AllCurrent.allowlist, []);
    assert.equal(AllCurrent.policy.interval, "hourly");
  }),
);

Deno.test(
  "a reset wants --yes, and tells what became of it",
  scene(async (scene, run) => {
    for (const name of ["wifi", "keys", "all"]) {
      await assert.rejects(run("reset", name), /want --yes/);
    }
    assert.equal(scene.taken.length, 0);
    assert.equal(await run("reset", "keys", "--yes"), 0);
    assert.deepEqual(scene.taken.at(-1)?.effect, { kind: "eraseSeed" });
    scene.facts = { ...scene.facts, channels: ["02aa…/1"] };
    assert.equal(await run("reset", "all", "--yes"), 1);
    assert.match(scene.err[0] ?? "", /open channels \(02aa…\/1\)/);
  }),
);

Deno.test(
  "any message is sent in its JSON form",
  scene(async (scene, run) => {
    assert.equal(await run("send", '{"UpdateAllowlist":[]}'), 0);
    assert.equal(await run("send", '"QueryPolicy"', "--json"), 0);
    assert.match(scene.out.at(-1) ?? "", /^\{"PolicyCurrent":/);
    await assert.rejects(run("send", '"Nope"'), UsageError);
    await assert.rejects(run("send", '"ResetAll"'), /want --yes/);
  }),
);

Deno.test("the 12 words of a Sphinx signer are its node key", async () => {
  const scene = new Scene(Uint8Array.fromHex(WORDS_POINT));
  scene.typed = `  ${WORDS.toUpperCase()} `;
  assert.equal(await scene.run("--words", "policy"), 0);
  assert.equal(scene.facts.nonce, 42n);
});

Deno.test("words that are none are not repeated", async () => {
  const scene = new Scene();
  for (const typed of [`${WORDS} zoo`, WORDS.replace("car", "cat"), "", "x"]) {
    scene.typed = typed;
    await assert.rejects(scene.run("--words", "nonce"), (error: Error) => {
      assert.ok(error instanceof UsageError);
      return typed === "" || !error.message.includes(typed);
    });
  }
  assert.deepEqual(scene.asked, []);
});

Deno.test("an envelope that was signed elsewhere is sent as it is", async () => {
  const scene = new Scene();
  const payload = encodeControlMessage({ kind: "QueryPolicy" });
  const bytes = sealEnvelope({ payload, nonce: 42n }, new Secret(KEY));
  assert.equal(await scene.run("--hex", bytes.toHex(), "--device", CID), 0);
  assert.deepEqual(scene.asked, ["POST /api/control"]);
  assert.equal(await scene.run("--hex", bytes.toHex()), 1);
  assert.match(scene.err[0] ?? "", /the device refuses: invalid nonce/);
});

Deno.test("what cannot be signed or understood is not sent", () =>
  withKey(async (keyFile, folder) => {
    const scene = new Scene();
    await Deno.writeTextFile(`${folder}/short`, "cd".repeat(31));
    await Deno.writeTextFile(`${folder}/zero`, "00".repeat(32));
    const wrong: readonly (readonly string[])[] = [
      [],
      ["nonce"],
      ["--key", keyFile, "--words", "nonce"],
      ["--key", `${folder}/none`, "nonce"],
      ["--key", `${folder}/short`, "nonce"],
      ["--key", `${folder}/zero`, "nonce"],
      ["--key", keyFile],
      ["--key", keyFile, "noncense"],
      ["--key", keyFile, "constructor"],
      ["--key", keyFile, "nonce", "more"],
      ["--key", keyFile, "policy", "set"],
      ["--key", keyFile, "policy", "set", "day:x"],
      ["--key", keyFile, "allowlist", "add"],
      ["--key", keyFile, "reset", "nothing", "--yes"],
      ["--key", keyFile, "--colour", "nonce"],
      ["--key", keyFile, "--url", "mqtt://host", "nonce"],
      ["--hex", "xyz"],
      ["--hex", "00", "nonce"],
      ["--hex", "00", "--key", keyFile],
    ];
    for (const args of wrong) {
      await assert.rejects(scene.run(...args), (error: Error) => {
        assert.ok(error instanceof UsageError, `${args}: ${error.stack}`);
        return !error.message.includes(KEY.toHex().slice(0, 16));
      });
    }
    assert.deepEqual(scene.asked, []);
  }));

Deno.test(
  "a broker that says no, or nothing of use, is told of",
  scene(async (scene, run) => {
    assert.equal(await run("--device", "other", "nonce"), 1);
    assert.match(scene.err[0] ?? "", /The broker answers 404: no such/);
    scene.clients = '{"current":null}';
    assert.equal(await run("nonce"), 1);
    assert.match(scene.err[1] ?? "", /No device is active: want --device/);
    scene.clients = "<html>";
    assert.equal(await run("nonce"), 1);
  }),
);

Deno.test("an answer that is none, or another, is told of", () =>
  withKey(async (keyFile) => {
    const scene = new Scene();
    scene.meet = () => Uint8Array.of(0xff);
    assert.equal(await scene.run("--key", keyFile, "nonce"), 1);
    assert.match(scene.err[0] ?? "", /answer cannot be read/);
    scene.meet = () => encodeControlResponse({ kind: "ResetAll" });
    assert.equal(await scene.run("--key", keyFile, "nonce"), 1);
    assert.match(scene.err[1] ?? "", /answers Nonce with ResetAll, want Nonce/);
    scene.meet = () =>
      encodeControlResponse({ kind: "Error", value: "\x1b[2Jgone" });
    assert.equal(await scene.run("--key", keyFile, "nonce"), 1);
    assert.match(scene.err[2] ?? "", /refuses Nonce: \?\[2Jgone$/);
  }));

Deno.test("over HTTP the token goes with each request, and a long list in the body", () =>
  withKey(async (keyFile, folder) => {
    const scene = new Scene();
    const tokens = new Set<string | null>();
    const server = Deno.serve({
      hostname: "127.0.0.1",
      port: 0,
      onListen: () => {},
    }, async (request) => {
      tokens.add(request.headers.get("authorization"));
      const { pathname, search } = new URL(request.url);
      const method = request.method === "POST" ? "POST" : "GET";
      const { status, body } = await scene.ask(
        method,
        `${pathname}${search}`,
        await request.text(),
      );
      return new Response(body, { status });
    });
    try {
      await Deno.writeTextFile(`${folder}/token`, "a token of the node\n");
      const { port } = server.addr;
      const many = Array.from(
        { length: 60 },
        (_, i) => `script:${"ab".repeat(40)}${String(i).padStart(2, "0")}`,
      );
      const code = await control([
        "--url",
        `http://127.0.0.1:${port}`,
        "--token-file",
        `${folder}/token`,
        "--key",
        keyFile,
        "allowlist",
        "set",
        ...many,
      ], {
        ask: () => Promise.reject(new Error("not over the socket")),
        askHidden: () => Promise.reject(new Error("not asked")),
        print: (text) => void scene.out.push(text),
        printError: (text) => void scene.err.push(text),
      });
      assert.deepEqual([code, scene.err], [0, []]);
      assert.equal(scene.facts.allowlist.entries.length, 60);
      assert.deepEqual([...tokens], ["Bearer a token of the node"]);
    } finally {
      await server.shutdown();
    }
  }));
