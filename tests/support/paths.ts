/** Paths and ports of this machine, without a library. @module */

/** The path that a `file:` URL means. */
export function fromFileUrl(url: URL): string {
  return decodeURIComponent(url.pathname);
}

/** An environment in which a built program finds the `deno` that runs us. */
export function withDeno(): Record<string, string> {
  const folder = Deno.execPath().replace(/\/[^/]*$/, "");
  return { PATH: `${folder}:${Deno.env.get("PATH") ?? ""}` };
}

/** Ports that nobody has at this moment, all different. */
export function freePorts(count: number): number[] {
  const listeners = Array.from(
    { length: count },
    () => Deno.listen({ hostname: "127.0.0.1", port: 0 }),
  );
  const ports = listeners.map(({ addr }) => addr.port);
  for (const listener of listeners) listener.close();
  return ports;
}

/** One such port. */
export function freePort(): number {
  const [port = 0] = freePorts(1);
  return port;
}
