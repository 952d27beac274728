/**
 * What the recorded exchanges do not show: order, refusals, switches, effects.
 *
 * @module
 */

import assert from "node:assert/strict";
import { YES } from "../support/strict.ts";
import { type NetworkName, NETWORKS } from "../../src/bitcoin/networks.ts";
import {
  createSigner,
  nodeKeyOf,
  type SignerState,
  step,
} from "../../src/signer/handle.ts";
import {
  REPLIES,
  type RequestName,
  type RequestOf,
  REQUESTS,
} from "../../src/wire/hsmd.ts";
import { decodeMessage, encodeMessage } from "../../src/wire/message.ts";
import { NOBODY, type PubKey } from "../../src/wire/types.ts";
import {
  decodeSignerError,
  SIGNER_ERROR_TYPE,
  SIGNER_MESSAGES,
} from "../../src/wire/vls.ts";
import { POINTS } from "../support/arbitrary.ts";
import { readEvents, recordingsIn } from "../support/recording.ts";
import {
  E1_KEY,
  FILES,
  NODE_KEYS,
  PASSPHRASE,
  WALLETS,
} from "../keyderiv/tables.ts";
import { initFor } from "../support/init.ts";

const hex = (text: string) => Uint8Array.fromHex(text);
const asBranded = <T extends Uint8Array>(bytes: Uint8Array) => bytes as T;
const POINT = asBranded<PubKey>(hex(POINTS[0]?.toHex() ?? ""));
const OFF_CURVE = asBranded<PubKey>(new Uint8Array(33).fill(0xff));

function signerFor(
  file: Uint8Array = FILES.S1,
  network: NetworkName = "regtest",
  isDeveloper = false,
): SignerState {
  return createSigner({
    secretFile: file,
    network: NETWORKS[network],
    isDeveloper,
    consent: YES,
  });
}

function ask(state: SignerState, message: Uint8Array) {
  return step(state, { peerId: NOBODY, dbid: 0n, message }, 0);
}

type Init = RequestOf<"init">;

function ready(changes: Partial<Init> = {}): SignerState {
  const { state } = ask(signerFor(), initFor(NETWORKS.regtest, changes));
  assert.equal(state.kind, "ready");
  return state;
}

function errorOf(reply: Uint8Array | null): { code: number; text: string } {
  assert.ok(reply !== null, "there is a reply");
  const { code, message } = decodeSignerError(reply);
  return { code, text: new TextDecoder().decode(message) };
}

/** Asserts a refusal that changes nothing, and returns its words. */
function refusal(state: SignerState, message: Uint8Array): string {
  const next = ask(state, message);
  assert.equal(next.state, state);
  const { code, text } = errorOf(next.reply);
  assert.ok(code === 400 || code === 403, text);
  return text;
}

Deno.test("before init everything else is refused", () => {
  for (const [name, row] of Object.entries(REQUESTS)) {
    if (["init", "dev_preinit", "client_hsmfd"].includes(name)) continue;
    const type = Uint8Array.of(row.type >> 8, row.type & 0xff);
    assert.match(refusal(signerFor(), type), /not initialised/, name);
  }
  const info = encodeMessage(SIGNER_MESSAGES.node_info, {});
  assert.match(refusal(signerFor(), info), /not initialised/);
});

Deno.test("a ping is answered at any time", () => {
  const ping = encodeMessage(SIGNER_MESSAGES.ping, {
    id: 7,
    message: new TextEncoder().encode("hello"),
  });
  for (const state of [signerFor(), ready()]) {
    const { reply } = ask(state, ping);
    assert.ok(reply !== null);
    const pong = decodeMessage(SIGNER_MESSAGES.pong, reply);
    assert.equal(pong.id, 7);
    assert.equal(new TextDecoder().decode(pong.message), "pong");
  }
});

Deno.test("node info says who the node is", () => {
  const info = encodeMessage(SIGNER_MESSAGES.node_info, {});
  const { reply } = ask(ready(), info);
  assert.ok(reply !== null);
  const found = decodeMessage(SIGNER_MESSAGES.node_info_reply, reply);
  assert.equal(new TextDecoder().decode(found.network), "regtest");
  assert.equal(found.nodeId.toHex(), NODE_KEYS.S1[1]);
});

