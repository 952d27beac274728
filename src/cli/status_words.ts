/**
 * A snapshot in words: the same sentences for the page and for the terminal.
 *
 * A sentence is a list of pieces, text or moments. A moment is a time that is
 * shown as a clock or as an age, by whoever shows it and as long as he shows it.
 *
 * @module
 */

import { ALARM_LED } from "../broker/status.ts";
import type {
  ChainStatus,
  CountStatus,
  DeviceRole,
  DeviceStatus,
  HandshakeStatus,
  HeartbeatStatus,
  NodeStatus,
  StatusSnapshot,
} from "../broker/status.ts";

/** A time in a sentence, Unix milliseconds. */
export interface Moment {
  readonly at: number;
  readonly as: "clock" | "age";
}

/** Text, or a time. Text may be a device's. */
export type Piece = string | Moment;

/** How things are: as they should be, somebody has to come, something is wrong. */
export type Level = "good" | "wait" | "bad";

/** The one sentence. */
export interface Headline {
  readonly level: Level;
  readonly pieces: readonly Piece[];
}

/** A request that waits for longer is worth a word, in milliseconds. */
const SLOW_MS = 10_000;

const age = (at: number): Moment => ({ at, as: "age" });
const clock = (at: number): Moment => ({ at, as: "clock" });

/** What state the node's signer is in. */
export function headlineOf(status: StatusSnapshot): Headline {
  const active = status.devices.find(({ role }) => role === "active");
  return active === undefined
    ? withoutSigner(status)
    : withSigner(status, active);
}

function withSigner(status: StatusSnapshot, device: DeviceStatus): Headline {
  const { cid, roleSince } = device;
  const signs = [`${cid} signs since `, clock(roleSince)];
  const { count, oldestAt } = status.waiting;
  if (oldestAt !== null && status.at - oldestAt > SLOW_MS) {
    const rest = `: ${countOf(count, "request")}`;
    const pieces = [`${cid} has not answered for `, age(oldestAt), rest];
    return { level: "wait", pieces };
  }
  const alarmed = status.devices.find(({ led }) => led === ALARM_LED);
  if (alarmed !== undefined) {
    const whose = alarmed === device ? "its" : `${alarmed.cid}'s`;
    return { level: "bad", pieces: [...signs, `; ${whose} light is an alarm`] };
  }
  const behind = chainTrouble(status.chain);
  return behind === null
    ? { level: "good", pieces: signs }
    : { level: "wait", pieces: [...signs, `; ${behind}`] };
}

function chainTrouble(chain: ChainStatus | null): string | null {
  if (chain === null) return null;
  if (chain.problem !== null) return "it is shown no chain";
  return chain.isCatchingUp ? `it ${chainWords(chain)}` : null;
}

function withoutSigner(status: StatusSnapshot): Headline {
  const { node, waiting, devices } = status;
  // One that is kept out at the door is no reason that nobody signs.
  const held = devices.find(isHeldBack);
  if (held !== undefined) {
    const why = held.why ?? "it is not let";
    return { level: "bad", pieces: [`${held.cid} may not sign: ${why}`] };
  }
  const coming = devices.find(({ role }) => role === "coming");
  const whom = coming === undefined
    ? whomFor(status)
    : `waiting for ${coming.cid} to be ready`;
  const { idleSince } = node;
  const since = idleSince === null ? [] : [" since ", clock(idleSince)];
  const isUrgent = waiting.count > 0 || !node.isStarted;
  return {
    level: isUrgent ? "bad" : "wait",
    pieces: [whom, ...since, `: ${stake(status)}`],
  };
}

function isHeldBack({ role, stage }: DeviceStatus): boolean {
  return role === "held" && stage === "ready";
}

function whomFor({ node }: StatusSnapshot): string {
  const { nodeId, pairing, pairedAt } = node;
  if (nodeId !== null) return "waiting for a device";
  if (pairedAt !== null) return "waiting for a paired device";
  return pairing === "code"
    ? "no device is paired yet (remote_hsmd_mqtt pair): waiting"
    : "waiting for a first device";
}

function stake({ node, waiting: { count } }: StatusSnapshot): string {
  const requests = count === 0
    ? "nothing waits for it"
    : countOf(count, "request");
  return node.isStarted ? requests : `the node cannot start, ${requests}`;
}

