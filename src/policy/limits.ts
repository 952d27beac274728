/**
 * The owner's limits: one row each, and the policy that they make together.
 *
 * What a rule compares with, what the owner is shown and what the card keeps are
 * the same record. The card keeps only what differs from the default, so that a
 * better default reaches everybody who did not choose.
 *
 * Defaults: VLS §4.2, but for the fee ceiling and what follows the fee reference
 * (a spike of fees must not stop a node), the loss allowance, and payments, whose
 * velocity is limited where coins are worth money.
 *
 * What it does not do: apply a limit; the rules do.
 *
 * @module
 */

import type { NetworkName } from "../bitcoin/networks.ts";
import { isPoint } from "../crypto/secp.ts";
import { DecodeError, describeError, UsageError } from "../errors.ts";
import type { Msat, Sat } from "../wire/types.ts";
import {
  type FilterEntry,
  formatFilterEntry,
  parseFilterEntry,
} from "./filter.ts";
import { UNLIMITED, type VelocityLimit } from "./velocity.ts";

/** Every limit that a rule reads. */
export interface Limits {
  readonly minDelay: number;
  readonly maxDelay: number;
  readonly maxChannelSizeSat: Sat;
  readonly epsilonSat: Sat;
  readonly maxHtlcs: number;
  readonly maxHtlcValueSat: Sat;
  readonly minFeeratePerKw: number;
  readonly maxFeeratePerKw: number;
  readonly hardMaxFeeratePerKw: number;
  readonly feeReferencePercent: number;
  readonly maxRoutingFeeMsat: Msat;
  readonly maxFeePercent: number;
  readonly cltvDelta: number;
  readonly maxChannels: number;
  readonly maxInvoices: number;
  readonly maxUnpaidLossSat: Sat;
  readonly velocity: VelocityLimit;
  readonly feeVelocity: VelocityLimit;
  readonly chain: "required" | "believed";
  readonly minFundingDepth: number;
  readonly zeroConf: "refuse" | "allow";
  readonly maxHtlcExpiry: number;
  readonly htlcAlarmBlocks: number;
  readonly blockProof: "auto" | "whole" | "filter";
  readonly oracles: Oracles;
  readonly maxReorg: number;
}

/** Who is asked what is in a block, besides the node. */
export interface Oracles {
  /** How many of them must agree. */
  readonly needed: number;
  /** Their public keys, 33 bytes each. */
  readonly keys: readonly Uint8Array[];
}

const NO_ORACLES: Oracles = { needed: 0, keys: [] };
/** Each attestation that a block brings costs a verification. */
const MOST_ORACLES = 32;

/** What the owner wants: limits, and which rules only warn. */
export interface Policy extends Limits {
  /** Whose defaults it starts from. */
  readonly network: NetworkName;
  readonly filter: readonly FilterEntry[];
}

/** How a value looks as text. */
interface Form<T> {
  /** For people: what a text has to be. */
  readonly wanted: string;
  /** Undefined for a text that is no value. */
  readonly parse: (text: string) => T | undefined;
  readonly format: (value: T) => string;
}

/** One limit. */
export interface LimitRow<T> extends Form<T> {
  /** As the owner types it. */
  readonly name: string;
  readonly unit: string;
  readonly defaults: { readonly mainnet: T; readonly test: T };
  readonly help: string;
}

type Field = keyof Limits;

/** A whole number in a range, written in digits alone. */
function parseWhole(
  text: string,
  [least, most]: readonly [bigint, bigint],
): bigint | undefined {
  if (!/^\d{1,20}$/.test(text)) return undefined;
  const value = BigInt(text);
  return value >= least && value <= most ? value : undefined;
}

const between = (least: bigint, most: bigint) =>
  `a whole number, ${least} to ${most}`;

function count(least: number, most: number): Form<number> {
  const range = [BigInt(least), BigInt(most)] as const;
  return {
    wanted: between(...range),
    parse: (text) => {
      const value = parseWhole(text, range);
      return value === undefined ? undefined : Number(value);
    },
    format: String,
  };
}

