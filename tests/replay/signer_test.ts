/**
 * Everything that real nodes asked a real hsmd, asked of the signer.
 *
 * Proof by recorded exchange: each reply must be the same bytes. A signer error
 * would be other bytes, so this also proves that nothing honest is refused.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  type NetworkName,
  networkOf,
  NETWORKS,
} from "../../src/bitcoin/networks.ts";
import {
  createSigner,
  type SignerState,
  step,
} from "../../src/signer/handle.ts";
import { NOBODY, type NodeId } from "../../src/wire/types.ts";
import {
  readEvents,
  type RecordedEvent,
  type RecordedMessage,
  type RecordedSecret,
  recordingName,
  recordingsIn,
} from "../support/recording.ts";

const INIT = 11;
const CLIENT_HSMFD = 9;
const DEV_PREINIT = 99;

/** The master connection, of which lightningd has one. */
const MASTER = { peerId: NOBODY, dbid: 0n };

type Identity = { readonly peerId: NodeId; readonly dbid: bigint };

/** Follows a recording; keeps what a signer and its broker would know. */
class Replay {
  readonly #events: readonly RecordedEvent[];
  readonly #connections = new Map<number, Identity>();
  readonly #waiting = new Map<number, RecordedMessage>();
  #signer: SignerState | null = null;
  /** Replies that were the recorded ones. */
  identical = 0;

  constructor(events: readonly RecordedEvent[]) {
    this.#events = events;
  }

  run(): number {
    for (const [i, event] of this.#events.entries()) this.#follow(event, i);
    return this.identical;
  }

  #follow(event: RecordedEvent, at: number): void {
    if (event.kind === "open") {
      this.#connections.set(event.conn, {
        peerId: event.peer,
        dbid: event.dbid,
      });
    } else if (event.kind === "request") {
      this.#ask(event, at);
    } else if (event.kind === "reply") {
      this.#compare(event);
    }
  }

  /** A restart begins with preinit or, without developer mode, with init. */
  #ask(request: RecordedMessage, at: number): void {
    const isFirst = request.type === DEV_PREINIT ||
      request.type === INIT && this.#signer?.kind !== "locked";
    if (isFirst) this.#restart(at);
    if (request.type === DEV_PREINIT) {
      assert.equal(this.#answer(request), null);
    } else {
      this.#waiting.set(request.conn, request);
    }
  }

  #restart(at: number): void {
    this.#connections.clear();
    this.#signer = createSigner({
      secretFile: this.#secretAt(at).file,
      network: this.#networkAt(at),
      isDeveloper: true,
    });
  }

  /** The secret is written down once, after the first init. */
  #secretAt(at: number): RecordedSecret {
    const isSecret = (event: RecordedEvent) => event.kind === "secret";
    const next = this.#events.slice(at, at + 6).find(isSecret);
    const secret = next ?? this.#events.slice(0, at).findLast(isSecret);
    assert.ok(secret?.kind === "secret", "a secret is recorded");
    return secret;
  }

  #networkAt(at: number) {
    const init = this.#events.slice(at)
      .find((event) => event.kind === "request" && event.type === INIT);
    assert.ok(init?.kind === "request", "an init is recorded");
    const network = networkOf(init.bytes.subarray(10, 42));
    assert.ok(network !== undefined, "its network is known");
    return network;
  }

  #answer({ conn, bytes }: RecordedMessage): Uint8Array | null {
    const identity = conn === 0 ? MASTER : this.#connections.get(conn);
    assert.ok(identity !== undefined, `connection ${conn} is open`);
    assert.ok(this.#signer !== null, "a signer was made");
    const next = step(this.#signer, { ...identity, message: bytes }, 0);
    this.#signer = next.state;
    return next.reply;
  }

  #compare(reply: RecordedMessage): void {
    const request = this.#waiting.get(reply.conn);
    assert.ok(request !== undefined, "a reply answers a request");
    this.#waiting.delete(reply.conn);
    // A descriptor is the broker's to hand over.
    if (request.type === CLIENT_HSMFD) return;
    const found = this.#answer(request)?.toHex();
    assert.equal(
      found,
      reply.bytes.toHex(),
      `reply to type ${request.type}: ${request.bytes.toHex()}`,
    );
    this.identical++;
  }
}

