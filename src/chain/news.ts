/**
 * What a feeder tells whoever shows it: how far the device is, and what is in
 * the way.
 *
 * @module
 */

import type { Pulse } from "./heartbeat.ts";

/** One thing that happened. */
export type ChainNews =
  /** The device is at this height, bitcoind at that one. */
  | { readonly kind: "at"; readonly height: number; readonly tip: number }
  /** The device has one block more. */
  | { readonly kind: "added" }
  /** The device took a block back. */
  | { readonly kind: "removed" }
  | { readonly kind: "problem"; readonly text: string }
  | { readonly kind: "pulse"; readonly pulse: Pulse };
