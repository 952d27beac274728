/**
 * HTML in which everything is escaped that was not written here.
 *
 *     html`<td>${text}</td>`
 *
 * Text that is put in is escaped for elements and for quoted attributes; other
 * `html` goes in as it is, lists of it one after the other. There is no other
 * way to make one, so a text of a device cannot become an element.
 *
 * What it does not do: make a text fit for a script, a style, a URL or an
 * attribute without quotes. None of ours holds any.
 *
 * @module
 */

/** What may be put in. */
export type Part = string | number | Html | readonly Html[];

/** A piece of HTML. */
export class Html {
  readonly #text: string;

  private constructor(text: string) {
    this.#text = text;
  }

  /** Only for {@linkcode html}, whose strings are written in our files. */
  static of(strings: TemplateStringsArray, parts: readonly Part[]): Html {
    return new Html(
      // What stands around the outermost element is only for who reads here.
      String.raw({ raw: strings }, ...parts.map(Html.#textOf)).trim(),
    );
  }

  static #textOf(part: Part): string {
    if (part instanceof Html) return part.#text;
    return typeof part === "object"
      ? part.map((one) => one.#text).join("")
      : escapeHtml(String(part));
  }

  toString(): string {
    return this.#text;
  }
}

/** Makes a piece of HTML. */
export function html(
  strings: TemplateStringsArray,
  ...parts: readonly Part[]
): Html {
  return Html.of(strings, parts);
}

/** Nothing. */
export const NOTHING: Html = html``;

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Text as it stands in an element or a quoted attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => ENTITIES[sign] ?? "");
}
