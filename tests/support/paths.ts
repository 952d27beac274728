/** Paths of `file:` URLs, without a library. @module */

/** The path that a `file:` URL means. */
export function fromFileUrl(url: URL): string {
  return decodeURIComponent(url.pathname);
}