/** How far the chain is. */
export function chainWords({ height, tip, isCatchingUp }: ChainStatus): string {
  if (height === null) return "has said nothing of its chain yet";
  const of = tip === null || tip === height ? "" : ` of ${tip}`;
  return `${isCatchingUp ? "is catching up" : "has the chain"}: ` +
    `block ${height}${of}`;
}

/** What a heartbeat says. */
export const HEARTBEAT_WORDS: Readonly<
  Record<HeartbeatStatus["kind"], string>
> = {
  fresh: "signed",
  stale: "too old: the device is behind its clock, or its clock is slow",
  future: "ahead of this machine's clock",
  missing: "missing: none came that the device signed",
};

/** What a role means. */
export const ROLE_WORDS: Readonly<Record<DeviceRole, string>> = {
  active: "signs",
  warm: "could take over",
  coming: "is not ready yet",
  held: "may not sign",
};

/** `3 requests`, `1 request`, `no requests`. */
export function countOf(count: number, what: string): string {
  const many = count === 1 ? what : `${what}s`;
  return `${count === 0 ? "no" : count} ${many}`;
}

/** Whose signer it is, or why that is not known. */
export function nodeName({ nodeId, pairedAt }: NodeStatus): string {
  if (nodeId !== null) return nodeId;
  return pairedAt === null
    ? "no device paired"
    : "not known before a device shows its keys";
}

/** Whom the node's requests went to; the broker knows many an answer itself. */
export function countWords({ requests, answered }: CountStatus): string {
  const byDevice = `${answered} answered by a device`;
  const others = requests - answered;
  return others === 0
    ? byDevice
    : `${byDevice}, ${others} by the broker itself or not yet`;
}

/** What strangers begin with the node. */
export function strangerWords(
  { perSecond, allowedPerSecond, delayed, waiting }: HandshakeStatus,
): string {
  const of = allowedPerSecond === 0 ? "" : ` of ${allowedPerSecond}`;
  const held = delayed === 0 && waiting === 0
    ? "none was delayed"
    : `${delayed} delayed, ${waiting} wait now`;
  return `${perSecond}${of} handshakes a second, ${held}`;
}

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A span as people say it: `7 s`, `12 min`, `3 h 05 min`, `2 d 3 h`. */
export function showAge(ms: number): string {
  // Clocks are never quite together: nothing is less than nothing ago.
  const span = Math.max(0, ms);
  const whole = (unit: number) => Math.floor(span / unit);
  if (span < MINUTE) return `${whole(SECOND)} s`;
  if (span < HOUR) return `${whole(MINUTE)} min`;
  if (span < DAY) {
    return `${whole(HOUR)} h ${two(whole(MINUTE) % 60)} min`;
  }
  return `${whole(DAY)} d ${whole(HOUR) % 24} h`;
}

/** A duration of milliseconds: `0.42 ms`, `3.1 ms`, `250 ms`, `4.2 s`. */
export function showMs(ms: number): string {
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 100) return `${ms.toFixed(1)} ms`;
  return ms < 10_000 ? `${ms.toFixed(0)} ms` : `${(ms / SECOND).toFixed(1)} s`;
}

/** The time of day where this machine is, with the date unless it is today. */
export function showClock(at: number, now: number): string {
  const [then, today] = [new Date(at), new Date(now)];
  const time = `${two(then.getHours())}:${two(then.getMinutes())}`;
  return then.toDateString() === today.toDateString()
    ? time
    : `${dateOf(then)} ${time}`;
}

function dateOf(then: Date): string {
  const [month, day] = [then.getMonth() + 1, then.getDate()];
  return `${then.getFullYear()}-${two(month)}-${two(day)}`;
}

function two(number: number): string {
  return `${number}`.padStart(2, "0");
}

/** A piece as text. */
export function showPiece(piece: Piece, now: number): string {
  if (typeof piece === "string") return piece;
  return piece.as === "age"
    ? showAge(now - piece.at)
    : showClock(piece.at, now);
}

/** A long key, told by its ends. */
export function shortKey(hex: string): string {
  return hex.length > 20 ? `${hex.slice(0, 10)}…${hex.slice(-6)}` : hex;
}

/** Text of a device without what would move a cursor or turn a line around. */
export function plain(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "·");
}
