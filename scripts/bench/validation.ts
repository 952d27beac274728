/**
 * What saying no costs: the device's desk with a card on the disk, beside a
 * signer that only decodes, derives and signs; both in one run, request by
 * request, so that a machine that slows down slows both.
 *
 *     deno run -A scripts/bench/validation.ts
 *
 * Both sides of the channels are played here; the peer's work and what the desk
 * does ahead, while the line is idle, are not in a request's time. What is done
 * ahead has a line of its own.
 *
 * @module
 */

import { setImmediate } from "node:timers/promises";
import { redeem2of2 } from "../../src/bitcoin/script.ts";
import { hashSegwitV0 } from "../../src/bitcoin/sighash.ts";
import { signGround } from "../../src/bitcoin/sign.ts";
import { publicKeyOf } from "../../src/bitcoin/keys.ts";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { spentOutput } from "../../src/bitcoin/psbt.ts";
import { publicKey, useFastCurve } from "../../src/crypto/secp.ts";
import { loadFastCurve } from "../../src/crypto/secp_wasm.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { CONSENTER } from "../../src/device/approver.ts";
import { openCardStore, readCardState } from "../../src/device/card_state.ts";
import { Desk } from "../../src/device/desk.ts";
import { deriveChannelKeys } from "../../src/keyderiv/channel.ts";
import { perCommitmentSecret } from "../../src/lightning/shachain.ts";
import { createSigner, prepare, step } from "../../src/signer/handle.ts";
import type { ReadyState, SignerInput } from "../../src/signer/state.ts";
import { readBitcoinTx } from "../../src/signer/transaction.ts";
import type { SqliteStore } from "../../src/store/sqlite.ts";
import { REPLIES, REQUESTS } from "../../src/wire/hsmd.ts";
import {
  decodeMessage,
  encodeMessage,
  messageType,
} from "../../src/wire/message.ts";
import {
  type Msat,
  NOBODY,
  type NodeId,
  type Sat,
  type Sha256,
  SIGHASH_ALL,
  type Txid,
} from "../../src/wire/types.ts";
import { decodeSignerError, SIGNER_ERROR_TYPE } from "../../src/wire/vls.ts";
import {
  channelOf,
  commitOf,
  type Content,
  countersign,
  type Funding,
  newChannel,
  type Pair,
  pointOf,
  revoke,
  setupChannel,
  signRemote,
  signRemoteHtlcs,
  validate,
  validateRevocation,
} from "../../tests/support/peers.ts";
import { believing } from "../../tests/support/believed.ts";
import { ms, percentile } from "../../tests/support/stats.ts";
import { initFor } from "../../tests/support/init.ts";

const WARM_UP = 100;
const ROUNDS = 400;
const MANY = 1000;
/** BOLT 2: most HTLCs that a side may offer. */
const HTLCS = 483;
const VALUE = 100_000_000n;
const HTLC_MSAT = 10_000_000n;
const FEERATE = 1000;

/** What the bars are. */
const BARS = { addedMs: 1, fullMs: 2000 } as const;

/** Milliseconds of one request. */
interface Spent {
  rules: number;
  card: number;
}

/** A device on a card of its own. */
interface Device extends AsyncDisposable {
  readonly desk: Desk;
  readonly store: SqliteStore;
  /** Where the time of the last request went. */
  readonly spent: Spent;
  readonly state: ReadyState;
}

/** A channel as far as it has come: both sides are at number - 1. */
interface Line {
  readonly pair: Pair;
  readonly funding: Funding;
  number: bigint;
}

// Amounts in their unit.
const msat = (value: bigint) => value as Msat;
const sat = (value: bigint) => value as Sat;