Deno.test("what is not a request is refused by its number", () => {
  const state = ready();
  for (const type of [0, 42, 100, 114, 138, 3000, 65535]) {
    const message = Uint8Array.of(type >> 8, type & 0xff);
    assert.match(refusal(state, message), /not a request/);
  }
  assert.match(refusal(state, new Uint8Array()), /not a request/);
  assert.match(refusal(state, new Uint8Array(1)), /not a request/);
});

Deno.test("a signer hands out no connection", () => {
  const id = NOBODY;
  const message = encodeMessage(REQUESTS.client_hsmfd, {
    id,
    dbid: 0n,
    permissions: 1n,
  });
  for (const state of [signerFor(), ready()]) refusal(state, message);
});

// ------------------------------------------------------------------- init

Deno.test("init may come again and is answered again", () => {
  const first = ask(signerFor(), initFor());
  const again = ask(first.state, initFor());
  assert.deepEqual(again.reply, first.reply);
  const pinned = initFor(NETWORKS.regtest, { hsmWireMinVersion: 6 });
  assert.deepEqual(ask(again.state, pinned).reply, first.reply);
});

Deno.test("init for another network names both", () => {
  const wrong = { ...NETWORKS.regtest, bip32: NETWORKS.bitcoin.bip32 };
  const text = refusal(signerFor(), initFor(NETWORKS.bitcoin));
  assert.match(text, /network bitcoin.*set up for regtest/);
  refusal(signerFor(), initFor(wrong));
  const chainparams = asBranded<Init["chainparams"]>(new Uint8Array(32));
  const unknown = initFor(NETWORKS.regtest, { chainparams });
  assert.match(refusal(signerFor(), unknown), /network unknown/);
});

const versions: [number, number, number | null][] = [
  [5, 6, 6],
  [5, 5, 5],
  [1, 4, 4],
  [6, 99, 6],
  [0, 3, null],
  [7, 9, null],
];

for (const [least, most, wanted] of versions) {
  Deno.test(`a node of versions ${least} to ${most} gets ${wanted}`, () => {
    const message = initFor(NETWORKS.regtest, {
      hsmWireMinVersion: least,
      hsmWireMaxVersion: most,
    });
    if (wanted === null) {
      refusal(signerFor(), message);
      return;
    }
    const { reply } = ask(signerFor(), message);
    assert.ok(reply !== null);
    assert.equal(
      decodeMessage(REPLIES.init_reply_v4, reply).hsmVersion,
      wanted,
    );
  });
}

const forced: Partial<Init>[] = [
  { devForcePrivkey: asBranded(new Uint8Array(32).fill(1)) },
  { devForceBip32Seed: asBranded(new Uint8Array(32).fill(1)) },
  { devForceChannelSecrets: new Uint8Array(160).fill(1) },
  { devForceChannelSecretsShaseed: asBranded(new Uint8Array(32).fill(1)) },
];

for (const changes of forced) {
  const [name] = Object.keys(changes);
  Deno.test(`${name} is for tests, or for developers`, () => {
    const main = NETWORKS.bitcoin;
    assert.match(
      refusal(signerFor(FILES.S1, "bitcoin"), initFor(main, changes)),
      /developer mode/,
    );
    const developer = signerFor(FILES.S1, "bitcoin", true);
    assert.equal(ask(developer, initFor(main, changes)).state.kind, "ready");
    assert.equal(ready(changes).kind, "ready");
  });
}

Deno.test("a secret that cannot be opened leaves the signer as it was", () => {
  const state = signerFor(FILES.W1);
  const next = ask(state, initFor());
  assert.equal(next.state, state);
  assert.ok(next.reply !== null);
  const failure = decodeMessage(REPLIES.init_reply_failure, next.reply);
  assert.equal(failure.errorCode, 1);
  const hsmPassphrase = PASSPHRASE;
  const right = initFor(NETWORKS.regtest, { tlvs: { hsmPassphrase } });
  assert.equal(ask(next.state, right).state.kind, "ready");
});

