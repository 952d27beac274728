/**
 * A channel's life on the Sphinx project's own web signer of September 2023, with
 * the requests of a lightningd v23.08: opened, paid over, revoked, closed. What
 * the signer said was recorded on this broker; its seed was 32 bytes 5e.
 *
 * The whole broker is given the requests and the signer's words again, and must
 * say the same: frames, MACs and what is stored, byte for byte.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import mqtt from "mqtt";
import type { Broker } from "../../src/broker.ts";
import { openSqliteStorage } from "../../src/broker/storage/sqlite.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { deriveNodeKeys } from "../../src/keyderiv/node.ts";
import { deriveStorageKey } from "../../src/keyderiv/storage_key.ts";
import { makeToken } from "../../src/mqtt/auth.ts";
import { DEVICE_SUBSCRIPTIONS } from "../../src/mqtt/topics.ts";
import type { Answer } from "../../src/unixfd.ts";
import { messageName, requestRow } from "../../src/wire/hsmd.ts";
import { decodeFromBroker } from "../../src/wire/lss.ts";
import { sharedSecret } from "../../src/wire/lss_mac.ts";
import { messageType } from "../../src/wire/message.ts";
import {
  decodeSignerRequest,
  decodeSignerResponse,
  type SignerRequest,
} from "../../src/wire/vls.ts";
import { startNode } from "../support/node.ts";
import { withFolder } from "../support/storage.ts";

const SEED = new Secret(new Uint8Array(32).fill(0x5e));
const RECORDING = new URL("web-signer-channel.jsonl.gz", import.meta.url);

interface Said {
  /** Without the client id. */
  readonly name: string;
  readonly payload: Uint8Array;
}

const EVENTS: readonly Said[] = gunzipSync(readFileSync(RECORDING))
  .toString("utf8").trim().split("\n")
  .map((line): { readonly topic: string; readonly hex: string } =>
    JSON.parse(line)
  )
  .map(({ topic, hex }) => ({
    name: topic.slice(topic.indexOf("/") + 1),
    payload: Uint8Array.fromHex(hex),
  }));

function payloadOf(name: string): Uint8Array {
  const found = EVENTS.find((event) => event.name === name);
  assert.ok(found !== undefined, name);
  return found.payload;
}

/** What the broker says; the device says the rest. */
const isOurs = ({ name }: Said) => name === "vls" || name.endsWith("-msg");

/** Asks what a recorded frame asks. */
function ask(
  broker: Broker,
  { message, peerId, dbid }: SignerRequest,
): Promise<Answer> {
  const row = requestRow(messageType(message) ?? -1);
  assert.ok(row !== undefined);
  const isMaster = dbid === 0n;
  const permissions = isMaster ? 1027n : 447n;
  return broker.ask({
    requester: { peerId, dbid, permissions, isMaster },
    row,
    message,
    signal: new AbortController().signal,
  });
}

Deno.test("a channel's life on the real web signer, byte for byte", () =>
  withFolder(async (places) => {
    const init1 = decodeFromBroker(payloadOf("init-1-msg"));
    assert.ok(init1.kind === "Init");
    const publicKey = init1.value.serverPubkey;
    const { secret } = deriveStorageKey(SEED);
    const shared = sharedSecret(secret, publicKey);
    const identity = { publicKey, sharedWith: () => shared };
    const storage = openSqliteStorage(places, { identity });
    const folder = places.database.replace(/\/[^/]*$/, "");
    const { message } = decodeSignerRequest(payloadOf("init-3-msg"));
    await using node = await startNode({ folder, message, storage });
    const { node: keys } = deriveNodeKeys({ kind: "plain", seed: SEED });
    const cid = "paho-channel";
    const client = await mqtt.connectAsync(node.url, {
      clientId: cid,
      protocolVersion: 4,
      reconnectPeriod: 0,
      username: keys.point.toHex(),
      password: makeToken(
        keys.secret.reveal(),
        Math.floor(Date.now() / 1000),
      ),
    });
    const came: Said[] = [];
    let wake = () => {};
    client.on("message", (topic, payload) => {
      const name = topic.slice(cid.length + 1);
      came.push({ name, payload: new Uint8Array(payload) });
      wake();
    });
    await client.subscribeAsync(
      DEVICE_SUBSCRIPTIONS.map((name) => `${cid}/${name}`),
    );
    const answers: Promise<Answer>[] = [node.init()];
    for (const event of EVENTS) {
      const { name, payload } = event;
      if (!isOurs(event)) {
        await client.publishAsync(`${cid}/${name}`, Buffer.from(payload));
        continue;
      }
      if (name === "vls") {
        answers.push(ask(node.broker, decodeSignerRequest(payload)));
      }
      while (came.length === 0) {
        await new Promise<void>((resolve) => wake = resolve);
      }
      const said = came.shift();
      assert.equal(said?.name, name);
      assert.equal(said?.payload.toHex(), payload.toHex(), name);
    }
    const replies = EVENTS.filter(({ name }) => /^(init-3|vls)-res$/.test(name))
      .map(({ payload }) => decodeSignerResponse(payload).message);
    assert.deepEqual(
      await Promise.all(answers),
      replies.map((message) => ({ kind: "reply", message })),
    );
    const names = replies.map((message) => messageName(messageType(message)));
    assert.ok(names.includes("validate_commitment_tx_reply"));
    assert.ok(names.includes("validate_revocation_reply"));
    assert.deepEqual(came, []);
    await client.endAsync(true);
    storage.close();
  }));
