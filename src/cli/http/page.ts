/**
 * The status page: one document, made here, whole without its script.
 *
 * Nothing of it comes from anywhere else, and the browser is told so: styles and
 * the script are allowed by their hash (Content Security Policy Level 3), all
 * other kinds are not. Whatever a device or a peer had a part in goes through
 * `html.ts` and stands in its own `bdi`, so that it turns no line around.
 *
 * What it does not do: change anything. Choosing a device and sending a signed
 * command are done from a terminal.
 *
 * @module
 */

import type { StatusSnapshot } from "../../broker/status.ts";
import { sha256 } from "../../crypto/hash.ts";
import { headlineOf, type Level } from "../status_words.ts";
import {
  chainCard,
  countsCard,
  devicesCard,
  errorsCard,
  latencyCard,
  nodeWords,
  refusalsCard,
  waitingCard,
} from "./cards.ts";
import { type Html, html } from "./html.ts";
import { PAGE_SCRIPT } from "./page_script.ts";
import { PAGE_STYLE } from "./page_style.ts";
import { pieceOf } from "./pieces.ts";

/** What a browser may do with the page. */
export const PAGE_POLICY: string = [
  "default-src 'none'",
  `style-src '${hashOf(PAGE_STYLE)}'`,
  `script-src '${hashOf(PAGE_SCRIPT)}'`,
  "connect-src 'self'",
  "img-src data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

function hashOf(text: string): string {
  return `sha256-${sha256(new TextEncoder().encode(text)).toBase64()}`;
}

/** The document. */
export function pageOf(status: StatusSnapshot): string {
  // What stands in style and script is ours and holds nothing else.
  const head = html`
    <!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>${titleOf(status)}</title>
        <link rel="icon" href="data:,">
  `;
  const body = html`
    </head>
    <body>
      <main id="status" data-at="${status.at}">
    ${bodyOf(status)}
      </main>
      <footer><span id="link">as of the time it was loaded</span></footer>
  `;
  return `${head}<style>${PAGE_STYLE}</style>\n${body}` +
    `<script>${PAGE_SCRIPT}</script>\n</body>\n</html>\n`;
}

/** The body, as the stream of the page sends it. */
export function bodyOf(status: StatusSnapshot): Html {
  const { level, pieces } = headlineOf(status);
  const words = pieces.map((piece) => pieceOf(piece, status.at));
  return html`<header data-title="${titleOf(status)}">
<h1>remote-hsmd</h1> ${nodeWords(status)}
</header>
<p class="banner ${level}" role="status">${words}</p>
<div class="cards">
${devicesCard(status)}
${waitingCard(status)}
${latencyCard(status.latency)}
${chainCard(status)}
${countsCard(status)}
${refusalsCard(status)}
${errorsCard(status)}
</div>`;
}

const SIGNS: Readonly<Record<Level, string>> = {
  good: "✓",
  wait: "…",
  bad: "✗",
};

function titleOf(status: StatusSnapshot): string {
  const { level } = headlineOf(status);
  const { count } = status.waiting;
  const waits = count === 0 ? "" : ` (${count})`;
  return `${SIGNS[level]}${waits} remote-hsmd`;
}
