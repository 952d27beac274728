/**
 * `deno task replay [--broker PATH] [--softkey PATH] [FILTER...]`: plays
 * recordings of real nodes through the whole path and compares every answer.
 *
 * Recordings in which the strict policy has to refuse something
 * (`tests/replay/refusals.json`) are left out: their node does not go on as it
 * did. The signer alone answers all of them in `tests/replay/signer_test.ts`.
 *
 * A filter is a part of a recording's name, or the path of a recording that is
 * not among the fixtures. Exit code 0 when every answer was the recorded one,
 * 1 when not, 2 when there is nothing to play.
 *
 * @module
 */

import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { recordingName, recordingsIn } from "../tests/support/recording.ts";
import { expectedRefusals } from "../tests/support/refusals.ts";
import {
  describeOutcome,
  isIdentical,
  playWholePath,
  type WholePathOptions,
} from "../tests/support/whole_path.ts";

const EXTENSION = ".jsonl.gz";

/** The recordings that a command line means. */
function pick(filters: readonly string[]): URL[] {
  const all = recordingsIn("vectors", "flows");
  if (filters.length === 0) return all;
  return filters.flatMap((filter) =>
    filter.endsWith(EXTENSION)
      ? [pathToFileURL(resolve(filter))]
      : all.filter(({ href }) => href.includes(filter))
  );
}

async function replay(
  paths: readonly URL[],
  options: WholePathOptions,
): Promise<number> {
  const total = { requests: 0, identical: 0, wrong: 0 };
  const started = performance.now();
  const refusing = new Set(expectedRefusals().map((row) => row.recording));
  let leftOut = 0;
  for (const path of paths) {
    if (refusing.has(recordingName(path))) {
      console.log(`${recordingName(path)}: left out, its node is refused`);
      leftOut += 1;
      continue;
    }
    const outcome = await playWholePath(path, options);
    console.log(describeOutcome(outcome));
    total.requests += outcome.requests;
    total.identical += outcome.identical;
    if (!isIdentical(outcome)) total.wrong += 1;
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(
    `\n${paths.length} recordings, ${leftOut} left out, ` +
      `${total.wrong} wrong; ` +
      `${total.identical} of ${total.requests} answers identical; ${seconds} s`,
  );
  return total.wrong === 0 ? 0 : 1;
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    args: [...Deno.args],
    allowPositionals: true,
    options: { broker: { type: "string" }, softkey: { type: "string" } },
  });
  const absolute = (path: string | undefined) => path && resolve(path);
  const paths = pick(positionals);
  if (paths.length === 0) console.error("replay: no recording has that name");
  Deno.exit(
    paths.length === 0 ? 2 : await replay(paths, {
      broker: absolute(values.broker),
      softkey: absolute(values.softkey),
    }),
  );
}
