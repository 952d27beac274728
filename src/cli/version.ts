/**
 * lightningd's version, which an hsmd has to repeat to the letter.
 *
 * lightningd asks `hsmd --version` at every start and wants to read its own
 * version as the first line. It tells us in LIGHTNINGD_VERSION, with one
 * exception (--test-daemons-only), so two more sources follow: our parent's own
 * executable, and the setting.
 *
 * @module
 */

import { parseVersion } from "./config.ts";
import { readConfig } from "./sources.ts";

/** The version, or null when no source knows it. */
export async function findVersion(): Promise<string | null> {
  const told = parseVersion(Deno.env.get("LIGHTNINGD_VERSION") ?? "");
  if (told !== undefined) return told;
  return await askParent() ?? readConfig().cln_version.value;
}

/** What the program that started us calls itself, if it is a lightningd. */
async function askParent(): Promise<string | null> {
  const command = new Deno.Command(`/proc/${Deno.ppid}/exe`, {
    args: ["--version"],
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  });
  try {
    const { stdout } = await command.output();
    const [line = ""] = new TextDecoder().decode(stdout).split("\n", 1);
    return line.startsWith("v") ? parseVersion(line) ?? null : null;
  } catch (error) {
    const isDenied = error instanceof Deno.errors.NotCapable ||
      error instanceof Deno.errors.PermissionDenied ||
      error instanceof Deno.errors.NotFound;
    if (isDenied) return null;
    throw error;
  }
}
