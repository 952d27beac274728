/**
 * Where coins may go and who may be paid without asking the owner again.
 *
 * | entry | allows |
 * | --- | --- |
 * | `ADDRESS`, `address:ADDRESS` | outputs to that address |
 * | `script:HEX` | outputs to that script |
 * | `xpub:XPUB` | outputs to its keys /0/0-999 and /1/0-999, or a named path |
 * | `xpub:XPUB/0/5-20` | outputs to the keys of that range, and no others |
 * | `xpub:XPUB/0/*` | the same, 0-999 and any index that the output names |
 * | `payee:KEY` | invoices of that node |
 *
 * Blank lines and what follows a `#` mean nothing. A key stands for its P2WPKH,
 * P2SH-P2WPKH, P2PKH and P2TR (key path) scripts. Keys of a range are derived
 * when an output is first compared with them, and kept.
 *
 * Form: VLS §4.9, with scripts and ranges added. Standards: BIP 32, BIP 86 and
 * BIP 341 for the tweak of a P2TR key.
 *
 * What it does not do: keep the list; the card does, as texts.
 *
 * @module
 */

import { decodeAddress } from "../bitcoin/address.ts";
import { addToPoint, asPubKey } from "../bitcoin/keys.ts";
import type { Network } from "../bitcoin/networks.ts";
import {
  p2sh,
  p2wpkh,
  scriptCodeOfP2wpkh,
  scriptKind,
} from "../bitcoin/script.ts";
import { taggedHash } from "../crypto/hash.ts";
import { isPoint } from "../crypto/secp.ts";
import { describeError, UsageError } from "../errors.ts";
import {
  derivePublicChild,
  derivePublicWalletKey,
  HARDENED,
} from "../keyderiv/bip32.ts";
import { parseXpub } from "../keyderiv/xpub.ts";
import type { ExtKey, PubKey } from "../wire/types.ts";

/** Last index of a range that is not written. */
const DEFAULT_LAST = 999;
/** Longest range: each key costs time, once. */
const MOST_KEYS = 10_000;
/** Steps that a named path may have. */
const MOST_STEPS = 8;
/** Consensus: nobody can spend a longer script. */
const MAX_SCRIPT = 10_000;

const tapTweak = taggedHash("TapTweak");

/** Keys below one extended key, derived once. */
interface KeyRange {
  /** Whether a script is one of a key in the range. */
  has(script: Uint8Array): boolean;
}

/** An extended key and what of it is allowed. */
interface AllowedXpub {
  readonly key: ExtKey;
  readonly ranges: readonly KeyRange[];
  /** Whether a path that an output names may be followed. */
  readonly takesPath: (path: readonly number[]) => boolean;
}

/** One entry, read. */
export type AllowlistEntry =
  | { readonly kind: "script"; readonly script: Uint8Array }
  | { readonly kind: "xpub"; readonly xpub: AllowedXpub }
  | { readonly kind: "payee"; readonly payee: PubKey };

/** Everything that is allowed. */
export interface Allowlist {
  /** The entries as they were written, without blanks and comments. */
  readonly entries: readonly string[];
  /** Output scripts, in hex. */
  readonly scripts: ReadonlySet<string>;
  readonly xpubs: readonly AllowedXpub[];
  /** Node keys, in hex. */
  readonly payees: ReadonlySet<string>;
}

