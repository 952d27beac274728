/**
 * `openssl s_server`: a TLS server that shows a certificate and uses a key as it
 * is told, without a look at whether they belong together.
 *
 * @module
 */

/** One that takes connections and prints what it hears. */
export class OpensslServer implements AsyncDisposable {
  readonly port: number;
  readonly #child: Deno.ChildProcess;
  readonly #output: Promise<string>;
  /** Resolves when it hears MQTT, false when it ends before. */
  readonly hearsMqtt: Promise<boolean>;

  private constructor(
    port: number,
    child: Deno.ChildProcess,
    output: Promise<string>,
    hearsMqtt: Promise<boolean>,
  ) {
    this.port = port;
    this.#child = child;
    this.#output = output;
    this.hearsMqtt = hearsMqtt;
  }

  /** Starts it with `cert.pem` and `key.pem` of a folder. */
  static async start(folder: string, version: string): Promise<OpensslServer> {
    const child = new Deno.Command("openssl", {
      // Port 0: the kernel picks, and it says which.
      args: [
        "s_server",
        "-accept",
        "127.0.0.1:0",
        version,
        "-cert",
        "cert.pem",
        "-key",
        "key.pem",
        "-naccept",
        "1",
      ],
      cwd: folder,
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const mqtt = Promise.withResolvers<boolean>();
    const output = (async () => {
      let said = "";
      const texts = child.stdout.pipeThrough(new TextDecoderStream());
      for await (const text of texts) {
        said += text;
        const port = /ACCEPT \S+:(\d+)/.exec(said)?.[1];
        if (port !== undefined) resolve(Number(port));
        if (said.includes("MQTT")) mqtt.resolve(true);
      }
      mqtt.resolve(false);
      reject(new Error(`openssl ended: ${said}`));
      return said;
    })();
    return new OpensslServer(await promise, child, output, mqtt.promise);
  }

  /** Ends it; all that it printed. */
  async end(): Promise<string> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // it ended after its one connection
    }
    await this.#child.stdin.close().catch(() => {});
    await this.#child.status;
    return await this.#output;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}
