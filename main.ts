/**
 * `remote_hsmd_mqtt`: the program that lightningd starts in place of its hsmd.
 *
 * Reads its arguments, picks what to do, and turns the outcome into an exit
 * code: 0 done, 1 refused or a failed check, 2 usage or lightningd is gone, 70 a
 * bug of ours, 242 a failure that lightningd was told about. The signer is never
 * imported from here: this program cannot sign.
 *
 * //~ Welcome. A Lightning node keeps its keys in one process, lightning_hsmd,
 * //~ and asks it for every signature. We take that process out and put this one
 * //~ in, which has no keys: it passes each question on to a device that its owner
 * //~ keeps elsewhere. The walk follows a question from lightningd to the device
 * //~ and its answer back. Next: unixfd.ts, where the question comes in.
 *
 * @module
 */

import { ConfigError, describeError, UsageError } from "./src/errors.ts";

/** Arguments that lightningd gives its hsmd; unknown flags are ignored too. */
const DEVELOPER_FLAG = "--developer";

type Command = (args: readonly string[]) => Promise<number>;

/** What a person runs by hand; each is loaded when it is. */
const COMMANDS: ReadonlyMap<string, Command> = new Map<string, Command>([
  ["pair", async (args) => (await import("./src/cli/pair.ts")).pair(args)],
  [
    "unpair",
    async (args) => (await import("./src/cli/unpair.ts")).unpair(args),
  ],
  [
    "devices",
    async (args) => (await import("./src/cli/devices.ts")).devices(args),
  ],
  ["use", async (args) => (await import("./src/cli/use.ts")).use(args)],
  [
    "status",
    async (args) => (await import("./src/cli/status.ts")).status(args),
  ],
  [
    "control",
    async (args) => (await import("./src/cli/control.ts")).control(args),
  ],
  [
    "verify",
    async (args) => (await import("./src/cli/verify.ts")).verify(args),
  ],
]);

async function main(args: readonly string[]): Promise<number> {
  const [first, ...rest] = args;
  if (first === "--version" || first === "version") return await version();
  if (first === "--help" || first === "-h" || first === "help") {
    const { helpText } = await import("./src/cli/help.ts");
    return say(helpText());
  }
  if (first === "config") {
    const { config } = await import("./src/cli/show_config.ts");
    return say(config());
  }
  const command = COMMANDS.get(first ?? "");
  if (command !== undefined) return await command(rest);
  if (first === undefined || first.startsWith("--")) {
    const { runDaemon } = await import("./src/cli/daemon.ts");
    return await runDaemon({ isDeveloper: args.includes(DEVELOPER_FLAG) });
  }
  throw new UsageError(`Unknown command ${JSON.stringify(first)}: try --help`);
}

async function version(): Promise<number> {
  const { findVersion } = await import("./src/cli/version.ts");
  const found = await findVersion();
  if (found !== null) return say(`${found}\n`);
  throw new UsageError(
    "Cannot tell lightningd's version: set cln_version in remote_hsmd.toml",
  );
}

function say(text: string): number {
  Deno.stdout.writeSync(new TextEncoder().encode(text));
  return 0;
}

function complain(error: unknown): number {
  const isOurs = !(error instanceof ConfigError || error instanceof UsageError);
  const text = isOurs && error instanceof Error
    ? error.stack ?? error.message
    : describeError(error);
  Deno.stderr.writeSync(new TextEncoder().encode(`remote_hsmd: ${text}\n`));
  return isOurs ? 70 : 2;
}

Deno.exit(await main(Deno.args).catch(complain));
