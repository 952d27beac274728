/**
 * The page and the terminal say the same, and nothing hostile gets through.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import type { StatusSnapshot } from "../../../src/broker/status.ts";
import { escapeHtml, html } from "../../../src/cli/http/html.ts";
import { LED_COLOURS, LEDS } from "../../../src/cli/http/leds.ts";
import { bodyOf, PAGE_POLICY, pageOf } from "../../../src/cli/http/page.ts";
import { statusText } from "../../../src/cli/status_text.ts";
import {
  headlineOf,
  plain,
  showAge,
  showMs,
  showPiece,
} from "../../../src/cli/status_words.ts";
import { LED_ROWS } from "../../../src/device/led.ts";
import { ABANDONED, NOON, QUIET, SIGNING, WAITING } from "./fake_face.ts";

/** The headline with its times as `<clock>` and `<age>`. */
function headline(status: StatusSnapshot): readonly [string, string] {
  const { level, pieces } = headlineOf(status);
  const words = pieces.map((piece) =>
    typeof piece === "string" ? piece : `<${piece.as}>`
  );
  return [level, words.join("")];
}

Deno.test("one sentence says in what state the node's signer is", () => {
  const { chain } = QUIET;
  assert.ok(chain !== null);
  const paired = { ...ABANDONED.node, nodeId: null };
  const unpaired = { ...paired, pairedAt: null };
  const none = { count: 0, oldestAt: null, first: [] };
  const rows: readonly (readonly [StatusSnapshot, string, string])[] = [
    [QUIET, "good", "softkey-1 signs since <clock>"],
    [
      { ...ABANDONED, node: paired },
      "bad",
      "waiting for a paired device since <clock>: 3 requests",
    ],
    [ABANDONED, "bad", "waiting for a device since <clock>: 3 requests"],
    [
      { ...ABANDONED, waiting: none },
      "wait",
      "waiting for a device since <clock>: nothing waits for it",
    ],
    [
      { ...ABANDONED, node: { ...ABANDONED.node, isStarted: false } },
      "bad",
      "waiting for a device since <clock>: the node cannot start, 3 requests",
    ],
    [
      { ...ABANDONED, node: unpaired, waiting: none },
      "wait",
      "no device is paired yet (remote_hsmd_mqtt pair): waiting since " +
      "<clock>: nothing waits for it",
    ],
    [
      { ...ABANDONED, node: { ...unpaired, pairing: "first" }, waiting: none },
      "wait",
      "waiting for a first device since <clock>: nothing waits for it",
    ],
    [
      { ...ABANDONED, devices: [{ ...SIGNING, role: "coming" }] },
      "bad",
      "waiting for softkey-1 to be ready since <clock>: 3 requests",
    ],
    [
      {
        ...ABANDONED,
        devices: [{ ...SIGNING, role: "held", why: "its card is old" }],
      },
      "bad",
      "softkey-1 may not sign: its card is old",
    ],
    [
      {
        ...ABANDONED,
        devices: [{ ...SIGNING, role: "held", stage: "connected" }],
      },
      "bad",
      "waiting for a device since <clock>: 3 requests",
    ],
    [
      {
        ...QUIET,
        waiting: { count: 1, oldestAt: QUIET.at - 10_001, first: [WAITING] },
      },
      "wait",
      "softkey-1 has not answered for <age>: 1 request",
    ],
    [
      {
        ...QUIET,
        waiting: { count: 1, oldestAt: QUIET.at - 10_000, first: [WAITING] },
      },
      "good",
      "softkey-1 signs since <clock>",
    ],
    [
      { ...QUIET, devices: [{ ...SIGNING, led: "alarm" }] },
      "bad",
      "softkey-1 signs since <clock>; its light is an alarm",
    ],
    [
      {
        ...QUIET,
        devices: [SIGNING, {
          ...SIGNING,
          cid: "b",
          role: "warm",
          led: "alarm",
        }],
      },
      "bad",
      "softkey-1 signs since <clock>; b's light is an alarm",
    ],
    [
      { ...QUIET, chain: { ...chain, height: 5, tip: 9, isCatchingUp: true } },
      "wait",
      "softkey-1 signs since <clock>; it is catching up: block 5 of 9",
    ],
    [
      { ...QUIET, chain: { ...chain, problem: "no bitcoind" } },
      "wait",
      "softkey-1 signs since <clock>; it is shown no chain",
    ],
    [{ ...QUIET, chain: null }, "good", "softkey-1 signs since <clock>"],
  ];
  for (const [status, level, words] of rows) {
    assert.deepEqual(headline(status), [level, words]);
  }
});

