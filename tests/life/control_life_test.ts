/**
 * An owner's control messages the whole way: command line, broker, sealed link,
 * softkey, signer.
 *
 * @module
 */

import assert from "node:assert/strict";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { startHttp } from "../../src/cli/http.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { REFUSER } from "../../src/device/approver.ts";
import { assemble } from "../../src/device/assemble.ts";
import { openCard } from "../../src/device/card.ts";
import { openCardStore, readCardState } from "../../src/device/card_state.ts";
import {
  makeSecretFile,
  openSecretFile,
  parseSecretFile,
} from "../../src/keyderiv.ts";
import { deriveControlKey } from "../../src/keyderiv/control_key.ts";
import { REPLIES, REQUESTS } from "../../src/wire/hsmd.ts";
import {
  decodeMessage,
  encodeMessage,
  messageType,
} from "../../src/wire/message.ts";
import { NOBODY, type NodeId } from "../../src/wire/types.ts";
import { type RunningBrokerNode, startNode } from "../support/node.ts";
import { fromFileUrl, withDeno } from "../support/paths.ts";
import { inFolder } from "../support/softkey.ts";

const MAIN = fromFileUrl(new URL("../../main.ts", import.meta.url));
const CONFIG = fromFileUrl(new URL("../../deno.json", import.meta.url));
const SECRET = makeSecretFile(new Uint8Array(16).fill(3));
const KEY = deriveControlKey(openSecretFile(parseSecretFile(SECRET))).secret;
const PAYEE = Uint8Array.fromHex(
  "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5",
);

/** `remote_hsmd_mqtt control`, in the node's folder. */
async function control(cwd: string, ...args: readonly string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--quiet",
      "--no-check",
      "--config",
      CONFIG,
      MAIN,
      "control",
      ...args,
    ],
    cwd,
    env: withDeno(),
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  return { code, out: text.decode(stdout), err: text.decode(stderr) };
}

/** A softkey whose owner is not there to be asked. */
async function strictBox(folder: string, url: string) {
  const network = NETWORKS.regtest;
  const card = await openCard(`${folder}/card`);
  const store = openCardStore(card.folder);
  const state = readCardState(store, network);
  const { box } = assemble({
    card,
    store,
    state,
    secretFile: new Secret(SECRET),
    network,
    isDeveloper: false,
    mode: "refuse",
    approver: REFUSER,
    gate: { pinned: null, mayMeetAnother: () => true, meet: () => {} },
    url,
    software: "softkey under test",
    say: () => {},
  });
  return box;
}

let payments = 0;

/** Whether the node may pay that much. */
async function mayPay({ broker }: RunningBrokerNode, msat: bigint) {
  const paymentHash = new Uint8Array(32).fill(++payments) as never;
  const row = REQUESTS.preapprove_keysend;
  const answer = await broker.ask({
    requester: {
      peerId: NOBODY,
      dbid: 0n,
      permissions: 1027n,
      isMaster: true,
    },
    row,
    message: encodeMessage(row, {
      destination: PAYEE as Uint8Array as NodeId,
      paymentHash,
      amountMsat: msat as never,
    }),
    signal: new AbortController().signal,
  });
  assert.ok(answer.kind === "reply", JSON.stringify(answer.kind));
  const reply = REPLIES.preapprove_keysend_reply;
  assert.equal(messageType(answer.message), reply.type);
  return decodeMessage(reply, answer.message).approved;
}

Deno.test("an owner sets a policy from the node's folder, and the signer goes by it", () =>
  inFolder(async (folder) => {
    await Deno.mkdir(`${folder}/remote_hsmd`);
    await Deno.writeTextFile(`${folder}/key`, `${KEY.reveal().toHex()}\n`);
    await using node = await startNode({ folder });
    const http = await startHttp({
      face: node.broker,
      socketPath: `${folder}/remote_hsmd/broker.sock`,
      listen: null,
      token: "",
      log: (_level, text) => void node.log.push(text),
    });
    const box = await strictBox(folder, node.url);
    box.start();
    try {
      assert.equal((await node.init()).kind, "reply", node.log.join("\n"));
      assert.equal(await mayPay(node, 1_000_000n), true);
      const key = ["--key", "key"];
      const set = await control(folder, ...key, "policy", "set", "hour:5000");
      assert.deepEqual([set.code, set.err], [0, ""]);
      assert.match(set.out, /^payments: 5000 msat an hour$/m);
      assert.equal(await mayPay(node, 6000n), false);
      const all = await control(folder, ...key, "all", "--json");
      const { AllCurrent } = JSON.parse(all.out);
      assert.equal(AllCurrent.policy.msat_per_interval, 5000);
      // What was paid before counts: a new policy is no way around it.
      const [, buckets] = AllCurrent.velocity;
      assert.equal(Math.max(...buckets), 1_000_000);
    } finally {
      await box.stop();
      await http.close();
    }
  }));
