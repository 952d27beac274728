/**
 * A storage whose writes are counted.
 *
 * @module
 */

import type { Metrics } from "../metrics/metrics.ts";
import type { PutOutcome, Storage } from "./storage.ts";

const SECOND_MS = 1_000;

/** The same storage; its puts show up in the metrics. */
export function measureStorage(
  storage: Storage,
  metrics: Metrics,
  /** Milliseconds of any clock that never goes back. */
  clock: () => number = () => performance.now(),
): Storage {
  const put: Storage["put"] = async (auth, entries, hmac) => {
    const begun = clock();
    const outcome = await counted(metrics, storage.put(auth, entries, hmac));
    if (outcome.kind === "conflict") return outcome;
    const seconds = (clock() - begun) / SECOND_MS;
    metrics.observe("remote_hsmd_storage_put_seconds", [], seconds);
    const bytes = entries.reduce((sum, { value }) => sum + value.length, 0);
    metrics.add("remote_hsmd_storage_bytes_total", [], bytes);
    return outcome;
  };
  return {
    serverKey: () => storage.serverKey(),
    get: (auth, nonce) => storage.get(auth, nonce),
    put,
    get revision() {
      return storage.revision;
    },
    turns: storage.turns,
    close: () => storage.close(),
  };
}

async function counted(
  metrics: Metrics,
  put: Promise<PutOutcome>,
): Promise<PutOutcome> {
  const name = "remote_hsmd_storage_puts_total";
  try {
    const outcome = await put;
    metrics.add(name, [outcome.kind]);
    return outcome;
  } catch (error) {
    metrics.add(name, ["failed"]);
    throw error;
  }
}
