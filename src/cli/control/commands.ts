/**
 * What an owner can tell a device, one row each.
 *
 * | command | messages |
 * | --- | --- |
 * | nonce | Nonce |
 * | policy, policy show | QueryPolicy |
 * | policy set LIMIT… | QueryPolicy where one is left out, UpdatePolicy |
 * | allowlist, allowlist show | QueryAllowlist |
 * | allowlist add, remove ENTRY… | QueryAllowlist, UpdateAllowlist |
 * | allowlist set [ENTRY…] | UpdateAllowlist |
 * | velocity | QueryVelocity |
 * | all | QueryAll |
 * | reset wifi, keys, all | ResetWifi, ResetKeys, ResetAll |
 * | send JSON | any |
 *
 * A LIMIT is hour:MSAT, day:MSAT or unlimited for payments, and htlc:MSAT.
 *
 * What it does not do: know what a device makes of it.
 *
 * @module
 */

import { DecodeError, UsageError } from "../../errors.ts";
import {
  type ControlMessage,
  type ControlPolicy,
  type ControlResponse,
  parseControlMessage,
} from "../../wire/control_message.ts";
import { NO_LIMIT } from "./answer_text.ts";
import type { ControlSession } from "./session.ts";

/** A command that was understood: asks the device, returns its last answer. */
export type ControlCommand = (
  session: ControlSession,
) => Promise<ControlResponse>;

interface Row {
  /** Words that may follow. */
  readonly usage: string;
  /** @throws {UsageError} */
  readonly parse: (words: readonly string[], isYes: boolean) => ControlCommand;
}

const COMMANDS: Readonly<Record<string, Row>> = {
  nonce: {
    usage: "",
    parse: alone((session) => session.ask({ kind: "Nonce" }, "Nonce")),
  },
  policy: {
    usage: " [show | set hour:MSAT|day:MSAT|unlimited htlc:MSAT]",
    parse: parsePolicy,
  },
  allowlist: {
    usage: " [show | add ENTRY… | remove ENTRY… | set ENTRY…]",
    parse: parseAllowlist,
  },
  velocity: {
    usage: "",
    parse: alone((session) =>
      session.ask({ kind: "QueryVelocity" }, "VelocityCurrent")
    ),
  },
  all: {
    usage: "",
    parse: alone((session) => session.ask({ kind: "QueryAll" }, "AllCurrent")),
  },
  reset: { usage: " wifi|keys|all --yes", parse: parseReset },
  send: { usage: " JSON", parse: parseSend },
};

/** Every command with what may follow it. */
export const CONTROL_USAGE: readonly string[] = Object.entries(COMMANDS)
  .map(([name, { usage }]) => `${name}${usage}`);

/** Understands a command. @throws {UsageError} */
export function parseControlCommand(
  [name = "", ...words]: readonly string[],
  isYes: boolean,
): ControlCommand {
  const row = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (row !== undefined) return row.parse(words, isYes);
  const names = Object.keys(COMMANDS).join(", ");
  throw new UsageError(
    `Cannot run control ${JSON.stringify(name)}: want one of ${names}`,
  );
}

function alone(command: ControlCommand): Row["parse"] {
  return (words) => {
    noMore(words);
    return command;
  };
}

function noMore([word]: readonly string[]): void {
  if (word === undefined) return;
  throw new UsageError(
    `Cannot use ${JSON.stringify(word)}: want no more words`,
  );
}

// --------------------------------------------------------------------- policy

type Limits = Partial<ControlPolicy>;

function parsePolicy(words: readonly string[]): ControlCommand {
  const [verb = "show", ...rest] = words;
  if (verb === "show") {
    noMore(rest);
    return (session) => session.ask({ kind: "QueryPolicy" }, "PolicyCurrent");
  }
  if (verb !== "set" || rest.length === 0) {
    throw new UsageError(
      `Cannot run control policy ${verb}: want show, or set with a limit`,
    );
  }
  const limits = rest.map(parseLimit).reduce(
    (all, limit) => ({ ...all, ...limit }),
    {},
  );
  return (session) => setPolicy(session, limits);
}

function parseLimit(text: string): Limits {
  if (text === "unlimited") {
    return { msatPerInterval: NO_LIMIT, interval: "hourly" };
  }
  const [, name, digits = ""] = /^(hour|day|htlc):(\d{1,19})$/.exec(text) ?? [];
  const msat = BigInt(digits);
  switch (name) {
    case "hour":
      return { msatPerInterval: msat, interval: "hourly" };
    case "day":
      return { msatPerInterval: msat, interval: "daily" };
    case "htlc":
      return { htlcLimitMsat: msat };
  }
  throw new UsageError(
    `Cannot use the limit ${JSON.stringify(text)}: want hour:MSAT, day:MSAT ` +
      "or unlimited, and htlc:MSAT",
  );
}

