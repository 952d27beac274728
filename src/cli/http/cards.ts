/**
 * The parts of the status page, one function each.
 *
 * @module
 */

import type {
  ChainStatus,
  DeviceRole,
  DeviceStatus,
  ErrorStatus,
  HeartbeatStatus,
  LatencyStatus,
  RefusalStatus,
  StatusSnapshot,
  WaitingRequest,
} from "../../broker/status.ts";
import {
  chainWords,
  countOf,
  countWords,
  HEARTBEAT_WORDS,
  type Level,
  nodeName,
  ROLE_WORDS,
  showMs,
  strangerWords,
} from "../status_words.ts";
import { type Html, html, NOTHING } from "./html.ts";
import { LED_COLOURS, ledOf } from "./leds.ts";
import { ageOf, card, clockOf, foreign, keyOf, rowOf } from "./pieces.ts";

/** Whose signer it is. */
export function nodeWords({ node, at }: StatusSnapshot): Html {
  const key = node.nodeId === null
    ? html`<span class="soft">${nodeName(node)}</span>`
    : html`<span>node ${keyOf(node.nodeId)}</span>`;
  const paired = node.pairedAt === null
    ? NOTHING
    : html`<span class="soft small">paired ${
      clockOf(node.pairedAt, at)
    }</span>`;
  const network = node.network === null
    ? NOTHING
    : html`<span class="tag plain">${node.network}</span>`;
  return html`${network} ${key} ${paired}
<span class="soft small">devices connect to ${foreign(node.address)}</span>`;
}

/** Devices that are connected, with their lights. */
export function devicesCard({ devices, at }: StatusSnapshot): Html {
  const content = devices.length === 0
    ? html`<p class="soft">none is connected</p>`
    : html`<div class="devices">${
      devices.map((device) => deviceOf(device, at))
    }</div>`;
  return card("Devices", content, true);
}

const ROLE_LEVELS: Readonly<Record<DeviceRole, Level | "plain">> = {
  active: "good",
  warm: "plain",
  coming: "wait",
  held: "bad",
};

function deviceOf(device: DeviceStatus, now: number): Html {
  const { cid, role, roleSince, why, software, dialect, from } = device;
  const seal = device.isSealed ? "sealed" : "not sealed";
  const facts = [
    `${dialect}, ${seal}`,
    ...device.stage === "ready" ? [] : [device.stage],
    ...device.generation === null ? [] : [`card at ${device.generation}`],
    ...revisionWords(device),
    ...device.inFlight === 0
      ? []
      : [`has ${countOf(device.inFlight, "request")}`],
  ].join(" · ");
  return html`<div class="device">${lightOf(device.led)}<div>
<p><span class="name">${foreign(cid)}</span>
<span class="tag ${ROLE_LEVELS[role]}">${ROLE_WORDS[role]}</span>
<span class="soft small">since ${clockOf(roleSince, now)}</span></p>
${why === null ? NOTHING : html`<p>${foreign(why)}</p>`}
<p>${lightWords(device.led)}</p>
<p class="soft small">${foreign(software)} · ${facts}</p>
<p class="soft small">from ${foreign(from)}, connected ${
    clockOf(device.connectedAt, now)
  }</p>
</div></div>`;
}

function revisionWords(
  { revision, storageRevision }: DeviceStatus,
): readonly string[] {
  if (revision === null) return [];
  const isLate = storageRevision !== null && storageRevision !== revision;
  return [
    isLate
      ? `state ${revision} of ${storageRevision}`
      : `state ${revision}, the newest`,
  ];
}

/** A light in its socket; the socket alone where none is told of. */
function lightOf(led: string | null): Html {
  const colour = led === null ? undefined : ledOf(led)?.colour;
  const light = colour === undefined ? NOTHING : html`
    <circle cx="13" cy="13" r="8" fill="${LED_COLOURS[colour]}" />
  `;
  return html`
    <svg width="26" height="26" viewBox="0 0 26 26" aria-hidden="true">
      <circle cx="13" cy="13" r="12" class="socket" />${light}</svg>
  `;
}

function lightWords(led: string | null): Html {
  if (led === null) return html`<span class="soft">tells of no light</span>`;
  const known = ledOf(led);
  return known === null
    ? html`light: ${foreign(led)}`
    : html`light ${known.colour}: ${known.words}`;
}

/** What is not answered yet. */
export function waitingCard({ waiting, at }: StatusSnapshot): Html {
  const { count, first } = waiting;
  if (count === 0) {
    return card("Waiting", html`<p class="soft">nothing waits</p>`);
  }
  const more = count - first.length;
  const rest = more <= 0
    ? NOTHING
    : html`<p class="soft">and ${countOf(more, "request")} more</p>`;
  return card(
    `Waiting: ${countOf(count, "request")}`,
    html`
      <div class="scroll">
        <table>
      <tr><th class="num">age</th><th>request</th><th>for</th><th>at</th></tr>
      ${first.map((request) => requestOf(request, at))}
        </table>
      </div>${rest}
    `,
    true,
  );
}

