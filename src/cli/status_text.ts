/**
 * A snapshot as text for a terminal.
 *
 * Texts of devices and peers are made plain first: no escape sequence of theirs
 * reaches a terminal.
 *
 * @module
 */

import type {
  ChainStatus,
  DeviceStatus,
  HeartbeatStatus,
  StatusSnapshot,
  WaitingRequest,
} from "../broker/status.ts";
import {
  chainWords,
  countOf,
  countWords,
  headlineOf,
  HEARTBEAT_WORDS,
  nodeName,
  plain,
  ROLE_WORDS,
  shortKey,
  showAge,
  showClock,
  showMs,
  showPiece,
  strangerWords,
} from "./status_words.ts";

/** Waiting requests that are listed; a terminal is short. */
const MOST_LINES = 12;

/** The snapshot in lines, as seen at a time in Unix milliseconds. */
export function statusText(status: StatusSnapshot, now: number): string {
  const { pieces } = headlineOf(status);
  const headline = pieces.map((piece) => showPiece(piece, now)).join("");
  const sections = [
    [headline],
    nodeLines(status, now),
    ...status.devices.map((device) => deviceLines(device, now)),
    waitingLines(status, now),
    latencyLines(status),
    refusalLines(status, now),
    errorLines(status, now),
  ];
  return sections.filter((lines) => lines.length > 0)
    .map((lines) => lines.map((line) => `${plain(line)}\n`).join("")).join(
      "\n",
    );
}

/** A word at the left, the rest at its right. */
function row(name: string, text: string): string {
  return `${name.padEnd(11)} ${text}`;
}

function nodeLines(status: StatusSnapshot, now: number): readonly string[] {
  const { node, counts, handshakes } = status;
  const paired = node.pairedAt === null
    ? ""
    : `, paired ${showClock(node.pairedAt, now)}`;
  return [
    row("node", `${nodeName(node)}${paired}`),
    row("network", node.network ?? "not known before lightningd's init"),
    row("devices at", node.address),
    ...chainLines(status.chain, now),
    ...heartbeatLines(status.heartbeat, now),
    row(
      "requests",
      `${counts.requests} since ${showClock(status.startedAt, now)}: ` +
        `${countWords(counts)}, ${counts.refused} refused`,
    ),
    row("strangers", strangerWords(handshakes)),
  ];
}

function chainLines(chain: ChainStatus | null, now: number): readonly string[] {
  if (chain === null) return [row("chain", "not shown (bitcoind_url is off)")];
  const since = chain.at === null ? "" : `, ${showAge(now - chain.at)} ago`;
  const problem = chain.problem === null
    ? []
    : [row("", `problem: ${chain.problem}`)];
  return [row("chain", `the device ${chainWords(chain)}${since}`), ...problem];
}

function heartbeatLines(
  beat: HeartbeatStatus | null,
  now: number,
): readonly string[] {
  if (beat === null) return [];
  const height = beat.height === null ? "" : ` at block ${beat.height}`;
  const ago = `${showAge(now - beat.at)} ago`;
  return [row("heartbeat", `${HEARTBEAT_WORDS[beat.kind]}${height}, ${ago}`)];
}

function deviceLines(device: DeviceStatus, now: number): readonly string[] {
  const { cid, role, why, software, dialect, from, led } = device;
  const since = showClock(device.roleSince, now);
  const seal = device.isSealed ? "sealed" : "not sealed";
  const connected = showClock(device.connectedAt, now);
  const facts = [
    `${dialect}, ${seal}, ${device.stage}`,
    ...device.generation === null ? [] : [`card at ${device.generation}`],
    ...stateWords(device),
    ...led === null ? [] : [`light ${led}`],
    ...device.inFlight === 0
      ? []
      : [`has ${countOf(device.inFlight, "request")}`],
  ];
  return [
    row("device", `${cid} ${ROLE_WORDS[role]} since ${since}`),
    ...why === null ? [] : [row("", why)],
    row("", facts.join(", ")),
    row("", `${software}, from ${from} since ${connected}`),
  ];
}

function stateWords(
  { revision, storageRevision }: DeviceStatus,
): readonly string[] {
  if (revision === null) return [];
  return [`state ${revision} of ${storageRevision ?? revision}`];
}

function waitingLines(
  { waiting: { count, first } }: StatusSnapshot,
  now: number,
): readonly string[] {
  if (count === 0) return ["nothing waits"];
  const shown = first.slice(0, MOST_LINES);
  const more = count - shown.length;
  return [
    `${countOf(count, "request")} not answered yet`,
    ...shown.map((request) => `  ${requestWords(request, now)}`),
    ...more > 0 ? [`  and ${more} more`] : [],
  ];
}

function requestWords(request: WaitingRequest, now: number): string {
  const { name, peer, dbid, device } = request;
  const waited = showAge(now - request.askedAt).padStart(6);
  const channel = dbid === null ? "" : ` channel ${dbid}`;
  const whom = peer === null ? "the node" : `${shortKey(peer)}${channel}`;
  const where = device === null ? "nobody has it" : `at ${device}`;
  return `${waited}  ${name} (${request.class}) for ${whom}, ${where}`;
}

function latencyLines({ latency }: StatusSnapshot): readonly string[] {
  if (latency.length === 0) return [];
  return [
    "how long answers took",
    ...latency.map((one) =>
      `  ${one.class.padEnd(11)} half within ${showMs(one.medianMs)}, ` +
      `99 % within ${showMs(one.p99Ms)}, longest ${showMs(one.mostMs)} ` +
      `(last ${one.count})`
    ),
  ];
}

function refusalLines(
  { refusals }: StatusSnapshot,
  now: number,
): readonly string[] {
  if (refusals.length === 0) return [];
  return [
    "refused, by rule",
    ...refusals.flatMap(({ rule, count, at, request, reason }) => [
      `  ${rule}: ${request}, ${showAge(now - at)} ago, ` +
      `${count === 1 ? "once" : `${count} times`}`,
      `    ${reason}`,
    ]),
  ];
}

function errorLines(
  { errors }: StatusSnapshot,
  now: number,
): readonly string[] {
  if (errors.length === 0) return [];
  return [
    "errors",
    ...errors.map(({ at, cid, text }) => {
      const who = cid === null ? "the broker" : cid;
      return `  ${showAge(now - at)} ago, ${who}: ${text}`;
    }),
  ];
}