for (const url of recordingsIn("vectors", "flows")) {
  Deno.test(`signer answers ${recordingName(url)} as the stock hsmd did`, () => {
    assert.ok(new Replay(readEvents(url)).run() > 0);
  });
}

// ------------------------------------------------- hsmd_vectors.json

interface Vector {
  readonly secret: string;
  readonly version: number;
  readonly client: string;
  readonly name: string;
  readonly request: string;
  readonly reply: string;
}

interface VectorFile {
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
  readonly vectors: readonly Vector[];
}

const VECTORS = JSON.parse(
  Deno.readTextFileSync(
    new URL("../fixtures/hsmd_vectors.json", import.meta.url),
  ),
) as VectorFile;

/** Secrets that the file names by what they are. */
const UNLISTED: Readonly<Record<string, Uint8Array>> = {
  '32 zero bytes + "abandon"x12': Uint8Array.of(
    ...new Uint8Array(32),
    ...new TextEncoder().encode(Array(12).fill("abandon").join(" ")),
  ),
  "31 zero bytes": new Uint8Array(31),
};

function secretOf({ secret }: Vector): Uint8Array {
  const listed = VECTORS.secrets[secret]?.file;
  const file = listed ? Uint8Array.fromHex(listed) : UNLISTED[secret];
  assert.ok(file !== undefined, `secret ${secret} is known`);
  return file;
}

/** `peer <id> dbid <n> …`; without an id it does not matter which. */
function identityOf({ client }: Vector): Identity {
  if (client === "master") return MASTER;
  const [, peer = "", dbid = "0"] =
    client.match(/^peer ([0-9a-f]{66})? ?dbid (\d+)/) ?? [];
  const peerId = peer === "" ? NOBODY : Uint8Array.fromHex(peer) as NodeId;
  return { peerId, dbid: BigInt(dbid) };
}

const MAINNET_INIT = Uint8Array.fromHex(
  "000b0488b21e0488ade4" + NETWORKS.bitcoin.genesisHash.toHex() +
    "00".repeat(5) + "00000005",
);

/** A signer that has seen the init that a vector's version and name ask for. */
function signerFor(vector: Vector): SignerState {
  const isInit = vector.request.startsWith("000b");
  const request = Uint8Array.fromHex(vector.request);
  const network = isInit
    ? networkOf(request.subarray(10, 42)) ?? NETWORKS.bitcoin
    : NETWORKS.bitcoin;
  const locked = createSigner({
    secretFile: secretOf(vector),
    network,
    isDeveloper: true,
  });
  if (isInit) return locked;
  const init = vector.name.includes("dev_force_privkey")
    ? forcedInit()
    : Uint8Array.of(...MAINNET_INIT, 0, 0, 0, vector.version);
  return step(locked, { ...MASTER, message: init }, 0).state;
}

function forcedInit(): Uint8Array {
  const vector = VECTORS.vectors
    .find(({ name }) => name.includes("init --developer dev_force_privkey"));
  assert.ok(vector !== undefined);
  return Uint8Array.fromHex(vector.request);
}

const signers = new Map<string, SignerState>();

/** Signers are values: one init serves every vector that needs the same. */
function sharedSignerFor(vector: Vector): SignerState {
  const isForced = vector.name.includes("dev_force_privkey");
  const isInit = vector.request.startsWith("000b");
  if (isInit || isForced) return signerFor(vector);
  const name = `${vector.secret}/${vector.version}`;
  const known = signers.get(name) ?? signerFor(vector);
  signers.set(name, known);
  return known;
}

for (const vector of VECTORS.vectors) {
  const { secret, client, name } = vector;
  Deno.test(`signer answers vector ${secret} ${client} ${name}`, () => {
    const message = Uint8Array.fromHex(vector.request);
    const { reply } = step(
      sharedSignerFor(vector),
      { ...identityOf(vector), message },
      0,
    );
    assert.equal(reply?.toHex(), vector.reply);
  });
}

Deno.test("signer answers every recorded network name", () => {
  const names: NetworkName[] = [
    "bitcoin",
    "testnet",
    "testnet4",
    "signet",
    "regtest",
  ];
  assert.deepEqual(Object.keys(NETWORKS), names);
});