/** The entry of a line; empty for a line that says nothing. */
export function stripComment(line: string): string {
  return line.replace(/#.*$/s, "").trim();
}

/**
 * Reads a list.
 *
 * @throws {UsageError} naming the line, counted from 1, that cannot be used
 */
export function createAllowlist(
  entries: readonly string[],
  network: Network,
): Allowlist {
  const lines = entries.map(stripComment);
  const read = lines.flatMap((line, i) =>
    line === "" ? [] : [parseLine(line, i + 1, network)]
  );
  const names = (kind: "script" | "payee") =>
    new Set(read.flatMap((entry) => entry.kind === kind ? nameOf(entry) : []));
  return {
    entries: lines.filter((line) => line !== ""),
    scripts: names("script"),
    payees: names("payee"),
    xpubs: read.flatMap((entry) => entry.kind === "xpub" ? [entry.xpub] : []),
  };
}

function nameOf(entry: AllowlistEntry): string[] {
  switch (entry.kind) {
    case "script":
      return [entry.script.toHex()];
    case "payee":
      return [entry.payee.toHex()];
    case "xpub":
      return [];
  }
}

function parseLine(
  line: string,
  number: number,
  network: Network,
): AllowlistEntry {
  try {
    return parseAllowlistEntry(line, network);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UsageError(
      `Cannot use line ${number} of the allowlist: ${describeError(error)}`,
    );
  }
}

/**
 * Reads one entry without its comment.
 *
 * @throws {RangeError} saying what is wrong; never with a key's text in it
 */
export function parseAllowlistEntry(
  text: string,
  network: Network,
): AllowlistEntry {
  const [, kind = "address", value = ""] = /^(?:([a-z]+):)?(.*)$/s
    .exec(text) ?? [];
  switch (kind) {
    case "address":
      return { kind: "script", script: decodeAddress(value.trim(), network) };
    case "script":
      return { kind, script: parseScript(value.trim()) };
    case "xpub":
      return { kind, xpub: parseXpubEntry(value.trim(), network) };
    case "payee":
      return { kind, payee: parsePayee(value.trim()) };
    default:
      throw new RangeError(
        `unknown kind ${kind}, want address, script, xpub or payee`,
      );
  }
}

function parseHex(text: string, what: string): Uint8Array {
  if (!/^([0-9a-f]{2})+$/i.test(text)) {
    throw new RangeError(`${what} is not in hex, want pairs of 0-9 and a-f`);
  }
  return Uint8Array.fromHex(text);
}

function parseScript(text: string): Uint8Array {
  const script = parseHex(text, "the script");
  if (script.length <= MAX_SCRIPT) return script;
  throw new RangeError(
    `script of ${script.length} bytes, want ${MAX_SCRIPT} or fewer`,
  );
}

function parsePayee(text: string): PubKey {
  const key = parseHex(text, "the payee's key");
  if (isPoint(key)) return asPubKey(key);
  throw new RangeError(
    `payee's key of ${key.length} bytes is no node's, want a compressed point`,
  );
}

function parseXpubEntry(text: string, network: Network): AllowedXpub {
  const [key = "", ...steps] = text.split("/");
  const xpub = parseXpub(key, network);
  const final = steps.pop();
  if (final === undefined) {
    return {
      key: xpub,
      ranges: [0, 1].map((branch) =>
        createRange(xpub, [branch], [0, DEFAULT_LAST])
      ),
      takesPath: () => true,
    };
  }
  const branch = steps.map(parseStep);
  if (branch.length >= MOST_STEPS) {
    throw new RangeError(
      `path of ${branch.length + 1} steps, want ${MOST_STEPS} or fewer`,
    );
  }
  const isOpen = final === "*";
  const range = createRange(xpub, branch, isOpen ? OPEN : parseRange(final));
  return {
    key: xpub,
    ranges: [range],
    takesPath: (path) => isOpen && isBelow(path, branch),
  };
}

const OPEN = [0, DEFAULT_LAST] as const;

function isBelow(path: readonly number[], branch: readonly number[]): boolean {
  return path.length === branch.length + 1 &&
    branch.every((step, i) => step === path[i]);
}

function parseStep(text: string): number {
  const step = /^\d{1,10}$/.test(text) ? Number(text) : HARDENED;
  if (step < HARDENED) return step;
  throw new RangeError(
    "a step of the path is no index, want numbers less than 2^31",
  );
}

function parseRange(text: string): readonly [first: number, last: number] {
  const [start = "", end = start, ...more] = text.split("-");
  const first = parseStep(start);
  const last = more.length > 0 ? -1 : parseStep(end);
  if (first <= last && last - first < MOST_KEYS) return [first, last];
  throw new RangeError(
    `the range is not of use, want FIRST-LAST with at most ${MOST_KEYS} keys`,
  );
}

/** Forms of script that a key has. */
type KeyScript = "p2wpkh" | "p2tr" | "p2sh" | "p2pkh";

/** Which of a key's scripts this could be; null for none. */
function formOf(script: Uint8Array): KeyScript | null {
  const kind = scriptKind(script);
  if (kind === "p2wpkh" || kind === "p2tr") return kind;
  if (script.length === 23 && script[0] === 0xa9) return "p2sh";
  if (script.length === 25 && script[0] === 0x76) return "p2pkh";
  return null;
}

function scriptOf(key: PubKey, form: KeyScript): Uint8Array {
  switch (form) {
    case "p2wpkh":
      return p2wpkh(key);
    case "p2tr":
      return p2tr(key);
    case "p2sh":
      return p2sh(p2wpkh(key));
    case "p2pkh":
      return scriptCodeOfP2wpkh(p2wpkh(key));
  }
}

/** BIP 86: version 1, the key tweaked by its own hash; no script tree. */
function p2tr(key: PubKey): Uint8Array {
  const x = key.subarray(1);
  const even = asPubKey(Uint8Array.of(2, ...x));
  const output = addToPoint(even, tapTweak(x));
  return Uint8Array.of(0x51, 32, ...output.subarray(1));
}

function derive(key: ExtKey, branch: readonly number[]): ExtKey {
  return branch.reduce(derivePublicChild, key);
}

function createRange(
  xpub: ExtKey,
  branch: readonly number[],
  [first, last]: readonly [number, number],
): KeyRange {
  let keys: readonly PubKey[] | undefined;
  const scripts = new Map<KeyScript, ReadonlySet<string>>();
  const deriveKeys = () => {
    const parent = derive(xpub, branch);
    return Array.from(
      { length: last - first + 1 },
      (_, i) => derivePublicWalletKey(parent, first + i),
    );
  };
  const scriptsOf = (form: KeyScript) => {
    const known = scripts.get(form);
    if (known !== undefined) return known;
    keys ??= deriveKeys();
    const made = new Set(keys.map((key) => scriptOf(key, form).toHex()));
    scripts.set(form, made);
    return made;
  };
  const has = (script: Uint8Array) => {
    const form = formOf(script);
    return form !== null && scriptsOf(form).has(script.toHex());
  };
  return { has };
}

/**
 * Whether coins may go to a script. `path` is what the output names as its
 * key's place below an extended key, if it names any.
 */
export function allowsScript(
  allowlist: Allowlist,
  script: Uint8Array,
  path: readonly number[] | null = null,
): boolean {
  if (allowlist.scripts.has(script.toHex())) return true;
  const { xpubs } = allowlist;
  // A named path costs one derivation, a range all of it.
  if (path !== null && xpubs.some((xpub) => isAtPath(xpub, script, path))) {
    return true;
  }
  return xpubs.some(({ ranges }) => ranges.some((range) => range.has(script)));
}

function isAtPath(
  { key, takesPath }: AllowedXpub,
  script: Uint8Array,
  path: readonly number[],
): boolean {
  const form = formOf(script);
  const last = path.at(-1);
  const isPath = path.length <= MOST_STEPS &&
    path.every((step) => step < HARDENED) && takesPath(path);
  if (form === null || last === undefined || !isPath) return false;
  const child = derivePublicWalletKey(derive(key, path.slice(0, -1)), last);
  return scriptOf(child, form).toHex() === script.toHex();
}

/** Whether invoices of a node are paid without asking. */
export function allowsPayee(allowlist: Allowlist, payee: Uint8Array): boolean {
  return allowlist.payees.has(payee.toHex());
}
