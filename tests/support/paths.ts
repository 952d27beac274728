/** Paths, without a library. @module */

/** The path that a `file:` URL means. */
export function fromFileUrl(url: URL): string {
  return decodeURIComponent(url.pathname);
}

/** An environment in which a built program finds the `deno` that runs us. */
export function withDeno(): Record<string, string> {
  const folder = Deno.execPath().replace(/\/[^/]*$/, "");
  return { PATH: `${folder}:${Deno.env.get("PATH") ?? ""}` };
}
