/**
 * Prints the tour in the order in which it is walked, and fails on a broken
 * link.
 *
 *     deno run --allow-read scripts/check_tour.ts
 *
 * A stop is a run of comment lines that start with `//~`, also inside of a block
 * comment (` * //~`). A file has one link, in its last stop: the word "Next:",
 * then the path of the next file relative to src or to the root, with its
 * ending. The tour starts in main.ts and ends in tests/README.md.
 *
 * @module
 */

import { exists, findFiles, type Problem, report } from "./problems.ts";

/** A paragraph of the tour. */
interface Stop {
  /** Line of its first words. */
  readonly line: number;
  readonly text: string;
}

/** What the tour says, and what is wrong with it. */
export interface Tour {
  /** In order: the files that are reached, and their stops. */
  readonly files: readonly {
    readonly path: string;
    readonly stops: readonly Stop[];
  }[];
  readonly problems: readonly Problem[];
}

const START = "main.ts";
const END = "tests/README.md";
const PLACES = ["main.ts", "mod.ts", "src/", "scripts/", "tests/"];
const STOP_LINE = /^\s*(?:\*\s*)?\/\/~ ?(.*)$/;
const LINK = /\bNext:\s+([\w./-]+\.(?:ts|md))\b/g;

/** Walks the tour of the tree under `root`. */
export async function walkTour(root: URL): Promise<Tour> {
  const stops = await readStops(root);
  const problems: Problem[] = [];
  const path: string[] = [];
  let next: string | null = START;
  while (next !== null && next !== END) {
    path.push(next);
    const step = await takeStep(root, { from: next, stops, path });
    if (step.problem !== null) problems.push(step.problem);
    next = step.next;
  }
  if (next === END && !await exists(new URL(END, root))) {
    problems.push({
      path: END,
      line: 1,
      text: "is not there, the tour ends here",
    });
  }
  const unreached = [...stops.keys()].filter((file) => !path.includes(file));
  for (const file of unreached) {
    const line = stops.get(file)?.[0]?.line ?? 1;
    const text = "has a stop that the tour never reaches, want a link to it";
    problems.push({ path: file, line, text });
  }
  const files = path.map((path) => ({ path, stops: stops.get(path) ?? [] }));
  return { files, problems };
}

/** Follows the link of one file; the tour ends where there is a problem. */
async function takeStep(
  root: URL,
  { from, stops, path }: {
    readonly from: string;
    readonly stops: ReadonlyMap<string, readonly Stop[]>;
    readonly path: readonly string[];
  },
): Promise<{ readonly next: string | null; readonly problem: Problem | null }> {
  const broken = (line: number, text: string) => ({
    next: null,
    problem: { path: from, line, text },
  });
  const own = stops.get(from) ?? [];
  const last = own.at(-1);
  if (last === undefined) return broken(1, "is on the tour, want a //~ stop");
  const links = own.flatMap((stop) =>
    [...stop.text.matchAll(LINK)].map((match) => ({
      stop,
      link: `${match[1]}`,
    }))
  );
  const [first] = links;
  if (first === undefined) {
    return broken(last.line, 'ends the tour, want "Next: <path>" in this stop');
  }
  if (links.length > 1 || first.stop !== last) {
    const text = "links before its end, want one link, in the last stop";
    return broken(first.stop.line, text);
  }
  const next = await resolveLink(root, first.link);
  if (next === null) {
    return broken(last.line, `links to ${first.link}, which is not there`);
  }
  return path.includes(next)
    ? broken(last.line, `links back to ${next}, want a file not seen yet`)
    : { next, problem: null };
}

/** The path from the root of what a link names; null when there is no file. */
async function resolveLink(root: URL, link: string): Promise<string | null> {
  if (link === END) return link;
  for (const path of [`src/${link}`, link]) {
    if (await exists(new URL(path, root))) return path;
  }
  return null;
}

/** The stops of every file that has some. */
async function readStops(root: URL): Promise<Map<string, readonly Stop[]>> {
  const found = new Map<string, readonly Stop[]>();
  for (const path of await findFiles(root, PLACES, ".ts")) {
    const stops = findStops(await Deno.readTextFile(new URL(path, root)));
    if (stops.length > 0) found.set(path, stops);
  }
  return found;
}

/** Runs of tour lines, each as one paragraph. */
export function findStops(source: string): Stop[] {
  const stops: { line: number; text: string }[] = [];
  let isInside = false;
  for (const [index, line] of source.split("\n").entries()) {
    const text = line.match(STOP_LINE)?.[1]?.trim();
    const open = stops.at(-1);
    if (text !== undefined && isInside && open !== undefined) {
      open.text = `${open.text} ${text}`.trim();
    } else if (text !== undefined) stops.push({ line: index + 1, text });
    isInside = text !== undefined;
  }
  return stops;
}

/** Prints a paragraph in lines of up to 78 characters, indented. */
function printParagraph(text: string): void {
  const lines = text.match(/.{1,76}(?:\s|$)/g) ?? [];
  for (const line of lines) console.log(`  ${line.trimEnd()}`);
  console.log();
}

function printTour({ files }: Tour): void {
  for (const { path, stops } of files) {
    console.log(`${path}\n`);
    for (const { text } of stops) printParagraph(text);
  }
}

if (import.meta.main) {
  const tour = await walkTour(new URL("../", import.meta.url));
  printTour(tour);
  Deno.exitCode = report("tour", tour.problems);
}