/** All bitcoins there will be, in satoshi. */
const MAX_SAT = 2_100_000_000_000_000n;
const MAX_MSAT = MAX_SAT * 1000n;

const SAT: Form<Sat> = {
  wanted: between(0n, MAX_SAT),
  // A number in range; the row has its unit.
  parse: (text) => parseWhole(text, [0n, MAX_SAT]) as Sat | undefined,
  format: String,
};

const MSAT: Form<Msat> = {
  wanted: between(0n, MAX_MSAT),
  // A number in range; the row has its unit.
  parse: (text) => parseWhole(text, [0n, MAX_MSAT]) as Msat | undefined,
  format: String,
};

const VELOCITY: Form<VelocityLimit> = {
  wanted: `hour:N, day:N or unlimited, N millisatoshi up to ${MAX_MSAT}`,
  parse: (text) => {
    if (text === "unlimited") return UNLIMITED;
    const [, kind, digits = ""] = /^(hour|day):(.*)$/.exec(text) ?? [];
    const limit = MSAT.parse(digits);
    if (limit === undefined) return undefined;
    return { kind: kind === "hour" ? "hour" : "day", limit };
  },
  format: ({ kind, limit }) => kind === "unlimited" ? kind : `${kind}:${limit}`,
};

function word<const W extends string>(...words: readonly W[]): Form<W> {
  return {
    wanted: words.join(" or "),
    parse: (text) => words.find((word) => word === text),
    format: String,
  };
}

/** Public keys of 33 bytes in hex, and how many of them must agree. */
const ORACLES: Form<Oracles> = {
  wanted: "none, or N:KEY,KEY and so on: N of the keys must agree, each a " +
    "different public key of 33 bytes in hex",
  parse: (text) => {
    if (text === "none") return NO_ORACLES;
    const [, digits = "", list = ""] = /^(\d{1,2}):(.+)$/.exec(text) ?? [];
    const keys = list.split(",").map(parsePoint);
    const needed = Number(digits);
    const known = keys.filter((key) => key !== undefined);
    const different = new Set(known.map((key) => key.toHex()));
    const isRight = different.size === keys.length && needed >= 1 &&
      needed <= keys.length && keys.length <= MOST_ORACLES;
    return isRight ? { needed, keys: known } : undefined;
  },
  format: ({ needed, keys }) =>
    keys.length === 0
      ? "none"
      : `${needed}:${keys.map((key) => key.toHex()).join(",")}`,
};

function parsePoint(text: string): Uint8Array | undefined {
  if (!/^0[23][0-9a-f]{64}$/.test(text)) return undefined;
  const key = Uint8Array.fromHex(text);
  return isPoint(key) ? key : undefined;
}

// Constants in their unit.
const sat = (value: bigint) => value as Sat;
const msat = (value: bigint) => value as Msat;
const both = <T>(value: T) => ({ mainnet: value, test: value });

const BLOCKS = count(1, 65_535);
const FEERATE = count(0, 100_000_000);

