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

/** It answers no calls yet (RPC_IN_WARMUP). */
export const IN_WARMUP = -28;

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
    params: readonly (string | number)[],
    signal: AbortSignal,
  ): Promise<unknown> {
    const response = await fetch(this.#options.url, {
      method: "POST",
      headers: { authorization: `Basic ${await this.#credentials()}` },
      body: JSON.stringify({ id: this.#calls++, method, params }),
      signal,
    });
    return resultIn(method, response.status, await response.text());
  }

  async #credentials(): Promise<string> {
    const { login } = this.#options;
    const text = login.kind === "cookie"
      ? (await Deno.readTextFile(login.path)).trim()
      : `${login.user}:${login.password}`;
    return new TextEncoder().encode(text).toBase64();
  }
}

/** bitcoind says no with a status that is not 200 and the error as content. */
function resultIn(method: string, status: number, text: string): unknown {
  const answer = parse(text);
  const error = fieldIn(answer, "error");
  if (error !== undefined && error !== null) {
    const code = Number(fieldIn(error, "code"));
    throw new BitcoindError(method, code, String(fieldIn(error, "message")));
  }
  if (status === 200 && answer !== undefined) return fieldIn(answer, "result");
  const why = status === 401 ? "the login is wrong" : "want 200 and JSON";
  throw new Error(`Cannot call bitcoind: it answers ${status}, ${why}`);
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
