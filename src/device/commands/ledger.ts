/**
 * `softkey ledger`: what was signed, refused and decided.
 *
 *     ledger [--kind K] [--peer HEX] [--channel N] [--since DATE]
 *            [--until DATE] [--last N] [--json]
 *     ledger verify              the chain of the card's ledger
 *     ledger verify FILE         an exported one; with --card, against the card's
 *     ledger export FILE         all of it, into a new file that only you can read
 *
 * Exit code 1 for a ledger that is not as it was written, with the number of the
 * first line that is wrong. A date is a day or a time, in UTC.
 *
 * What it does not do: know what a line holds (`device/ledger.ts`).
 *
 * @module
 */

import { describeError, UsageError } from "../../errors.ts";
import type { Ledger } from "../../store/store.ts";
import { syncFolderOf } from "../../store/sum.ts";
import {
  type Arguments,
  noMore,
  type Options,
  wantedWord,
} from "../arguments.ts";
import {
  checkExport,
  type ExportCheck,
  exportLines,
  findFault,
  type LedgerFault,
  type LedgerFilter,
  lineJson,
  lineText,
  selectLines,
} from "../ledger.ts";
import type { CardAccess } from "../owner/access.ts";
import { print } from "../terminal.ts";
import { withCard } from "./open.ts";

/** Lines that are shown unless the owner says how many. */
const USUAL_LAST = 100;

/** What a command on the ledger needs of a card that is open. */
export interface LedgerAccess extends Pick<CardAccess, "print" | "path"> {
  readonly store: { readonly ledger: Ledger };
}

type Action = (access: LedgerAccess, args: Arguments) => number;

const ACTIONS: Readonly<Record<string, Action>> = {
  verify,
  export: writeExport,
};

/** Runs `ledger …`. */
export async function ledger(args: Arguments): Promise<number> {
  findAction(args.words);
  const { words, options } = args;
  const isFileAlone = words[0] === "verify" && words.length > 1 &&
    options.card === undefined;
  if (!isFileAlone) return await withCard("ledger", args, ledgerOn);
  noMore(words.slice(2));
  const check = checkExport(readFile(wantedWord(words, 1, "a file")));
  return reportExport(check, print);
}

/** The same on a card that is open. */
export function ledgerOn(access: LedgerAccess, args: Arguments): number {
  return findAction(args.words)(access, args);
}

function findAction([name]: readonly string[]): Action {
  if (name === undefined) return show;
  const action = Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined;
  if (action !== undefined) return action;
  const names = Object.keys(ACTIONS).join(" or ");
  throw new UsageError(
    `Cannot run ledger ${JSON.stringify(name)}: want ${names}, or nothing`,
  );
}

// ---------------------------------------------------------------------- show

function show({ store, print }: LedgerAccess, { options }: Arguments): number {
  const text = options.json ? lineJson : lineText;
  const last = lastOf(options);
  const filter = filterOf(options);
  const isAny = Object.values(filter).every((each) => each === undefined);
  // Without a filter the last ones are known without reading the others.
  const kept = store.ledger.lines(isAny ? { last } : {});
  const lines = selectLines(kept, filter, last);
  for (const line of lines) print(text(line));
  if (lines.length === 0 && !options.json) print("No such line");
  return 0;
}

function filterOf(options: Options): LedgerFilter {
  const { kind, peer, channel } = options;
  if (peer !== undefined && !/^[0-9a-f]{2,66}$/i.test(peer)) {
    return wrong("--peer", peer, "the start of a node id, in hex");
  }
  if (channel !== undefined && !/^\d{1,19}$/.test(channel)) {
    return wrong("--channel", channel, "a number");
  }
  return {
    kind,
    peer,
    channel: channel === undefined ? undefined : BigInt(channel),
    since: timeOf(options, "since"),
    until: timeOf(options, "until"),
  };
}

function timeOf(
  options: Options,
  name: "since" | "until",
): bigint | undefined {
  const text = options[name];
  if (text === undefined) return undefined;
  const match = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)Z?)?$/
    .exec(text);
  const [, day, time = "00:00"] = match ?? [];
  const found = Date.parse(`${day}T${time}Z`);
  return day === undefined || Number.isNaN(found)
    ? wrong(`--${name}`, text, "a date like 2026-11-21 or 2026-11-21T07:42")
    : BigInt(found);
}

function lastOf({ last }: Options): number {
  if (last === undefined) return USUAL_LAST;
  const count = /^\d{1,9}$/.test(last) ? Number(last) : 0;
  return count > 0 ? count : wrong("--last", last, "a number of lines");
}