Deno.test("an old release opens an encrypted file by its key", () => {
  const hsmEncryptionKey = asBranded<NonNullable<Init["hsmEncryptionKey"]>>(
    E1_KEY,
  );
  const message = initFor(NETWORKS.regtest, { hsmEncryptionKey });
  const { reply } = ask(signerFor(FILES.E1), message);
  assert.ok(reply !== null);
  const { nodeId, tlvs } = decodeMessage(REPLIES.init_reply_v4, reply);
  assert.equal(nodeId.toHex(), NODE_KEYS.S1[1]);
  assert.equal(tlvs.hsmSecretType, 1);
});

Deno.test("the node key is known before init when no passphrase is needed", () => {
  const keyOf = (state: SignerState) => nodeKeyOf(state)?.reveal().toHex();
  assert.equal(keyOf(signerFor()), NODE_KEYS.S1[0]);
  assert.equal(keyOf(signerFor(FILES.M1)), NODE_KEYS.M1[0]);
  assert.equal(keyOf(signerFor(FILES.W1)), undefined);
  assert.equal(keyOf(signerFor(new Uint8Array(3))), undefined);
  assert.equal(keyOf(ready()), NODE_KEYS.S1[0]);
});

// --------------------------------------------------------------- switches

function preinit(tlvs: RequestOf<"dev_preinit">["tlvs"]): SignerState {
  const message = encodeMessage(REQUESTS.dev_preinit, { tlvs });
  const next = ask(signerFor(), message);
  assert.equal(next.reply, null);
  return ask(next.state, initFor()).state;
}

Deno.test("a signer can be made not to announce preapproval checks", () => {
  const message = encodeMessage(REQUESTS.dev_preinit, {
    tlvs: { noPreapproveCheck: true },
  });
  const { reply } = ask(ask(signerFor(), message).state, initFor());
  assert.ok(reply !== null);
  const found = decodeMessage(REPLIES.init_reply_v4, reply).hsmCapabilities;
  assert.deepEqual(found, [28, 56, 142, 147, 149, 29, 32, 34, 40, 41, 45]);
});

Deno.test("preapproval says yes, or no when it is told to, and is logged", () => {
  const invstring = new TextEncoder().encode("lnbc1");
  const check = (checkOnly: boolean) =>
    encodeMessage(REQUESTS.preapprove_invoice_check, { invstring, checkOnly });
  const keysend = encodeMessage(REQUESTS.preapprove_keysend, {
    destination: NOBODY,
    paymentHash: asBranded(new Uint8Array(32)),
    amountMsat: 1n as RequestOf<"preapprove_keysend">["amountMsat"],
  });
  for (const failPreapprove of [false, true]) {
    const state = preinit({ failPreapprove });
    const yes = failPreapprove ? "00" : "01";
    const answers = [check(true), check(false), keysend]
      .map((message) => ask(state, message));
    assert.deepEqual(
      answers.map(({ reply }) => reply?.toHex()),
      [`008a${yes}`, `008a${yes}`, `008b${yes}`],
    );
    assert.deepEqual(answers.flatMap(({ effects }) => effects), [
      { kind: "log", level: "debug", text: "preapprove_invoice: check_only=1" },
      { kind: "log", level: "debug", text: "preapprove_invoice: check_only=0" },
      { kind: "log", level: "debug", text: "preapprove_keysend: check_only=0" },
    ]);
  }
});

/** A recorded request of a type, with what its signer needs to know. */
function recorded(type: number, at = 0) {
  for (const url of recordingsIn("flows")) {
    const events = readEvents(url);
    const secret = events.find(({ kind }) => kind === "secret");
    const requests = events.filter((event) =>
      event.kind === "request" && event.type === type
    );
    const request = requests[at];
    if (secret?.kind !== "secret" || request?.kind !== "request") continue;
    return { file: secret.file, message: request.bytes };
  }
  return assert.fail(`no recorded request of type ${type}`);
}

/** A coin of ours that a peer's close left us; its wallet knows no script. */
const CLOSE_UTXO = {
  outpoint: { txid: asBranded(new Uint8Array(32).fill(4)), index: 0 },
  amount: 100_500n,
  keyindex: 0,
  legacyP2sh: false,
  scriptPubkey: new Uint8Array(),
  closeInfo: {
    channelDbid: 1n,
    peerId: NOBODY,
    commitmentPoint: null,
    optionAnchors: true,
    csv: 1,
  },
  legacyCoinbase: false,
} as RequestOf<"sign_withdrawal">["inputs"][number];

