/**
 * What the broker can say about itself: counts as things happen, and a snapshot
 * for whoever looks.
 *
 * What it does not do: decide anything. Nothing in the broker depends on it.
 *
 * @module
 */

import type { Metrics } from "../metrics/metrics.ts";
import { RecentTimes } from "../metrics/recent.ts";
import type { Request } from "../unixfd.ts";
import { NOBODY } from "../wire/types.ts";
import { classOf } from "./classes.ts";
import type { Device } from "./device.ts";
import type { DeviceError, Unsubscribe } from "./face.ts";
import { barrierOf, type FleetFacts, type Member } from "./fleet.ts";
import { Notes } from "./notes.ts";
import type { PairingBook } from "./pairing.ts";
import type { PairingMode } from "./pairing_desk.ts";
import type { Pending, RequestQueue } from "./queue.ts";
import type { Reception } from "./reception.ts";
import { ruleIn } from "./refusals.ts";
import {
  type ChainStatus,
  type DeviceRole,
  type DeviceStatus,
  type HeartbeatStatus,
  MOST_WAITING,
  type StatusSnapshot,
  type WaitingRequest,
} from "./status.ts";
import type { Storage } from "./storage.ts";

/** What it looks at. */
export interface OverviewOptions {
  readonly reception: Reception;
  readonly queue: RequestQueue;
  readonly metrics: Metrics;
  readonly book: PairingBook;
  readonly storage: Storage | null;
  readonly pairing: PairingMode;
  /** When the first device was paired; null while none is. */
  readonly pairedSince: () => number | null;
  /** Unix time in milliseconds. */
  readonly now: () => number;
  readonly address: () => string;
  /** Null: handshakes are not limited. */
  readonly handshakeRate: number | null;
  readonly memberOf: (device: Device) => Member;
}

/** Who signs, and why. */
export interface Choice {
  readonly active: Device | null;
  readonly why: string;
  readonly facts: FleetFacts;
}

/** Times of the last handshakes that are kept, for their rate. */
const MOST_HANDSHAKES = 1_000;
const SECOND_MS = 1_000;

/** Sees what happens, and says it. */
export class Overview {
  readonly #options: OverviewOptions;
  readonly #startedAt: number;
  readonly #notes = new Notes();
  readonly #recent = new RecentTimes();
  readonly #changeListeners = new Set<() => void>();
  readonly #errorListeners = new Set<(error: DeviceError) => void>();
  /** Since when a device has its role. */
  readonly #roles = new WeakMap<
    Device,
    { readonly role: DeviceRole; readonly since: number }
  >();
  /** Client ids that were ready once. */
  readonly #known = new Set<string>();
  #handshakes: number[] = [];
  #requests = 0;
  #answered = 0;
  #refused = 0;
  #disconnects = 0;
  #chain: ChainStatus | null = null;
  #heartbeat: HeartbeatStatus | null = null;
  #idleSince: number | null;
  #isTelling = false;

