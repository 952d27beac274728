/**
 * Small pieces of the status page: times, keys, foreign texts, boxes.
 *
 * @module
 */

import {
  type Moment,
  type Piece,
  plain,
  shortKey,
  showPiece,
} from "../status_words.ts";
import { type Html, html } from "./html.ts";

/** A foreign text, which cannot move what stands beside it. */
export function foreign(text: string): Html {
  return html`<bdi>${plain(text)}</bdi>`;
}

/** A time, which the script of the page goes on counting. */
export function timeOf(moment: Moment, now: number): Html {
  const iso = isoOf(moment.at);
  return html`
    <time datetime="${iso}" title="${iso}" data-at="${moment.at}"
      data-as="${moment.as}">${showPiece(moment, now)}</time>
  `;
}

/** A time of a device's own may be no date. */
function isoOf(at: number): string {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString();
}

/** A piece of a sentence. */
export function pieceOf(piece: Piece, now: number): Html {
  return typeof piece === "string" ? foreign(piece) : timeOf(piece, now);
}

/** How long ago. */
export function ageOf(at: number, now: number): Html {
  return timeOf({ at, as: "age" }, now);
}

/** When. */
export function clockOf(at: number, now: number): Html {
  return timeOf({ at, as: "clock" }, now);
}

/** A key by its ends; the whole of it where a pointer rests. */
export function keyOf(hex: string): Html {
  return html`<span class="mono" title="${hex}">${shortKey(hex)}</span>`;
}

/** A box of the page with its title. */
export function card(title: string, content: Html, isWide = false): Html {
  const kind = isWide ? "wide" : "";
  return html`<section class="${kind}"><h2>${title}</h2>${content}</section>`;
}

/** A line of a list of names and values. */
export function rowOf(name: string, value: Html): Html {
  return html`
    <dt>${name}</dt>
    <dd>${value}</dd>
  `;
}