function requestOf(request: WaitingRequest, now: number): Html {
  const { name, peer, dbid, device } = request;
  const channel = dbid === null ? "" : ` channel ${dbid}`;
  const whom = peer === null ? html`the node` : html`${keyOf(peer)}${channel}`;
  const where = device === null
    ? html`<span class="soft">nobody yet</span>`
    : foreign(device);
  return html`
    <tr>
      <td class="num">${ageOf(request.askedAt, now)}</td>
      <td>${name} <span class="tag plain">${request.class}</span></td>
      <td>${whom}</td>
      <td>${where}</td>
    </tr>
  `;
}

/** How long answers took lately. */
export function latencyCard(rows: readonly LatencyStatus[]): Html {
  const title = "How long answers took";
  if (rows.length === 0) {
    return card(title, html`<p class="soft">nothing was asked yet</p>`);
  }
  return card(
    title,
    html`
      <div class="scroll">
        <table>
      <tr><th>of the last</th><th class="num">half within</th><th class="num">99 % within</th><th class="num">longest</th></tr>
      ${rows.map(latencyRow)}
        </table>
      </div>
    `,
  );
}

function latencyRow(row: LatencyStatus): Html {
  const figure = (ms: number) => html`<td class="num">${showMs(ms)}</td>`;
  return html`
    <tr><td>${row.count} ${row.class}</td>${figure(row.medianMs)}${figure(
      row.p99Ms,
    )}${figure(row.mostMs)}</tr>
  `;
}

/** The chain as the device has it. */
export function chainCard({ chain, heartbeat, at }: StatusSnapshot): Html {
  return card(
    "Chain",
    html`<dl>${chainRows(chain, at)}${heartbeatRow(heartbeat, at)}</dl>`,
  );
}

function chainRows(chain: ChainStatus | null, now: number): Html {
  if (chain === null) {
    return rowOf("device", html`is not shown it (bitcoind_url is off)`);
  }
  const since = chain.at === null
    ? NOTHING
    : html`, ${ageOf(chain.at, now)} ago`;
  const problem = chain.problem === null ? NOTHING : rowOf(
    "problem",
    html`<span class="lost">${foreign(chain.problem)}</span>`,
  );
  return html`${rowOf("device", html`${chainWords(chain)}${since}`)}${problem}`;
}

function heartbeatRow(beat: HeartbeatStatus | null, now: number): Html {
  if (beat === null) return NOTHING;
  const height = beat.height === null ? "" : ` at block ${beat.height}`;
  const what = beat.kind === "missing" ? "looked for" : "by its own clock";
  return rowOf(
    "heartbeat",
    html`${HEARTBEAT_WORDS[beat.kind]}${height}, ${what} ${
      ageOf(beat.at, now)
    } ago`,
  );
}

/** What happened since the start. */
export function countsCard(
  { counts, handshakes, startedAt, at }: StatusSnapshot,
): Html {
  return card(
    "Since the start",
    html`<dl>${rowOf("started", clockOf(startedAt, at))}
${rowOf("requests", html`${counts.requests}: ${countWords(counts)}`)}
${rowOf("refused", html`${counts.refused}`)}
${rowOf("device lost", html`${counts.disconnects} times`)}
${rowOf("strangers", html`${strangerWords(handshakes)}`)}</dl>`,
  );
}

/** What was refused. */
export function refusalsCard({ refusals, at }: StatusSnapshot): Html {
  const content = refusals.length === 0
    ? html`<p class="soft">nothing was refused</p>`
    : html`<ul>${refusals.map((one) => refusalOf(one, at))}</ul>`;
  return card("Refusals by rule", content);
}

function refusalOf(refusal: RefusalStatus, now: number): Html {
  const times = refusal.count === 1 ? "" : `, ${refusal.count} times`;
  return html`
    <li><span class="name">${foreign(refusal.rule)}</span>
    <span class="soft small">${refusal.request}, ${ageOf(
      refusal.at,
      now,
    )} ago${times}</span><br>${foreign(refusal.reason)}</li>
  `;
}

/** What went wrong. */
export function errorsCard({ errors, at }: StatusSnapshot): Html {
  const content = errors.length === 0
    ? html`<p class="soft">none</p>`
    : html`<ul>${errors.map((one) => errorOf(one, at))}</ul>`;
  return card("Errors", content);
}

function errorOf({ at, cid, text }: ErrorStatus, now: number): Html {
  const who = cid === null ? html`the broker` : foreign(cid);
  return html`
    <li><span class="soft small">${ageOf(
      at,
      now,
    )} ago, ${who}:</span> ${foreign(text)}</li>
  `;
}