  constructor(options: OverviewOptions) {
    this.#options = options;
    this.#startedAt = options.now();
    this.#idleSince = this.#startedAt;
    options.metrics.beforeReading(() => this.#setGauges());
  }

  // ------------------------------------------------------- what happens

  /** A request came. */
  takeRequest(request: Request): void {
    const { metrics, now } = this.#options;
    this.#requests += 1;
    const kind = classOf(request);
    metrics.add("remote_hsmd_requests_total", [request.row.name, kind]);
    if (kind !== "handshake") return;
    metrics.add("remote_hsmd_peer_handshakes_total", []);
    this.#handshakes.push(now());
    if (this.#handshakes.length > MOST_HANDSHAKES) this.#handshakes.shift();
  }

  /** A device answered one. */
  takeAnswer(pending: Pending): void {
    const { metrics } = this.#options;
    const { class: kind, begunMs, sentMs } = pending;
    const endMs = performance.now();
    const ms = endMs - begunMs;
    this.#answered += 1;
    this.#recent.take(kind, ms);
    metrics.observe("remote_hsmd_request_seconds", [kind], ms / SECOND_MS);
    if (sentMs === null) return;
    const part = "remote_hsmd_request_part_seconds";
    metrics.observe(part, [kind, "queued"], (sentMs - begunMs) / SECOND_MS);
    metrics.observe(part, [kind, "device"], (endMs - sentMs) / SECOND_MS);
  }

  /** A device said no. */
  takeRefusal(request: Request, reason: string): void {
    const { metrics, now } = this.#options;
    const rule = ruleIn(reason) ?? request.row.name;
    this.#refused += 1;
    metrics.add("remote_hsmd_refusals_total", [rule]);
    const at = now();
    this.#notes.refused({ rule, at, request: request.row.name, reason });
    this.noteChange();
  }

  /** A device told of an error outside of any answer. */
  takeError(error: DeviceError): void {
    const { metrics, now } = this.#options;
    metrics.add("remote_hsmd_device_errors_total", []);
    const { cid, text } = error;
    this.#notes.failed({ at: now(), cid, text });
    for (const listener of this.#errorListeners) listener(error);
    this.noteChange();
  }

  /** A device may be asked. */
  takeReady(device: Device): void {
    const { dialect, session } = device;
    const { metrics, now } = this.#options;
    this.#roles.set(device, { role: "warm", since: now() });
    const { name } = dialect;
    metrics.add("remote_hsmd_device_connections_total", [name]);
    if (this.#known.has(session.cid)) {
      metrics.add("remote_hsmd_device_reconnects_total", [name]);
    } else if (this.#known.size < MOST_HANDSHAKES) {
      this.#known.add(session.cid);
    }
    this.noteChange();
  }

  /** A device that was asked is gone. */
  takeLoss(): void {
    this.#disconnects += 1;
    this.noteChange();
  }

  /** Another device signs now, or none. */
  takeActive(device: Device | null): void {
    const at = this.#options.now();
    this.#idleSince = device === null ? at : null;
    if (device !== null) this.#roles.set(device, { role: "active", since: at });
    this.noteChange();
  }

  /** What the chain's follower found. */
  takeChain(chain: ChainStatus | null): void {
    this.#chain = chain;
    this.noteChange();
  }

  /** The device's signed word about its chain. */
  takeHeartbeat(heartbeat: HeartbeatStatus): void {
    this.#heartbeat = heartbeat;
    this.noteChange();
  }

  /** Something is another; told once for all that happens in one turn. */
  noteChange(): void {
    if (this.#isTelling || this.#changeListeners.size === 0) return;
    this.#isTelling = true;
    queueMicrotask(() => {
      this.#isTelling = false;
      for (const listener of this.#changeListeners) listener();
    });
  }

  /** Hears that a snapshot would look different. */
  onChange(listener: () => void): Unsubscribe {
    this.#changeListeners.add(listener);
    return () => this.#changeListeners.delete(listener);
  }

  /** Hears each error of a device. */
  onError(listener: (error: DeviceError) => void): Unsubscribe {
    this.#errorListeners.add(listener);
    return () => this.#errorListeners.delete(listener);
  }

  // ------------------------------------------------------- what it says

  /** Everything, as it is now. */
  snapshot(choice: Choice): StatusSnapshot {
    const { now, queue } = this.#options;
    const handshakes = queue.counts().get("handshake");
    return {
      at: now(),
      startedAt: this.#startedAt,
      node: this.#node(choice),
      devices: this.#devices(choice),
      waiting: {
        count: queue.size,
        oldestAt: queue.oldest?.askedAt ?? null,
        first: queue.list(MOST_WAITING).map(waitingOf),
      },
      counts: {
        requests: this.#requests,
        answered: this.#answered,
        refused: this.#refused,
        disconnects: this.#disconnects,
      },
      refusals: this.#notes.refusals,
      latency: this.#recent.summaries(),
      chain: this.#chain,
      heartbeat: this.#heartbeat,
      errors: this.#notes.errors,
      handshakes: {
        allowedPerSecond: this.#options.handshakeRate ?? 0,
        perSecond: this.#handshakeRate(),
        delayed: queue.delayedHandshakes,
        waiting: handshakes?.waiting ?? 0,
      },
    };
  }

  #node({ active }: Choice): StatusSnapshot["node"] {
    const { reception, book, address, pairing, pairedSince } = this.#options;
    return {
      network: reception.network?.name ?? null,
      nodeId: book.current?.identity.nodeId.toHex() ?? null,
      pairedAt: pairedSince(),
      pairing,
      address: address(),
      isStarted: reception.hasInit && !reception.isInitOpen,
      idleSince: active === null ? this.#idleSince : null,
    };
  }

  #devices(choice: Choice): readonly DeviceStatus[] {
    const { reception } = this.#options;
    const all = reception.devices.map((device) => this.#device(device, choice));
    return all.toSorted((a, b) =>
      Number(b.role === "active") - Number(a.role === "active")
    );
  }

  #device(device: Device, choice: Choice): DeviceStatus {
    const { session, dialect, software, stage, led, stand, storage } = device;
    const { role, why } = this.#roleOf(device, choice);
    const revision = storage?.revision ?? null;
    return {
      cid: session.cid,
      dialect: dialect.name,
      software,
      isSealed: session.isSealed,
      from: session.from,
      stage,
      role,
      why,
      connectedAt: device.connectedAt,
      roleSince: this.#since(device, role),
      led,
      generation: stand === null ? null : String(stand.generation),
      revision,
      storageRevision: storage === null
        ? null
        : this.#options.storage?.revision ?? null,
      inFlight: device.inFlight,
    };
  }

  #roleOf(
    device: Device,
    { active, facts }: Choice,
  ): { readonly role: DeviceRole; readonly why: string | null } {
    if (device === active) return { role: "active", why: null };
    if (device.stage === "connected") {
      return { role: "held", why: "it is not let in" };
    }
    if (device.stage === "pairing") {
      return { role: "held", why: "its owner is asked whether to pair" };
    }
    if (device.stage !== "ready") return { role: "coming", why: null };
    const barrier = barrierOf(this.#options.memberOf(device), facts);
    return barrier === null
      ? { role: "warm", why: null }
      : { role: "held", why: barrier };
  }

  /** A role that nobody told of began with the connection. */
  #since(device: Device, role: DeviceRole): number {
    const known = this.#roles.get(device);
    if (known?.role === role) return known.since;
    const since = known === undefined
      ? device.connectedAt
      : this.#options.now();
    this.#roles.set(device, { role, since });
    return since;
  }

  #handshakeRate(): number {
    const from = this.#options.now() - SECOND_MS;
    this.#handshakes = this.#handshakes.filter((at) => at > from);
    return this.#handshakes.length;
  }

  /** Queue lengths change too often to be kept. */
  #setGauges(): void {
    const { metrics, queue } = this.#options;
    for (const [kind, { waiting, sent }] of queue.counts()) {
      metrics.set("remote_hsmd_queue_length", [kind], waiting + sent);
    }
  }
}

function waitingOf(pending: Pending): WaitingRequest {
  const { request, class: kind, askedAt, sentTo } = pending;
  const { peerId, dbid } = request.requester;
  const isNobody = peerId.toHex() === NOBODY.toHex();
  return {
    name: request.row.name,
    class: kind,
    peer: isNobody ? null : peerId.toHex(),
    dbid: dbid === 0n ? null : String(dbid),
    askedAt,
    device: sentTo?.session.cid ?? null,
  };
}
