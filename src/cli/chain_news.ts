/**
 * What the chain's follower tells, put where status and metrics show it.
 *
 * @module
 */

import type { Broker } from "../broker.ts";
import type { ChainStatus } from "../broker/status.ts";
import type { ChainNews } from "../chain.ts";

const NOTHING: ChainStatus = {
  height: null,
  tip: null,
  at: null,
  isCatchingUp: false,
  problem: null,
};

/** Takes news to a broker's overview; `now` in Unix milliseconds. */
export function chainNewsFor(
  { overview, metrics }: Pick<Broker, "overview" | "metrics">,
  now: () => number,
): (news: ChainNews) => void {
  let status = NOTHING;
  const show = (next: ChainStatus) => {
    status = next;
    overview.takeChain(status);
  };
  show(NOTHING);
  return (news) => {
    switch (news.kind) {
      case "at": {
        const { height, tip } = news;
        const isCatchingUp = height < tip;
        return show({ height, tip, at: now(), isCatchingUp, problem: null });
      }
      case "added":
        return metrics.add("remote_hsmd_chain_blocks_total", []);
      case "removed":
        return metrics.add("remote_hsmd_chain_reorgs_total", []);
      case "problem":
        return show({ ...status, problem: news.text });
      case "pulse": {
        const { pulse } = news;
        return overview.takeHeartbeat(
          pulse.kind === "missing"
            ? { kind: "missing", at: now(), height: null }
            : {
              kind: pulse.kind,
              at: pulse.beat.time * 1000,
              height: pulse.beat.height,
            },
        );
      }
    }
  };
}