function wrong(option: string, found: string, wanted: string): never {
  throw new UsageError(
    `Cannot use ${option} ${JSON.stringify(found)}: want ${wanted}`,
  );
}

// -------------------------------------------------------------------- verify

function verify(access: LedgerAccess, { words }: Arguments): number {
  const [, file, ...rest] = words;
  noMore(rest);
  const { store: { ledger }, print, path } = access;
  if (file !== undefined) {
    const check = checkExport(readFile(path(file)));
    return reportExport(check, print) || compare(check, ledger, print);
  }
  const { anchor, tip } = ledger;
  const fault = findFault({ anchor, tip, lines: ledger.lines() });
  if (fault !== null) return reportFault(fault, print);
  const lines = tip.number - anchor.number;
  print(`The ledger is whole: ${lines} lines, ${endText(tip)}`);
  return 0;
}

type Print = (text: string) => void;

const endText = ({ number, hash }: Ledger["tip"]) =>
  `the last is #${number} with hash ${hash.toHex()}`;

function reportFault({ number, problem }: LedgerFault, print: Print): number {
  const place = number === 0n ? "its first row" : `line #${number}`;
  print(`The ledger is wrong at ${place}: ${problem}`);
  return 1;
}

function reportExport({ fault, tip, lines }: ExportCheck, print: Print) {
  if (fault !== null || tip === null) {
    const problem = "it cannot be read";
    return reportFault(fault ?? { number: 0n, problem }, print);
  }
  print(`The file is whole: ${lines} lines, ${endText(tip)}`);
  return 0;
}

/** A whole file may be another card's, or made up: the card knows. */
function compare({ tip }: ExportCheck, ledger: Ledger, print: Print): number {
  if (tip === null) return 1;
  const { number, hash } = tip;
  if (number < ledger.anchor.number) {
    print(`The card keeps lines from #${ledger.anchor.number + 1n} on only`);
    return 0;
  }
  const [line] = number === ledger.anchor.number
    ? [ledger.anchor]
    : ledger.lines({ from: number });
  if (line?.number === number && line.hash.toHex() === hash.toHex()) {
    print(`The card has the same line #${number}`);
    return 0;
  }
  const problem = line === undefined
    ? `the card's ledger ends at #${ledger.tip.number}`
    : "the card has another line there";
  return reportFault({ number, problem }, print);
}

function readFile(path: string): string {
  try {
    // A byte that is no UTF-8 becomes a letter that no export has.
    return new TextDecoder("utf-8", { ignoreBOM: true })
      .decode(Deno.readFileSync(path));
  } catch (cause) {
    const text = `Cannot read ${path}: ${describeError(cause)}`;
    throw new UsageError(text, { cause });
  }
}

// -------------------------------------------------------------------- export

function writeExport(access: LedgerAccess, { words }: Arguments): number {
  const { store: { ledger }, print } = access;
  const name = wantedWord(words, 1, "a file for the ledger");
  noMore(words.slice(2));
  const path = access.path(name);
  const lines = ledger.tip.number - ledger.anchor.number;
  try {
    writeNew(path, inParts(exportLines(ledger)));
  } catch (cause) {
    const isThere = cause instanceof Deno.errors.AlreadyExists;
    const problem = isThere
      ? "it is there already, want a new file"
      : describeError(cause);
    throw new UsageError(`Cannot write ${path}: ${problem}`, { cause });
  }
  print(`Wrote ${lines} lines to ${path}; ${endText(ledger.tip)}`);
  return 0;
}

/** A file that only its owner reads; durable when this returns. */
function writeNew(path: string, parts: Iterable<string>): void {
  using file = Deno.openSync(path, {
    write: true,
    createNew: true,
    mode: 0o600,
  });
  for (const part of parts) writeAll(file, part);
  file.syncSync();
  syncFolderOf(path);
}

const PART = 65_536;

/** A few large writes instead of many small ones. */
function* inParts(lines: Iterable<string>): Generator<string> {
  let part = "";
  for (const line of lines) {
    part += line;
    if (part.length < PART) continue;
    yield part;
    part = "";
  }
  if (part !== "") yield part;
}

function writeAll(file: Deno.FsFile, text: string): void {
  const bytes = new TextEncoder().encode(text);
  for (let done = 0; done < bytes.length;) {
    done += file.writeSync(bytes.subarray(done));
  }
}
