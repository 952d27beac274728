/**
 * A broker's face without a broker: says what a test gives it to say.
 *
 * @module
 */

import type {
  BrokerFace,
  ControlOutcome,
  DeviceError,
  Unsubscribe,
  UseOutcome,
} from "../../../src/broker/face.ts";
import type { Health } from "../../../src/broker/challenge.ts";
import type {
  DeviceStatus,
  StatusSnapshot,
  WaitingRequest,
} from "../../../src/broker/status.ts";
import { Metrics } from "../../../src/metrics/metrics.ts";

/** When everything in a sample happened: 2026-11-21 12:03 UTC. */
export const NOON = Date.UTC(2026, 10, 21, 12, 3);

/** A device that signs. */
export const SIGNING: DeviceStatus = {
  cid: "softkey-1",
  dialect: "native",
  software: "softkey 0.1.0",
  isSealed: true,
  from: "192.168.1.20:51234",
  stage: "ready",
  role: "active",
  why: null,
  connectedAt: NOON - 60_000,
  roleSince: NOON,
  led: "signing",
  generation: "10422",
  revision: null,
  storageRevision: null,
  inFlight: 0,
};

/** A quiet node with one device. */
export const QUIET: StatusSnapshot = {
  at: NOON + 125_000,
  startedAt: NOON - 90_000,
  node: {
    network: "bitcoin",
    nodeId:
      "02b98a7fb8cc007048625b6446ad49a1b3a722df8c1ca975b87160023e14d19097",
    pairedAt: NOON - 40 * 86_400_000,
    pairing: "code",
    address: "mqtts://node.example:8883",
    isStarted: true,
    idleSince: null,
  },
  devices: [SIGNING],
  waiting: { count: 0, oldestAt: null, first: [] },
  counts: { requests: 18_233, answered: 18_230, refused: 3, disconnects: 2 },
  refusals: [],
  latency: [
    { class: "commitment", count: 512, medianMs: 2.31, p99Ms: 9.8, mostMs: 41 },
    { class: "handshake", count: 120, medianMs: 0.42, p99Ms: 3.2, mostMs: 12 },
    { class: "operator", count: 7, medianMs: 4.1, p99Ms: 310, mostMs: 310 },
  ],
  chain: {
    height: 922_140,
    tip: 922_140,
    at: NOON - 300_000,
    isCatchingUp: false,
    problem: null,
  },
  heartbeat: { kind: "fresh", at: NOON + 100_000, height: 922_140 },
  errors: [],
  handshakes: { allowedPerSecond: 20, perSecond: 1, delayed: 0, waiting: 0 },
};

/** A request that waits. */
export const WAITING: WaitingRequest = {
  name: "sign_remote_commitment_tx",
  class: "commitment",
  peer: "03a769efb79e88f7b6ec0db2d02187cb7dd1b52f930289d0a16849e55f573f2261",
  dbid: "17",
  askedAt: NOON + 60_000,
  device: null,
};

/** Nobody signs, and three requests wait. */
export const ABANDONED: StatusSnapshot = {
  ...QUIET,
  node: { ...QUIET.node, idleSince: NOON },
  devices: [],
  waiting: {
    count: 3,
    oldestAt: NOON + 60_000,
    first: [WAITING, WAITING, { ...WAITING, peer: null, dbid: null }],
  },
};

/** Says what it is given; remembers what it was asked. */
export class FakeFace implements BrokerFace {
  readonly metrics = new Metrics();
  status: StatusSnapshot = QUIET;
  health: Health = { isHealthy: true, at: NOON, tookMs: 3 };
  controlOutcome: ControlOutcome = { kind: "unknown" };
  useOutcome: UseOutcome = { kind: "unknown" };
  readonly controlled: { readonly cid: string; readonly hex: string }[] = [];
  readonly used: { readonly cid: string; readonly isForced: boolean }[] = [];
  readonly changeListeners = new Set<() => void>();
  readonly errorListeners = new Set<(error: DeviceError) => void>();

  snapshot(): StatusSnapshot {
    return this.status;
  }

  onChange(listener: () => void): Unsubscribe {
    this.changeListeners.add(listener);
    return () => void this.changeListeners.delete(listener);
  }

  onError(listener: (error: DeviceError) => void): Unsubscribe {
    this.errorListeners.add(listener);
    return () => void this.errorListeners.delete(listener);
  }

  challenge(): Promise<Health> {
    return Promise.resolve(this.health);
  }

  control(cid: string, envelope: Uint8Array): Promise<ControlOutcome> {
    this.controlled.push({ cid, hex: envelope.toHex() });
    return Promise.resolve(this.controlOutcome);
  }

  use(
    cid: string,
    { isForced }: { readonly isForced: boolean },
  ): Promise<UseOutcome> {
    this.used.push({ cid, isForced });
    return Promise.resolve(this.useOutcome);
  }

  /** Something is another way from now on. */
  change(status: StatusSnapshot): void {
    this.status = status;
    for (const listener of this.changeListeners) listener();
  }

  /** A device says that something went wrong. */
  fail(error: DeviceError): void {
    for (const listener of this.errorListeners) listener(error);
  }
}