/** Every limit, by its field. */
export const LIMITS: { readonly [F in Field]: LimitRow<Limits[F]> } = {
  minDelay: {
    name: "min_delay",
    unit: "blocks",
    defaults: { mainnet: 144, test: 4 },
    help: "shortest delay on an output of a unilateral close, either side's",
    ...BLOCKS,
  },
  maxDelay: {
    name: "max_delay",
    unit: "blocks",
    defaults: both(2016),
    help: "longest delay on an output of a unilateral close, either side's",
    ...BLOCKS,
  },
  maxChannelSizeSat: {
    name: "max_channel_size_sat",
    unit: "sat",
    defaults: both(sat(1_000_000_001n)),
    help: "largest funding output of a channel",
    ...SAT,
  },
  epsilonSat: {
    name: "epsilon_sat",
    unit: "sat",
    defaults: both(sat(10_000n)),
    help: "how far a mutual close may be off from the last commitments",
    ...SAT,
  },
  maxHtlcs: {
    name: "max_htlcs",
    unit: "HTLCs",
    defaults: both(1000),
    help: "most HTLCs in one commitment, both directions together",
    ...count(0, 65_535),
  },
  maxHtlcValueSat: {
    name: "max_htlc_value_sat",
    unit: "sat",
    defaults: both(sat(16_777_216n)),
    help: "most value in HTLCs of one commitment",
    ...SAT,
  },
  minFeeratePerKw: {
    name: "min_feerate_per_kw",
    unit: "sat per 1000 weight",
    defaults: both(253),
    help: "lowest feerate of commitments, HTLC transactions and closes",
    ...FEERATE,
  },
  maxFeeratePerKw: {
    name: "max_feerate_per_kw",
    unit: "sat per 1000 weight",
    defaults: { mainnet: 25_000, test: 333_333 },
    help: "greatest feerate while the fee reference is low or not known",
    ...FEERATE,
  },
  hardMaxFeeratePerKw: {
    name: "hard_max_feerate_per_kw",
    unit: "sat per 1000 weight",
    defaults: { mainnet: 250_000, test: 1_000_000 },
    help: "greatest feerate whatever the fee reference says",
    ...FEERATE,
  },
  feeReferencePercent: {
    name: "fee_reference_percent",
    unit: "percent",
    defaults: both(400),
    help: "greatest feerate as a part of the fee reference, where that is " +
      "more than max_feerate_per_kw",
    ...count(0, 10_000),
  },
  maxRoutingFeeMsat: {
    name: "max_routing_fee_msat",
    unit: "msat",
    defaults: { mainnet: msat(10_000n), test: msat(222_000n) },
    help: "most routing fee of one payment",
    ...MSAT,
  },
  maxFeePercent: {
    name: "max_fee_percent",
    unit: "percent",
    defaults: both(10),
    help: "most routing fee of one payment as a part of its amount",
    ...count(0, 1000),
  },
  cltvDelta: {
    name: "cltv_delta",
    unit: "blocks",
    defaults: { mainnet: 34, test: 6 },
    help: "how much earlier a payment that is passed on has to expire",
    ...count(0, 65_535),
  },
  maxChannels: {
    name: "max_channels",
    unit: "channels",
    defaults: both(1000),
    help: "most channels at a time",
    ...count(0, 1_000_000),
  },
  maxInvoices: {
    name: "max_invoices",
    unit: "payments",
    defaults: both(1000),
    help: "most approved payments at a time",
    ...count(0, 1_000_000),
  },
  maxUnpaidLossSat: {
    name: "max_unpaid_loss_sat",
    unit: "sat",
    defaults: both(sat(50_000n)),
    help: "how much balance may go without a payment to show for it",
    ...SAT,
  },
  velocity: {
    name: "velocity",
    unit: "msat",
    defaults: {
      mainnet: { kind: "day", limit: msat(1_000_000_000n) },
      test: UNLIMITED,
    },
    help: "how much may be approved for payments in an hour or a day",
    ...VELOCITY,
  },
  feeVelocity: {
    name: "fee_velocity",
    unit: "msat",
    defaults: both({ kind: "day", limit: msat(1_000_000_000n) }),
    help: "how much wallet spends may pay in fees in an hour or a day",
    ...VELOCITY,
  },
  chain: {
    name: "chain",
    unit: "mode",
    defaults: both("required"),
    help: "required: the chain is what this device checked itself; believed: " +
      "it is what the node says",
    ...word("required", "believed"),
  },
  minFundingDepth: {
    name: "min_funding_depth",
    unit: "blocks",
    defaults: { mainnet: 3, test: 1 },
    help: "how deep a funding output is buried before the channel may use it",
    ...count(1, 100),
  },
  zeroConf: {
    name: "zero_conf",
    unit: "mode",
    defaults: both("refuse"),
    help: "whether a channel may be used before its funding output is in a " +
      "block, which the peer can then take back",
    ...word("refuse", "allow"),
  },
  maxHtlcExpiry: {
    name: "max_htlc_expiry",
    unit: "blocks",
    defaults: { mainnet: 2500, test: 65_535 },
    help: "how far above the chain an HTLC that we offer may expire",
    ...BLOCKS,
  },
  htlcAlarmBlocks: {
    name: "htlc_alarm_blocks",
    unit: "blocks",
    defaults: { mainnet: 12, test: 3 },
    help: "how near its expiry an HTLC is when the owner is warned that " +
      "nothing was done about it",
    ...count(1, 1000),
  },
  blockProof: {
    name: "block_proof",
    unit: "mode",
    defaults: both("auto"),
    help:
      "whole: every block is checked whole; filter: its filter is enough; " +
      "auto: whole unless oracles are set",
    ...word("auto", "whole", "filter"),
  },
  oracles: {
    name: "oracles",
    unit: "keys",
    defaults: both(NO_ORACLES),
    help: "who has to attest each block, and how many of them",
    ...ORACLES,
  },
  maxReorg: {
    name: "max_reorg",
    unit: "blocks",
    defaults: both(100),
    help: "most blocks that a reorganisation may take back",
    ...count(6, 1000),
  },
};

