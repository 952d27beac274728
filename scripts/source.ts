/**
 * TypeScript source as the structure checks see it: with everything blanked
 * that is not code, and with its imports found.
 *
 * This is a lexer, not a parser: it knows comments, strings, templates and
 * regular expressions, and takes a slash after a value for a division. Offsets
 * stay what they were, so that a finding has its line.
 *
 * @module
 */

/** One import of a module, whatever its form. */
export interface Import {
  /** What was written between the quotes; null when that is computed. */
  readonly specifier: string | null;
  readonly line: number;
}

/** A source file without its comments and texts. */
export interface Source {
  /** The code; each blanked character is a space, line ends stay. */
  readonly code: string;
  /** Texts in quotes, by the offset of the opening quote. */
  readonly texts: ReadonlyMap<number, string>;
}

/** Blanks everything that is not code. */
export function readSource(text: string): Source {
  const lexer = new Lexer(text);
  return { code: lexer.run(), texts: lexer.texts };
}

/** The line of an offset, from 1. */
export function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}

// An import or a re-export up to its quote; then import() up to its argument.
const STATIC =
  /(?<![.\w$])(?:import\s+(?:[\w$*{},\s]+?\s*from\s*)?|export\s+(?:type\s+)?(?:\*(?:\s*as\s+[\w$]+)?|\{[^}]*\})\s*from\s*)(?=["'])/g;
const DYNAMIC = /(?<![.\w$])import\s*\(\s*/g;

/** Every static, dynamic and type import, and every re-export. */
export function findImports({ code, texts }: Source): Import[] {
  return [...code.matchAll(STATIC), ...code.matchAll(DYNAMIC)]
    .map((match) => ({
      specifier: texts.get(match.index + match[0].length) ?? null,
      line: lineAt(code, match.index),
    }))
    .sort((a, b) => a.line - b.line);
}

/** The names of `let` and `var` outside of any bracket, with their lines. */
export function findModuleState(
  code: string,
): { readonly name: string; readonly line: number }[] {
  const found: { name: string; line: number }[] = [];
  let depth = 0;
  for (const match of code.matchAll(/[{([\])}]|(?<![.\w$])(?:let|var)\s+/g)) {
    const [token] = match;
    if ("{([".includes(token)) depth++;
    else if ("])}".includes(token)) depth--;
    else if (depth === 0) {
      const rest = code.slice(match.index + token.length);
      const name = rest.match(/^[\w$]+/)?.[0] ?? "a pattern";
      found.push({ name, line: lineAt(code, match.index) });
    }
  }
  return found;
}

/** Words after which a slash starts a regular expression. */
const BEFORE_VALUE =
  /(?:^|[^\w$.])(?:return|typeof|case|in|of|void|delete|await|yield|throw|new|else|do|instanceof)$/;

class Lexer {
  readonly texts = new Map<number, string>();
  readonly #text: string;
  #code = "";
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  run(): string {
    while (this.#at < this.#text.length) this.#step();
    return this.#code;
  }

  /** Copies `count` characters. */
  #keep(count = 1): void {
    this.#code += this.#text.slice(this.#at, this.#at + count);
    this.#at += count;
  }

  /** Replaces everything before `end` by spaces. */
  #blank(end: number): void {
    this.#code += this.#text.slice(this.#at, end).replace(/[^\n]/g, " ");
    this.#at = end;
  }

  #step(): void {
    const rest = this.#text.slice(this.#at, this.#at + 2);
    const [first = ""] = rest;
    if (rest === "//") this.#blank(this.#find("\n"));
    else if (rest === "/*") this.#blank(this.#find("*/", 2) + 2);
    else if (first === '"' || first === "'") this.#string(first);
    else if (first === "`") this.#template();
    else if (first === "/" && this.#isValueWanted()) this.#regex();
    else this.#keep();
  }

  /** The offset of what is looked for, or the end of the text. */
  #find(wanted: string, skip = 0): number {
    const at = this.#text.indexOf(wanted, this.#at + skip);
    return at < 0 ? this.#text.length : at;
  }

  #string(quote: string): void {
    const start = this.#at;
    let end = start + 1;
    while (end < this.#text.length && this.#text[end] !== quote) {
      end += this.#text[end] === "\\" ? 2 : 1;
    }
    this.texts.set(start, this.#text.slice(start + 1, end));
    this.#keep();
    this.#blank(end);
    this.#keep();
  }

  /** Blanks a template's text; what is in its braces is code. */
  #template(): void {
    this.#keep();
    while (this.#at < this.#text.length && this.#text[this.#at] !== "`") {
      if (this.#text[this.#at] === "\\") this.#blank(this.#at + 2);
      else if (this.#text.startsWith("${", this.#at)) this.#substitution();
      else this.#blank(this.#at + 1);
    }
    this.#keep();
  }

  #substitution(): void {
    this.#keep(2);
    let depth = 1;
    while (this.#at < this.#text.length) {
      const character = this.#text[this.#at];
      if (character === "{") depth++;
      if (character === "}" && --depth === 0) break;
      this.#step();
    }
    this.#keep();
  }

  #regex(): void {
    let end = this.#at + 1;
    let isClass = false;
    while (end < this.#text.length && this.#text[end] !== "\n") {
      const character = this.#text[end];
      if (character === "/" && !isClass) break;
      if (character === "[") isClass = true;
      if (character === "]") isClass = false;
      end += character === "\\" ? 2 : 1;
    }
    this.#keep();
    this.#blank(end);
    this.#keep();
  }

  /** Whether the code so far wants a value next, not an operator. */
  #isValueWanted(): boolean {
    const before = this.#code.slice(-200).trimEnd();
    return before === "" || /[(,=:[!&|?{};+\-*%~^<>]$/.test(before) ||
      BEFORE_VALUE.test(before);
  }
}
