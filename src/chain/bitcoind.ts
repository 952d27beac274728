/**
 * bitcoind's JSON-RPC, as much of it as following a chain needs.
 *
 * The cookie file is read for each call: bitcoind writes a new one whenever it
 * starts. What comes back is checked by whoever asked for it.
 *
 * What it does not do: retry. A failure says whether bitcoind answered at all.
 *
 * @module
 */

/** How to log in: a cookie file of bitcoind's, or a name and a password. */
export type BitcoindLogin =
  | { readonly kind: "cookie"; readonly path: string }
  | {
    readonly kind: "password";
    readonly user: string;
    readonly password: string;
  };

/** Where bitcoind is and how to log in. */
export interface BitcoindOptions {
  readonly url: string;
  readonly login: BitcoindLogin;
}

/** An error that bitcoind itself answered. */
export class BitcoindError extends Error {
  override readonly name = "BitcoindError";
  /** Its JSON-RPC code. */
  readonly code: number;

  constructor(method: string, code: number, text: string) {
    super(`bitcoind refused ${method}: ${text} (${code})`);
    this.code = code;
  }
}

/** An answer that no bitcoind gives. */
export class AnswerError extends Error {
  override readonly name = "AnswerError";

  constructor(method: string, found: string, wanted: string) {
    super(
      `Cannot use bitcoind's answer to ${method}: ${found}, want ${wanted}`,
    );
  }
}

/** It answers no calls yet (RPC_IN_WARMUP). */
export const IN_WARMUP = -28;
/** It has no block of this hash (RPC_INVALID_ADDRESS_OR_KEY). */
export const NOT_FOUND = -5;

/**
 * Most bytes of an answer: a block of four million bytes in hex, with what
 * stands around it. Whoever answers for bitcoind can not fill our memory.
 */
const MOST_BYTES = 8_100_000;

/** A call that takes longer has failed: bitcoind may hang, we do not. */
const ANSWER_MS = 60_000;

type Params = readonly (string | number | boolean)[];

/** Calls bitcoind. */
export class Bitcoind {
  readonly #options: BitcoindOptions;
  #calls = 0;

  constructor(options: BitcoindOptions) {
    this.#options = options;
  }

  /** Where it is, for a log line. */
  get url(): string {
    return this.#options.url;
  }

  /**
   * The result of a call.
   *
   * @throws {BitcoindError} when bitcoind says no; another error when nobody
   *   answers, or not as bitcoind does
   */
  async call(
    method: string,
    params: Params,
    signal: AbortSignal,
  ): Promise<unknown> {
    const body = { id: this.#calls++, method, params };
    const { status, text } = await this.#post(body, signal);
    return resultIn(method, status, parse(text));
  }

  /**
   * The results of many calls of one method, in one request; fails as
   * {@linkcode call} does when one of them does.
   */
  async batch(
    method: string,
    all: readonly Params[],
    signal: AbortSignal,
  ): Promise<readonly unknown[]> {
    const body = all.map((params, id) => ({ id, method, params }));
    const { status, text } = await this.#post(body, signal);
    const answers = parse(text);
    // What is wrong with all of them is said once.
    if (!Array.isArray(answers)) return [resultIn(method, status, answers)];
    const byId = new Map(answers.map((one) => [fieldIn(one, "id"), one]));
    return all.map((_params, id) => resultIn(method, status, byId.get(id)));
  }

  async #post(
    body: unknown,
    signal: AbortSignal,
  ): Promise<{ readonly status: number; readonly text: string }> {
    const credentials = await this.#credentials();
    return await within(ANSWER_MS, signal, async (limited) => {
      const response = await fetch(this.#options.url, {
        method: "POST",
        headers: { authorization: `Basic ${credentials}` },
        body: JSON.stringify(body),
        signal: limited,
      });
      return { status: response.status, text: await readBounded(response) };
    });
  }

  async #credentials(): Promise<string> {
    const { login } = this.#options;
    const text = login.kind === "cookie"
      ? (await Deno.readTextFile(login.path)).trim()
      : `${login.user}:${login.password}`;
    return new TextEncoder().encode(text).toBase64();
  }
}

/** Work that ends with a signal, and after so many milliseconds at the latest. */
async function within<T>(
  ms: number,
  signal: AbortSignal,
  work: (limited: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = new AbortController();
  const end = () => limit.abort(signal.reason);
  if (signal.aborted) end();
  signal.addEventListener("abort", end);
  const late = new Error(`Cannot call bitcoind: no answer in ${ms / 1000} s`);
  const timer = setTimeout(() => limit.abort(late), ms);
  try {
    return await work(limit.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
  }
}

/** bitcoind says no with a status that is not 200 and the error as content. */
function resultIn(method: string, status: number, answer: unknown): unknown {
  const error = fieldIn(answer, "error");
  if (error !== undefined && error !== null) {
    const code = Number(fieldIn(error, "code"));
    throw new BitcoindError(method, code, String(fieldIn(error, "message")));
  }
  if (status === 200 && answer !== undefined) return fieldIn(answer, "result");
  const why = status === 401 ? "the login is wrong" : "want 200 and JSON";
  throw new Error(`Cannot call bitcoind: it answers ${status}, ${why}`);
}

/** The text of an answer. @throws {AnswerError} for one that has no end */
async function readBounded({ body }: Response): Promise<string> {
  if (body === null) return "";
  const decoder = new TextDecoder();
  let text = "";
  let size = 0;
  for await (const piece of body) {
    size += piece.length;
    if (size > MOST_BYTES) {
      throw new AnswerError("a call", `more than ${MOST_BYTES} bytes`, "less");
    }
    text += decoder.decode(piece, { stream: true });
  }
  return text + decoder.decode();
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // a page of a web server, or nothing
  }
}

/** A field of a JSON object; undefined when it is none or has none. */
export function fieldIn(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null
    ? Reflect.get(value, name)
    : undefined;
}