/** A PSBT that spends it and pays 100,000 satoshi, less a few. */
function closePsbt(less = 0): Uint8Array {
  const psbt = hex(
    "70736274ff0100520200000001" + "04".repeat(32) + "0000000000ffffffff" +
      "01a086010000000000160014" + "05".repeat(20) + "00000000" + "000000",
  );
  const at = psbt.findIndex((byte, i) => byte === 0xa0 && psbt[i + 1] === 0x86);
  const view = new DataView(psbt.buffer);
  view.setUint32(at, 100_000 - less, true);
  return psbt;
}

Deno.test("short signatures are reported when somebody asked for it", () => {
  const tlvs = { warnOnOvergrind: true };
  const message = encodeMessage(REQUESTS.dev_preinit, { tlvs });
  const state = ask(ask(signerFor(), message).state, initFor()).state;
  const texts = new Set<string>();
  // Once in 256 a ground signature is a byte shorter: some amount has one.
  for (let less = 0; less < 2000 && texts.size === 0; less++) {
    const request = encodeMessage(REQUESTS.sign_withdrawal, {
      inputs: [CLOSE_UTXO],
      psbt: closePsbt(less),
    });
    for (const effect of ask(state, request).effects) {
      if (effect.kind !== "log" || effect.level !== "broken") continue;
      texts.add(effect.text);
      const quiet = ask(ready(), request).effects;
      assert.ok(
        quiet.every((each) => each.kind === "log" && each.level === "debug"),
      );
    }
  }
  assert.match(
    [...texts].join(),
    /^overgrind: short signature length (70|69)$/,
  );
});

Deno.test("an output of a close is signed for and logged", () => {
  const utxo = CLOSE_UTXO;
  const psbt = closePsbt();
  const message = encodeMessage(REQUESTS.sign_withdrawal, {
    inputs: [utxo],
    psbt,
  });
  const { reply, effects } = ask(ready(), message);
  assert.ok(reply !== null);
  decodeMessage(REPLIES.sign_withdrawal_reply, reply);
  assert.deepEqual(effects, [{
    kind: "log",
    level: "debug",
    text: "Unilateral close output, deriving secrets",
  }]);
  const longer = encodeMessage(REQUESTS.sign_withdrawal, {
    inputs: [{
      ...utxo,
      closeInfo: utxo.closeInfo && { ...utxo.closeInfo, csv: 0x8000 },
    }],
    psbt,
  });
  assert.match(refusal(ready(), longer), /delay 32768/);
});

// ----------------------------------------------------------------- checks

const DBID = 1n;
const TX = { tx: hex("00"), psbt: hex("00") };

/** Requests with a point off the curve; the rest of each is well formed. */
const offCurve: { [K in RequestName]?: RequestOf<K> } = {
  ecdh_req: { point: OFF_CURVE },
  check_pubkey: { index: 0, pubkey: OFF_CURVE },
  check_bip86_pubkey: { index: 0, pubkey: OFF_CURVE },
  sign_mutual_close_tx: { tx: TX, remoteFundingKey: OFF_CURVE },
  get_output_scriptpubkey: {
    channelId: DBID,
    peerId: NOBODY,
    commitmentPoint: OFF_CURVE,
  },
  sign_option_will_fund_offer: {
    fundingPubkey: OFF_CURVE,
    blockheight: 0,
    channelFeeBaseMaxMsat: 0,
    channelFeeProportionalBasisMax: 0,
  },
  setup_channel: {
    isOutbound: true,
    channelValue: 1n as RequestOf<"setup_channel">["channelValue"],
    pushValue: 0n as RequestOf<"setup_channel">["pushValue"],
    fundingTxid: asBranded(new Uint8Array(32)),
    fundingTxout: 0,
    localToSelfDelay: 6,
    localShutdownScript: new Uint8Array(),
    localShutdownWalletIndex: null,
    remoteBasepoints: {
      revocation: POINT,
      payment: POINT,
      htlc: POINT,
      delayedPayment: OFF_CURVE,
    },
    remoteFundingPubkey: POINT,
    remoteToSelfDelay: 6,
    remoteShutdownScript: new Uint8Array(),
    channelType: hex("1000"),
  },
};