async function setPolicy(
  session: ControlSession,
  limits: Limits,
): Promise<ControlResponse> {
  const value = isWhole(limits) ? limits : {
    ...(await session.ask({ kind: "QueryPolicy" }, "PolicyCurrent")).value,
    ...limits,
  };
  return await session.ask({ kind: "UpdatePolicy", value }, "PolicyUpdated");
}

function isWhole(limits: Limits): limits is ControlPolicy {
  return limits.interval !== undefined && limits.htlcLimitMsat !== undefined;
}

// ------------------------------------------------------------------ allowlist

function parseAllowlist(words: readonly string[]): ControlCommand {
  const [verb = "show", ...entries] = words;
  if (verb === "show") {
    noMore(entries);
    return (session) =>
      session.ask({ kind: "QueryAllowlist" }, "AllowlistCurrent");
  }
  if (verb === "set") return (session) => setAllowlist(session, entries);
  const change = verb === "add" ? added : verb === "remove" ? removed : null;
  if (change === null || entries.length === 0) {
    throw new UsageError(
      `Cannot run control allowlist ${verb}: want show, set, or add or remove ` +
        "with an entry",
    );
  }
  return async (session) => {
    const query = { kind: "QueryAllowlist" } as const;
    const { value } = await session.ask(query, "AllowlistCurrent");
    return await setAllowlist(session, change(value, entries));
  };
}

async function setAllowlist(
  session: ControlSession,
  value: readonly string[],
): Promise<ControlResponse> {
  return await session.ask(
    { kind: "UpdateAllowlist", value },
    "AllowlistUpdated",
  );
}

/** Devices say the kind of each entry; an owner need not. */
const fullName = (entry: string) =>
  entry.includes(":") ? entry : `address:${entry}`;

function added(
  before: readonly string[],
  entries: readonly string[],
): readonly string[] {
  const known = new Set(before.map(fullName));
  return [
    ...before,
    ...entries.filter((entry) => !known.has(fullName(entry))),
  ];
}

function removed(
  before: readonly string[],
  entries: readonly string[],
): readonly string[] {
  const gone = new Set(entries.map(fullName));
  const known = new Set(before.map(fullName));
  for (const entry of entries) {
    if (known.has(fullName(entry))) continue;
    throw new UsageError(
      `Cannot remove ${JSON.stringify(entry)}: it is not in the allowlist`,
    );
  }
  return before.filter((entry) => !gone.has(fullName(entry)));
}

// ------------------------------------------------------------- reset and send

const RESETS = {
  wifi: "ResetWifi",
  keys: "ResetKeys",
  all: "ResetAll",
} as const;

function parseReset(words: readonly string[], isYes: boolean): ControlCommand {
  const [name = "", ...rest] = words;
  noMore(rest);
  if (name !== "wifi" && name !== "keys" && name !== "all") {
    throw new UsageError(
      `Cannot reset ${JSON.stringify(name)}: want wifi, keys or all`,
    );
  }
  const kind = RESETS[name];
  if (!isYes) {
    throw new UsageError(
      `Cannot reset ${name} without consent: it cannot be taken back, want --yes`,
    );
  }
  return (session) => session.ask({ kind }, kind);
}

const ANSWERS: {
  readonly [K in ControlMessage["kind"]]: ControlResponse["kind"];
} = {
  Nonce: "Nonce",
  ResetWifi: "ResetWifi",
  ResetKeys: "ResetKeys",
  ResetAll: "ResetAll",
  QueryPolicy: "PolicyCurrent",
  UpdatePolicy: "PolicyUpdated",
  QueryAllowlist: "AllowlistCurrent",
  UpdateAllowlist: "AllowlistUpdated",
  QueryVelocity: "VelocityCurrent",
  Ota: "OtaConfirm",
  QueryAll: "AllCurrent",
};

function parseSend(words: readonly string[], isYes: boolean): ControlCommand {
  const [json = "", ...rest] = words;
  noMore(rest);
  const message = parseMessage(json);
  if (message.kind.startsWith("Reset") && !isYes) {
    throw new UsageError(
      `Cannot send ${message.kind} without consent: it cannot be taken back, ` +
        "want --yes",
    );
  }
  return (session) => session.ask(message, ANSWERS[message.kind]);
}

function parseMessage(json: string): ControlMessage {
  try {
    return parseControlMessage(json);
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    throw new UsageError(`Cannot send that: ${cause.message}`, { cause });
  }
}
