/**
 * The tour check walks a good tour to its end and says where a bad one breaks.
 *
 * @module
 */

import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { walkTour } from "../../scripts/check_tour.ts";

type Tree = Readonly<Record<string, string>>;

const GOOD: Tree = {
  "main.ts": "//~ It starts here.\n\n//~ Next: wire/codec.ts turns\n//~ bytes.",
  "src/wire/codec.ts":
    "/**\n * //~ A kernel. Next:\n * //~ tests/README.md.\n */",
  "src/wire/quiet.ts": "// no stop",
  "tests/README.md": "# Tests",
};

async function walk(tree: Tree) {
  const directory = await Deno.makeTempDir();
  try {
    const root = pathToFileURL(`${directory}/`);
    for (const [path, text] of Object.entries(tree)) {
      const url = new URL(path, root);
      await Deno.mkdir(new URL(".", url), { recursive: true });
      await Deno.writeTextFile(url, text);
    }
    return await walkTour(root);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("A whole tour is walked in order and has no problem", async () => {
  const { files, problems } = await walk(GOOD);
  assert.deepEqual(problems, []);
  assert.deepEqual(
    files.map(({ path, stops }) => [path, stops.map(({ text }) => text)]),
    [
      ["main.ts", [
        "It starts here.",
        "Next: wire/codec.ts turns bytes.",
      ]],
      ["src/wire/codec.ts", ["A kernel. Next: tests/README.md."]],
    ],
  );
});

const CODEC = "src/wire/codec.ts";
const BROKEN: readonly (readonly [string, Tree, RegExp])[] = [
  ["no start", { "main.ts": "" }, /^main\.ts:1: is on the tour, want/],
  [
    "a file that is not there",
    { "main.ts": "//~ Next: wire/gone.ts." },
    /^main\.ts:1: links to wire\/gone\.ts, which is not there/,
  ],
  [
    "a file without a stop",
    { "main.ts": "//~ Next: wire/quiet.ts." },
    /^src\/wire\/quiet\.ts:1: is on the tour, want/,
  ],
  [
    "no link at its end",
    { [CODEC]: "\n//~ A kernel." },
    /^src\/wire\/codec\.ts:2: ends the tour, want "Next: <path>"/,
  ],
  [
    "a link before the last stop",
    { [CODEC]: "//~ Next: tests/README.md.\n\n//~ A kernel." },
    /^src\/wire\/codec\.ts:1: links before its end/,
  ],
  [
    "a way back",
    { [CODEC]: "//~ Next: main.ts." },
    /^src\/wire\/codec\.ts:1: links back to main\.ts/,
  ],
  [
    "a stop that is never reached",
    { "src/wire/quiet.ts": "//~ Hello." },
    /^src\/wire\/quiet\.ts:1: has a stop that the tour never reaches/,
  ],
];

for (const [name, change, found] of BROKEN) {
  Deno.test(`A tour with ${name} is refused`, async () => {
    const { problems } = await walk({ ...GOOD, ...change });
    const [first] = problems;
    assert.ok(first !== undefined);
    assert.match(`${first.path}:${first.line}: ${first.text}`, found);
  });
}

Deno.test("A tour without its last page is refused", async () => {
  const { "tests/README.md": _, ...rest } = GOOD;
  const { problems } = await walk(rest);
  assert.deepEqual(problems.map(({ path }) => path), ["tests/README.md"]);
});