for (const [name, request] of Object.entries(offCurve)) {
  Deno.test(`${name} with a point off the curve is refused`, () => {
    const row = REQUESTS[name as "ecdh_req"];
    const message = encodeMessage(row, request as RequestOf<"ecdh_req">);
    const text = refusal(ready(), message);
    assert.match(text, new RegExp(`${name}\\..*not a point of the curve`));
  });
}

const gossip: [string, RequestName, string][] = [
  ["a short channel_announcement", "cannouncement_sig_req", "0100"],
  [
    "a node_announcement as a channel_announcement",
    "cannouncement_sig_req",
    "0101" + "00".repeat(300),
  ],
  ["a short node_announcement", "node_announcement_sig_req", "0101" + "00"],
  ["an empty node_announcement", "node_announcement_sig_req", ""],
  [
    "a channel_update without its last field",
    "cupdate_sig_req",
    "0102" + "00".repeat(135),
  ],
];

for (const [what, name, body] of gossip) {
  Deno.test(`${what} is refused`, () => {
    const { type } = REQUESTS[name];
    const length = body.length / 2;
    const message = Uint8Array.of(
      type >> 8,
      type & 0xff,
      length >> 8,
      length & 0xff,
      ...hex(body),
    );
    assert.match(refusal(ready(), message), /Cannot sign gossip/);
  });
}

Deno.test("wallet keys that differ are said to differ", () => {
  const point = asBranded<PubKey>(hex(WALLETS.S1.point1));
  const check = (index: number, pubkey: PubKey) =>
    encodeMessage(REQUESTS.check_pubkey, { index, pubkey });
  const state = ready();
  assert.equal(ask(state, check(1, point)).reply?.toHex(), "008001");
  assert.equal(ask(state, check(2, point)).reply?.toHex(), "008000");
  refusal(state, check(2 ** 31, point));
  const bip86 = encodeMessage(REQUESTS.check_bip86_pubkey, {
    index: 0,
    pubkey: point,
  });
  assert.match(refusal(state, bip86), /no mnemonic/);
});

Deno.test("commitment numbers beyond the last are refused", () => {
  const state = ready();
  const n = 2n ** 48n;
  const messages = [
    encodeMessage(REQUESTS.get_per_commitment_point, { n }),
    encodeMessage(REQUESTS.revoke_commitment_tx, { commitNum: n - 1n }),
    encodeMessage(REQUESTS.check_future_secret, {
      n,
      commitmentSecret: asBranded(new Uint8Array(32)),
    }),
  ];
  for (const message of messages) refusal(state, message);
});

Deno.test("a penalty with a secret that is no key is refused", () => {
  const message = encodeMessage(REQUESTS.sign_penalty_to_us, {
    revocationSecret: asBranded(new Uint8Array(32)),
    tx: decodeMessage(
      REQUESTS.sign_penalty_to_us,
      recorded(REQUESTS.sign_penalty_to_us.type).message,
    ).tx,
    wscript: new Uint8Array(),
  });
  assert.match(refusal(ready(), message), /private key/);
});

Deno.test("a transaction input that is not the only one is refused", () => {
  const row = REQUESTS.sign_any_penalty_to_us;
  const request = decodeMessage(row, recorded(row.type).message);
  const message = encodeMessage(row, { ...request, input: 1 });
  assert.match(refusal(ready(), message), /input 1 of 1/);
});

Deno.test("a splice input that the PSBT does not have is refused", () => {
  const row = REQUESTS.sign_splice_tx;
  const request = decodeMessage(row, recorded(row.type).message);
  const message = encodeMessage(row, { ...request, inputIndex: 1000 });
  assert.match(refusal(ready(), message), /does not know channel/);
});

Deno.test("a step changes neither the state it is given nor the request", () => {
  const state = ready();
  const { message } = recorded(REQUESTS.cupdate_sig_req.type);
  const before = message.toHex();
  const first = ask(state, message);
  assert.equal(message.toHex(), before);
  assert.deepEqual(ask(state, message).reply, first.reply);
  assert.equal(first.state, state);
  assert.notEqual(
    first.reply?.toHex().slice(0, 4),
    SIGNER_ERROR_TYPE.toString(16),
  );
});