async function openDevice(seed: number): Promise<Device> {
  const folder = await Deno.makeTempDir({ prefix: "remote-hsmd-bench-" });
  const store = openCardStore(folder);
  const network = NETWORKS.regtest;
  const state = readCardState(store, network);
  const signer = createSigner({
    ...state,
    policy: believing(state.policy),
    secretFile: new Uint8Array(32).fill(seed),
    network,
    isDeveloper: false,
    consent: { mode: "always", granted: new Set(), declined: new Set() },
  });
  const now = Date.now;
  const say = () => {};
  const approver = CONSENTER;
  const spent: Spent = { rules: 0, card: 0 };
  const desk = new Desk({
    ...state,
    signer,
    standing: null,
    approver,
    say,
    now,
    step(...request) {
      const start = performance.now();
      const result = step(...request);
      spent.rules = performance.now() - start;
      return result;
    },
    store: {
      head: store.head,
      ledger: store.ledger,
      isCertain: true,
      load: () => store.load(),
      close: () => store.close(),
      commit(changes, lines) {
        spent.card = measure(() => store.commit(changes, lines));
      },
    },
  });
  const message = initFor(network);
  await ask(desk, { peerId: NOBODY, dbid: 0n, message });
  if (desk.state.kind !== "ready") throw new Error("Cannot start the signer");
  return {
    desk,
    store,
    spent,
    state: desk.state,
    async [Symbol.asyncDispose]() {
      store.close();
      await Deno.remove(folder, { recursive: true });
    },
  };
}

/** Asks, and fails on a refusal. */
async function ask(desk: Desk, input: SignerInput): Promise<Uint8Array> {
  const { reply } = await desk.serve(input);
  if (reply !== null && messageType(reply) !== SIGNER_ERROR_TYPE) return reply;
  const { message } = reply === null ? input : decodeSignerError(reply);
  throw new Error(`Cannot go on: ${new TextDecoder().decode(message)}`);
}

/** The same, with its time; what is done ahead comes after, on its own. */
async function timed(desk: Desk, input: SignerInput): Promise<number> {
  const start = performance.now();
  await ask(desk, input);
  const time = performance.now() - start;
  await setImmediate();
  return time;
}

/** Decodes, derives, signs, encodes: all that a signer that trusts has to do. */
function trust(state: ReadyState, input: SignerInput): Uint8Array {
  const { message } = input;
  const keys = state.channels.keysOf(input);
  if (messageType(message) === REQUESTS.validate_commitment_tx.type) {
    const row = REQUESTS.validate_commitment_tx;
    const { commitNum } = decodeMessage(row, message);
    return encodeMessage(REPLIES.validate_commitment_tx_reply, {
      oldCommitmentSecret: null,
      nextPerCommitmentPoint: publicKeyOf(
        perCommitmentSecret(keys.shaseed, commitNum + 1n),
      ),
    });
  }
  const row = REQUESTS.sign_remote_commitment_tx;
  const { tx: both, remoteFundingKey } = decodeMessage(row, message);
  const { tx, psbt } = readBitcoinTx(both);
  const [first] = psbt.inputs;
  const spent = first && spentOutput(first);
  if (!spent) throw new Error("No amount in the PSBT");
  const digest = hashSegwitV0(tx, {
    index: 0,
    script: redeem2of2(keys.funding.point, remoteFundingKey),
    amount: spent.amount,
    sighash: SIGHASH_ALL,
  });
  const signature = signGround(digest, keys.funding.secret);
  return encodeMessage(REPLIES.sign_tx_reply, {
    sig: { signature, sighash: SIGHASH_ALL },
  });
}

function numbered(seed: number, n: number): Uint8Array {
  const bytes = new Uint8Array(32).fill(seed);
  new DataView(bytes.buffer).setUint32(0, n);
  return bytes;
}

/** A channel with its first commitments, of a peer of its own. */
async function openLine({ desk, state }: Device, n: number): Promise<Line> {
  const peer = publicKey(numbered(7, n)) as NodeId;
  const dbid = BigInt(n);
  const ours = state.channels.keysOf({ peerId: peer, dbid });
  const theirs = deriveChannelKeys(new Secret(numbered(8, n)), {
    peerId: state.identity.nodeId,
    dbid,
  });
  const pair: Pair = {
    nodes: [state.identity.nodeId, peer],
    keys: [ours, theirs],
    dbid,
    opener: 0,
    hasAnchors: true,
    pushed: VALUE / 2n,
  };
  const funding: Funding = {
    outpoint: { txid: numbered(9, n) as Txid, index: 0 },
    value: sat(VALUE),
    delta: [0n, 0n],
  };
  await ask(desk, newChannel(pair, 0));
  await ask(desk, setupChannel(pair, 0, funding));
  const line: Line = { pair, funding, number: 0n };
  const content = contentOf([]);
  const mine = commitOf(pair, 0, 0n, funding, content);
  const his = commitOf(pair, 1, 0n, funding, content);
  await ask(desk, signRemote(pair, 0, his));
  await ask(desk, validate(pair, mine, countersign(pair, mine)));
  line.number = 1n;
  return line;
}

