/**
 * A mosquitto of Debian's package as a child, with certificates that openssl
 * makes: the server of somebody else.
 *
 * @module
 */

import { findProgram, run } from "./programs.ts";

/** Where mosquitto is; null where the tests that need it are skipped. */
export const MOSQUITTO: string | null = await findProgram("openssl") === null
  ? null
  : await findProgram("mosquitto");

/** Certificates and keys, each `NAME.pem` and `NAME.key` in a folder. */
export class Authorities implements AsyncDisposable {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /**
   * Two authorities, `ca` and `stranger`; `ca` signs a `server` and a `client`,
   * the other one an `outsider`.
   */
  static async make(): Promise<Authorities> {
    const made = new Authorities(await Deno.makeTempDir());
    for (const name of ["ca", "stranger"]) await made.#root(name);
    const here = "subjectAltName=DNS:localhost,IP:127.0.0.1";
    await made.#leaf("server", "ca", here);
    await made.#leaf("elsewhere", "ca", "subjectAltName=DNS:example.org");
    await made.#leaf("client", "ca", "extendedKeyUsage=clientAuth");
    await made.#leaf("outsider", "stranger", "extendedKeyUsage=clientAuth");
    return made;
  }

  /** A certificate, PEM. */
  cert(name: string): string {
    return Deno.readTextFileSync(`${this.folder}/${name}.pem`);
  }

  /** Its key, PEM. */
  key(name: string): Uint8Array {
    return Deno.readFileSync(`${this.folder}/${name}.key`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }

  async #root(name: string): Promise<void> {
    await this.#openssl(
      `req -x509 ${NEW_KEY} -keyout ${name}.key -out ${name}.pem ` +
        `-days 3650 -subj /CN=${name}`,
    );
  }

  async #leaf(name: string, by: string, extension: string): Promise<void> {
    await Deno.writeTextFile(`${this.folder}/${name}.ext`, extension);
    await this.#openssl(
      `req ${NEW_KEY} -keyout ${name}.key -out ${name}.csr -subj /CN=${name}`,
    );
    await this.#openssl(
      `x509 -req -in ${name}.csr -CA ${by}.pem -CAkey ${by}.key ` +
        `-CAcreateserial -out ${name}.pem -days 3650 -extfile ${name}.ext`,
    );
  }

  #openssl(line: string): Promise<string> {
    return run("openssl", line.split(" "), { cwd: this.folder });
  }
}

const NEW_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

/** How it is set up. */
export interface MosquittoOptions {
  /** Under TLS, with this server certificate. */
  readonly tls?: { readonly from: Authorities; readonly name: string };
  /** Whether clients have to show a certificate that `ca` signed. */
  readonly wantsCertificate?: boolean;
  /** The only ones that may log in: names and passwords. */
  readonly users?: Readonly<Record<string, string>>;
  /** Rows of its access control file. */
  readonly acl?: readonly string[];
}

/** One that runs. */
export class Mosquitto implements AsyncDisposable {
  readonly port: number;
  readonly #folder: string;
  #child: Deno.ChildProcess;
  #ended: Promise<void> = Promise.resolve();

  private constructor(folder: string, port: number, child: Deno.ChildProcess) {
    this.#folder = folder;
    this.port = port;
    this.#child = child;
  }

  /** Starts one on a port that the kernel picks. */
  static async start(options: MosquittoOptions = {}): Promise<Mosquitto> {
    const folder = await Deno.makeTempDir();
    const port = freePort();
    await writeConfig(folder, port, options);
    const mosquitto = new Mosquitto(folder, port, spawn(folder));
    await mosquitto.#running();
    return mosquitto;
  }

  /** Kills it; whoever is connected hears nothing but the end. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
    await this.#ended;
  }

  /** Starts it again, on the same port; it remembers nothing. */
  async restart(): Promise<void> {
    this.#child = spawn(this.#folder);
    await this.#running();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // it was killed before
    }
    await this.#child.status;
    await this.#ended;
    await Deno.remove(this.#folder, { recursive: true });
  }

  /** Resolves when it says that it runs. */
  #running(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#ended = (async () => {
      let said = "";
      const lines = this.#child.stderr.pipeThrough(new TextDecoderStream());
      for await (const text of lines) {
        said += text;
        if (/version \S+ running/.test(said)) resolve();
      }
      reject(new Error(`mosquitto ended: ${said}`));
    })();
    return promise;
  }
}

function spawn(folder: string): Deno.ChildProcess {
  if (MOSQUITTO === null) throw new Error("There is no mosquitto here");
  return new Deno.Command(MOSQUITTO, {
    args: ["-c", `${folder}/mosquitto.conf`],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

async function writeConfig(
  folder: string,
  port: number,
  { tls, wantsCertificate = false, users, acl }: MosquittoOptions,
): Promise<void> {
  const lines = [
    "user root", // where root runs the tests: it reads our files as it is
    "persistence false",
    "log_dest stderr",
    `listener ${port} 127.0.0.1`,
    `allow_anonymous ${users === undefined}`,
  ];
  if (tls !== undefined) {
    const at = tls.from.folder;
    lines.push(
      `cafile ${at}/ca.pem`,
      `certfile ${at}/${tls.name}.pem`,
      `keyfile ${at}/${tls.name}.key`,
      `require_certificate ${wantsCertificate}`,
    );
  }
  if (users !== undefined) {
    const path = `${folder}/users`;
    const rows = Object.entries(users).map(([name, word]) => `${name}:${word}`);
    await Deno.writeTextFile(path, rows.join("\n") + "\n", { mode: 0o600 });
    await run("mosquitto_passwd", ["-U", path]);
    lines.push(`password_file ${path}`);
  }
  if (acl !== undefined) {
    const path = `${folder}/acl`;
    await Deno.writeTextFile(path, acl.join("\n") + "\n", { mode: 0o600 });
    lines.push(`acl_file ${path}`);
  }
  await Deno.writeTextFile(`${folder}/mosquitto.conf`, lines.join("\n") + "\n");
}