Deno.test("ages and durations are said as people say them", () => {
  const ages = [
    [-5, "0 s"],
    [999, "0 s"],
    [59_999, "59 s"],
    [60_000, "1 min"],
    [3_599_999, "59 min"],
    [3_600_000, "1 h 00 min"],
    [11_100_000, "3 h 05 min"],
    [86_400_000, "1 d 0 h"],
    [270_000_000, "3 d 3 h"],
  ] as const;
  for (const [ms, text] of ages) assert.equal(showAge(ms), text);
  const spans = [
    [0, "0.00 ms"],
    [0.42, "0.42 ms"],
    [2.31, "2.3 ms"],
    [310, "310 ms"],
    [9_999, "9999 ms"],
    [12_340, "12.3 s"],
  ] as const;
  for (const [ms, text] of spans) assert.equal(showMs(ms), text);
  assert.equal(showPiece({ at: NOON, as: "age" }, NOON + 7_000), "7 s");
  const today = showPiece({ at: NOON, as: "clock" }, NOON);
  assert.match(today, /^\d\d:\d\d$/);
  const later = showPiece({ at: NOON, as: "clock" }, NOON + 40 * 86_400_000);
  assert.match(later, /^2026-11-2[0-2] \d\d:\d\d$/);
});

Deno.test("what is put into HTML comes out as text", () => {
  assert.equal(
    escapeHtml(`<a href="x" b='y'>&`),
    "&lt;a href=&quot;x&quot; " +
      "b=&#39;y&#39;&gt;&amp;",
  );
  const inner = html`<b>${"<i>"}</b>`;
  const whole = html`<p title="${'"><script>'}">${inner}${[inner, inner]}</p>`;
  const bold = "<b>&lt;i&gt;</b>";
  assert.equal(
    `${whole}`,
    `<p title="&quot;&gt;&lt;script&gt;">${bold}${bold}${bold}</p>`,
  );
});

/** A snapshot in which everything that others may choose is this text. */
function hostile(text: string): StatusSnapshot {
  return {
    ...QUIET,
    node: { ...QUIET.node, address: text },
    devices: (["active", "warm", "coming", "held"] as const).map((role) => ({
      ...SIGNING,
      role,
      cid: text,
      software: text,
      from: text,
      why: text,
      led: text,
      stage: text,
      generation: text,
    })),
    waiting: {
      count: 1,
      oldestAt: QUIET.at,
      first: [{ ...WAITING, peer: text, dbid: text, device: text }],
    },
    refusals: [{ rule: text, count: 2, at: NOON, request: text, reason: text }],
    errors: [{ at: NOON, cid: text, text }, { at: NOON, cid: null, text }],
    chain: {
      height: 1,
      tip: 2,
      at: NOON,
      isCatchingUp: true,
      problem: text,
    },
  };
}