function contentOf(htlcs: Content["htlcs"]): Content {
  const offered = (side: 0 | 1) =>
    htlcs.filter(({ by }) => by === side)
      .reduce((total, { amount }) => total + amount, 0n);
  const half = VALUE * 500n;
  const balances = [half - offered(0), half - offered(1)] as const;
  return { balances, htlcs, feerate: FEERATE };
}

/** Times of one update of a channel, in milliseconds. */
interface UpdateTimes {
  readonly sign: number;
  readonly validate: number;
  readonly trustSign: number;
  readonly trustValidate: number;
  readonly ahead: number;
  readonly signSpent: Spent;
  readonly validateSpent: Spent;
}

/** Both sides go one commitment on, without HTLCs. */
async function update(device: Device, line: Line): Promise<UpdateTimes> {
  const { desk, state, spent } = device;
  const { pair, funding, number } = line;
  const content = contentOf([]);
  const his = signRemote(pair, 0, commitOf(pair, 1, number, funding, content));
  const commit = commitOf(pair, 0, number, funding, content);
  const mine = validate(pair, commit, countersign(pair, commit));
  const trustSign = measure(() => trust(state, his));
  const sign = await timed(desk, his);
  const signSpent = { ...spent };
  const trustValidate = measure(() => trust(state, mine));
  const validated = await timed(desk, mine);
  const validateSpent = { ...spent };
  // What setImmediate did a moment ago, once more, for a number not yet known.
  const ahead = measure(() =>
    prepare(desk.state, {
      kind: "prepare",
      channel: channelOf(pair, 0),
      number: number + 2n,
    })
  );
  await ask(desk, revoke(pair, 0, number - 1n));
  const { secret } = pointOf(pair, 1, number - 1n);
  await ask(
    desk,
    validateRevocation(pair, 0, number - 1n, secretBytes(secret)),
  );
  await setImmediate();
  line.number += 1n;
  return {
    sign,
    validate: validated,
    trustSign,
    trustValidate,
    ahead,
    signSpent,
    validateSpent,
  };
}

type Revealed = Parameters<typeof validateRevocation>[3];

/** The peer tells it, so it is one no more. */
function secretBytes(secret: Secret): Revealed {
  return new Uint8Array(secret.reveal()) as Uint8Array as Revealed;
}

function measure(work: () => unknown): number {
  const start = performance.now();
  work();
  return performance.now() - start;
}

const median = (sample: readonly number[]) => percentile(sample, 0.5);

/** One row: with validation and card, without both, and what that adds. */
function row(
  name: string,
  found: readonly number[],
  baseline: readonly number[],
): number {
  const added = found.map((value, i) => value - (baseline[i] ?? 0));
  const ratio = median(found) / median(baseline);
  console.log(
    `${name.padEnd(32)} ${ms(median(found))} ${ms(percentile(found, 0.99))}` +
      `    ${ms(median(baseline))}    ${ms(percentile(added, 0.1))}` +
      ` ${ms(median(added))} ${ms(ratio)}`,
  );
  return median(added);
}

function verdict(what: string, found: number, bar: number): void {
  const isMet = found <= bar;
  console.log(
    `${what}: ${found.toFixed(2)} ms, bar ${bar} ms: ${
      isMet ? "met" : "MISSED"
    }`,
  );
}