/** The limits' fields, in the order of the table. */
export const LIMIT_FIELDS: readonly Field[] = Object.keys(LIMITS)
  .filter((key): key is Field => Object.hasOwn(LIMITS, key));

const worthOf = (network: NetworkName) =>
  network === "bitcoin" ? "mainnet" : "test";

/** What holds where the owner has said nothing. */
export function defaultPolicy(network: NetworkName): Policy {
  const worth = worthOf(network);
  const limits = Object.fromEntries(
    LIMIT_FIELDS.map((field) => [field, LIMITS[field].defaults[worth]]),
  );
  // The type of LIMITS sees to it that each field has a row of its type.
  return { ...limits as unknown as Limits, network, filter: [] };
}

/** The field of a limit by the name that the owner types. */
function fieldOf(name: string): Field {
  const field = LIMIT_FIELDS.find((field) => LIMITS[field].name === name);
  if (field !== undefined) return field;
  const names = LIMIT_FIELDS.map((field) => LIMITS[field].name).join(", ");
  throw new UsageError(
    `Cannot set ${JSON.stringify(name)}: no such limit, want one of ${names}`,
  );
}

function parseField<F extends Field>(field: F, text: string): Limits[F] {
  const { name, parse, wanted }: LimitRow<Limits[F]> = LIMITS[field];
  const value = parse(text);
  if (value !== undefined) return value;
  throw new UsageError(
    `Cannot set ${name}: ${JSON.stringify(text)}, want ${wanted}`,
  );
}

/** The value that a text has for a limit. @throws {UsageError} for none */
export function parseLimit(name: string, text: string): Limits[Field] {
  return parseField(fieldOf(name), text);
}

/**
 * The policy with one limit changed.
 *
 * @throws {UsageError} for a name or value that cannot be, alone or beside the
 * other limits
 */
export function withLimit(policy: Policy, name: string, text: string): Policy {
  const changed = withText(policy, name, text);
  checkLimits(changed);
  return changed;
}

function withText(policy: Policy, name: string, text: string): Policy {
  const field = fieldOf(name);
  return { ...policy, [field]: parseField(field, text) };
}

/** Lower limits that have to stay at or below upper ones. */
const ORDERED: readonly (readonly [
  "minDelay" | "minFeeratePerKw" | "maxFeeratePerKw",
  "maxDelay" | "maxFeeratePerKw" | "hardMaxFeeratePerKw",
])[] = [
  ["minDelay", "maxDelay"],
  ["minFeeratePerKw", "maxFeeratePerKw"],
  ["maxFeeratePerKw", "hardMaxFeeratePerKw"],
];

function checkLimits(policy: Policy): void {
  for (const [low, high] of ORDERED) {
    if (policy[low] <= policy[high]) continue;
    const { name } = LIMITS[low];
    throw new UsageError(
      `Cannot set ${name} above ${LIMITS[high].name}: ${policy[low]}, ` +
        `want at most ${policy[high]}`,
    );
  }
}

/** The policy with another filter. @throws {UsageError} for a wrong entry */
export function withFilter(policy: Policy, texts: readonly string[]): Policy {
  return { ...policy, filter: texts.map(parseFilterEntry) };
}