/** Names of the elements in a piece of HTML, and of their attributes. */
function shapeOf(text: string): readonly string[] {
  return [
    ...text.matchAll(
      /<(\/?[a-z][a-z0-9]*)((?:\s+[a-zA-Z-]+(?:="[^"<>]*")?)*)\s*\/?>/g,
    ),
  ]
    .map(([, name = "", attributes = ""]) =>
      `${name} ${attributes.replace(/="[^"]*"/g, "").trim()}`
    );
}

const MARKS = [
  "<script>alert(1)</script>",
  `"><img src=x onerror=alert(1)>`,
  "' onmouseover='alert(1)",
  "</title></style></script><script>",
  "&lt;b&gt;",
  "<!--",
  "${1}",
  "\u202egpj.exe",
];

Deno.test("no text of a device or a peer adds an element to the page", () => {
  const wanted = shapeOf(`${bodyOf(hostile("harmless"))}`);
  assert.ok(wanted.length > 100);
  const text = fc.oneof(
    fc.constantFrom(...MARKS),
    fc.string(),
    fc.string({
      unit: "binary",
    }),
  );
  const check = (found: string) => {
    const body = `${bodyOf(hostile(found))}`;
    assert.deepEqual(shapeOf(body), wanted);
    const rest = body.replace(
      /<\/?[a-z][a-z0-9]*(?:\s+[a-zA-Z-]+(?:="[^"<>]*")?)*\s*\/?>/g,
      "",
    );
    assert.ok(!/[<>]/.test(rest), "a stray bracket");
  };
  for (const mark of MARKS) check(mark);
  fc.assert(fc.property(text, check));
});

Deno.test("the title of the page is not a device's", () => {
  for (const mark of MARKS) {
    const [, title] = /<title>(.*?)<\/title>/s.exec(pageOf(hostile(mark))) ??
      [];
    assert.match(title ?? "", /^\S \(1\) remote-hsmd$/);
  }
});

Deno.test("the policy of the page names the hashes of what is in it", async () => {
  const page = pageOf(QUIET);
  for (const kind of ["style", "script"]) {
    const found = [
      ...page.matchAll(new RegExp(`<${kind}>(.*?)</${kind}>`, "gs")),
    ];
    assert.equal(found.length, 1);
    const bytes = new TextEncoder().encode(found[0]?.[1]);
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    assert.ok(
      PAGE_POLICY.includes(`${kind}-src 'sha256-${digest.toBase64()}'`),
      kind,
    );
  }
  // Nothing is fetched from anywhere, and no attribute is a script or a style.
  assert.ok(!/(?:src|href)="(?!data:,")/.test(page));
  assert.ok(!/ on[a-z]+=| style=/.test(page));
});

Deno.test("a text of a device moves no cursor and turns no line around", () => {
  const nasty = "\u001b[2J\u009b31m\u202e\u2028\u0007\r\nend";
  assert.equal(plain(nasty), "·[2J·31m·····end");
  const text = statusText(hostile(nasty), NOON);
  for (const line of text.split("\n")) assert.equal(plain(line), line);
});

Deno.test("a terminal shows what the page shows", () => {
  const text = statusText(ABANDONED, ABANDONED.at);
  const [first] = text.split("\n");
  assert.match(first ?? "", /^waiting for a device since \S+: 3 requests$/);
  const page = pageOf(ABANDONED);
  const both = [
    "sign_remote_commitment_tx",
    "03a769efb7…3f2261 channel 17",
    ABANDONED.node.nodeId ?? "",
    "block 922140",
    "mqtts://node.example:8883",
    "2.3 ms",
  ];
  const words = page.replace(/<[^>]*>/g, "");
  for (const found of both) {
    assert.ok(text.includes(found), `terminal: ${found}`);
    const isKey = found === ABANDONED.node.nodeId;
    assert.ok((isKey ? page : words).includes(found), `page: ${found}`);
  }
});

Deno.test("lights are those of softkey, in the same words", () => {
  assert.deepEqual(Object.keys(LEDS), Object.keys(LED_ROWS));
  for (const [name, { colour, words }] of Object.entries(LED_ROWS)) {
    assert.deepEqual(LEDS[name], { colour, words });
    assert.ok(colour in LED_COLOURS);
  }
});

Deno.test("a light of a name that is no light is shown as its name", () => {
  for (const led of ["disco", "constructor", "__proto__", "toString"]) {
    const body = `${bodyOf({ ...QUIET, devices: [{ ...SIGNING, led }] })}`;
    assert.ok(body.includes(`light: <bdi>${led}</bdi>`), led);
  }
});