async function measureUpdates(): Promise<void> {
  await using device = await openDevice(1);
  const line = await openLine(device, 1);
  for (let i = 0; i < WARM_UP; i++) await update(device, line);
  const times: UpdateTimes[] = [];
  for (let i = 0; i < ROUNDS; i++) times.push(await update(device, line));
  const all = (pick: (times: UpdateTimes) => number) => times.map(pick);
  console.log(
    "\na commitment without HTLCs, ms   desk p50      p99   trust p50" +
      "   added p10      p50    ratio",
  );
  const added = [
    row(
      "sign_remote_commitment_tx",
      all(({ sign }) => sign),
      all(({ trustSign }) => trustSign),
    ),
    row(
      "validate_commitment_tx",
      all(({ validate }) => validate),
      all(({ trustValidate }) => trustValidate),
    ),
  ];
  const parts = (pick: (times: UpdateTimes) => Spent) => {
    const rules = median(times.map((time) => pick(time).rules)).toFixed(2);
    const card = median(times.map((time) => pick(time).card)).toFixed(2);
    return `rules and signature ${rules}, card ${card}`;
  };
  console.log(`p50 of the parts: sign ${parts(({ signSpent }) => signSpent)};`);
  console.log(
    `  validate ${parts(({ validateSpent }) => validateSpent)}; ` +
      `done ahead, after a reply, ${
        median(all(({ ahead }) => ahead)).toFixed(2)
      }`,
  );
  verdict("added to a commitment, the worse", Math.max(...added), BARS.addedMs);
}

async function measureFull(): Promise<void> {
  const totals: number[] = [];
  for (let run = 0; run < 3; run++) {
    await using device = await openDevice(2);
    const line = await openLine(device, 1);
    await update(device, line);
    totals.push(await fullCommitment(device, line, run === 2));
  }
  verdict(
    `${HTLCS} HTLCs each way, 19 and ${2 * HTLCS} of 20 and 35, best of 3`,
    Math.min(...totals),
    BARS.fullMs,
  );
}

async function fullCommitment(
  { desk }: Device,
  { pair, funding, number }: Line,
  isShown: boolean,
): Promise<number> {
  const htlcs = Array.from({ length: 2 * HTLCS }, (_, i) => ({
    by: (i % 2) as 0 | 1,
    amount: msat(HTLC_MSAT),
    paymentHash: numbered(10, i) as Sha256,
    cltvExpiry: 800_000 + i,
  }));
  const content = contentOf(htlcs);
  const his = commitOf(pair, 1, number, funding, content);
  const mine = commitOf(pair, 0, number, funding, content);
  const signing = signRemote(pair, 0, his);
  const spends = signRemoteHtlcs(pair, 0, his);
  const validating = validate(pair, mine, countersign(pair, mine));
  const sign = await timed(desk, signing);
  const each: number[] = [];
  for (const spend of spends) each.push(await timed(desk, spend));
  const all = each.reduce((total, time) => total + time, 0);
  const valid = await timed(desk, validating);
  if (isShown) {
    console.log(
      `\n${HTLCS} HTLCs each way: sign_remote_commitment_tx ${
        sign.toFixed(0)
      } ms, ${each.length} sign_remote_htlc_tx ${all.toFixed(0)} ms ` +
        `(p50 ${median(each).toFixed(2)}), validate_commitment_tx ${
          valid.toFixed(0)
        } ms`,
    );
  }
  return sign + all + valid;
}

async function measureMany(): Promise<void> {
  await using one = await openDevice(3);
  await using many = await openDevice(4);
  const single = await openLine(one, 1);
  const lines: Line[] = [];
  for (let n = 1; n <= MANY; n++) lines.push(await openLine(many, n));
  const found: UpdateTimes[] = [];
  const baseline: UpdateTimes[] = [];
  for (let i = 0; i < WARM_UP + ROUNDS; i++) {
    // Each in turn, so that the next is never the one that was just used.
    const line = lines[(i * 37) % MANY];
    if (line === undefined) continue;
    const times = [
      await update(many, line),
      await update(one, single),
    ] as const;
    if (i < WARM_UP) continue;
    found.push(times[0]);
    baseline.push(times[1]);
  }
  console.log(
    `\n${MANY} channels on the card, ms      ${MANY} p50      p99` +
      "       1 p50   added p10      p50    ratio",
  );
  const pick = (name: "sign" | "validate") => (times: UpdateTimes) =>
    times[name];
  row(
    "sign_remote_commitment_tx",
    found.map(pick("sign")),
    baseline.map(pick("sign")),
  );
  row(
    "validate_commitment_tx",
    found.map(pick("validate")),
    baseline.map(pick("validate")),
  );
}

/** Measures all three and prints them. */
export async function measureValidation(): Promise<void> {
  useFastCurve(await loadFastCurve());
  await measureUpdates();
  await measureFull();
  await measureMany();
}

if (import.meta.main) await measureValidation();