/** One line about a limit. */
export interface LimitLine {
  readonly name: string;
  readonly value: string;
  readonly unit: string;
  readonly isDefault: boolean;
  readonly help: string;
}

/** Every limit as it is enforced. */
export function describePolicy(policy: Policy): readonly LimitLine[] {
  return LIMIT_FIELDS.map((field) => describeLimit(policy, field));
}

function describeLimit<F extends Field>(policy: Policy, field: F): LimitLine {
  const { name, unit, defaults, help, format }: LimitRow<Limits[F]> =
    LIMITS[field];
  const value = format(policy[field]);
  const isDefault = value === format(defaults[worthOf(policy.network)]);
  return { name, value, unit, isDefault, help };
}

/** The policy as a card keeps it: JSON, what is not the default, as text. */
export function encodePolicy(policy: Policy): Uint8Array {
  const chosen = describePolicy(policy).filter(({ isDefault }) => !isDefault);
  const limits = Object.fromEntries(
    chosen.map(({ name, value }) => [name, value]),
  );
  const filter = policy.filter.map(formatFilterEntry);
  return new TextEncoder().encode(JSON.stringify({ limits, filter }));
}

/**
 * Reads what {@link encodePolicy} wrote.
 *
 * @throws {DecodeError} saying which part cannot be used
 */
export function decodePolicy(bytes: Uint8Array, network: NetworkName): Policy {
  const { limits, filter } = readJson(bytes);
  try {
    const policy = Object.entries(limits).reduce(
      (policy, [name, text]) => withText(policy, name, text),
      withFilter(defaultPolicy(network), filter),
    );
    checkLimits(policy);
    return policy;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new DecodeError("policy", "", 0, describeError(error));
  }
}

interface Stored {
  readonly limits: Readonly<Record<string, string>>;
  readonly filter: readonly string[];
}

function readJson(bytes: Uint8Array): Stored {
  const value = parseJson(bytes);
  const isStored = isRecord(value) &&
    Object.keys(value).every((key) => key === "limits" || key === "filter");
  if (!isStored) damaged("", "want an object with limits and filter");
  const limits = value["limits"];
  if (!isRecord(limits) || !isTexts(Object.values(limits))) {
    damaged("limits", "want an object of texts");
  }
  const filter = value["filter"];
  if (!Array.isArray(filter) || !isTexts(filter)) {
    damaged("filter", "want a list of texts");
  }
  const texts = Object.entries(limits).map(([k, v]) => [k, String(v)]);
  return { limits: Object.fromEntries(texts), filter };
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    damaged("", `${describeError(error)}, want JSON`);
  }
}

function damaged(path: string, problem: string): never {
  throw new DecodeError("policy", path, 0, problem);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isTexts(values: readonly unknown[]): values is readonly string[] {
  return values.every((value) => typeof value === "string");
}

/** Seconds after which a fee reference says nothing of what is paid now. */
export const MAX_REFERENCE_AGE = 60 * 60;
/** Seconds that the clock of whoever gave it may be ahead of ours. */
export const MAX_REFERENCE_LEAD = 2 * 60 * 60;

/** A fee reference, as long as its time is near enough; null for none. */
export function currentReference(
  reference: {
    readonly feeratePerKw: number;
    /** Unix seconds. */
    readonly time: bigint;
  } | null,
  now: number,
): number | null {
  if (reference === null) return null;
  const age = BigInt(now) - reference.time;
  const isCurrent = age <= MAX_REFERENCE_AGE && age >= -MAX_REFERENCE_LEAD;
  return isCurrent ? reference.feeratePerKw : null;
}

/**
 * The greatest feerate that a rule accepts: max_feerate_per_kw, or a multiple of
 * the fee reference where that is more, never above the hard limit.
 */
export function maxFeerate(policy: Policy, reference: number | null): number {
  const { maxFeeratePerKw, hardMaxFeeratePerKw, feeReferencePercent } = policy;
  const followed = Math.floor((reference ?? 0) * feeReferencePercent / 100);
  return Math.min(Math.max(maxFeeratePerKw, followed), hardMaxFeeratePerKw);
}
