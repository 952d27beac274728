/**
 * What HTTP and the command line may ask of the broker, and nothing else.
 *
 *     cli/http/*  --BrokerFace-->  broker.ts
 *
 * @module
 */

import type { Metrics } from "../metrics/metrics.ts";
import type { Health } from "./challenge.ts";
import type { DeviceErrorCode } from "./device_error.ts";
import type { StatusSnapshot } from "./status.ts";

/** What a device answered to a signed control message. */
export type ControlOutcome =
  | { readonly kind: "answered"; readonly reply: Uint8Array }
  /** No device of this client id is connected. */
  | { readonly kind: "unknown" }
  /** It left, it is not asked that, or it did not answer in time. */
  | { readonly kind: "failed"; readonly reason: string };

/** What became of the operator's choice of a device. */
export type UseOutcome =
  | { readonly kind: "done"; readonly text: string }
  /** No device of this client id is known. */
  | { readonly kind: "unknown" }
  /** Not without force: says what could happen. */
  | { readonly kind: "refused"; readonly reason: string };

/** Something a device said went wrong. */
export interface DeviceError {
  readonly cid: string;
  readonly code: DeviceErrorCode;
  /** Printable, and hostile all the same. */
  readonly text: string;
}

/** Ends a subscription; may be called twice. */
export type Unsubscribe = () => void;

/** The broker as its operator sees it. */
export interface BrokerFace {
  readonly metrics: Metrics;
  snapshot(): StatusSnapshot;
  /** Hears that a snapshot would look different now; often, so keep it short. */
  onChange(listener: () => void): Unsubscribe;
  /** Hears each error of a device. */
  onError(listener: (error: DeviceError) => void): Unsubscribe;
  /** A real signature of the node's key, or why there is none. */
  challenge(): Promise<Health>;
  /** Passes a signed control message on to a device. */
  control(cid: string, envelope: Uint8Array): Promise<ControlOutcome>;
  /** Makes a device the active one. */
  use(
    cid: string,
    options: { readonly isForced: boolean },
  ): Promise<UseOutcome>;
}
