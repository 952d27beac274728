/**
 * Programs of others that some tests compare with, where they are installed.
 *
 * @module
 */

/** Places beside PATH where servers are. */
const PLACES = [
  ...(Deno.env.get("PATH") ?? "").split(":"),
  "/usr/sbin",
  "/usr/local/sbin",
];

/** Where a program is, or null. */
export async function findProgram(name: string): Promise<string | null> {
  for (const place of PLACES) {
    const path = `${place}/${name}`;
    try {
      if ((await Deno.stat(path)).isFile) return path;
    } catch {
      // not there
    }
  }
  return null;
}

/** Whether a program is installed. */
export async function hasProgram(name: string): Promise<boolean> {
  return await findProgram(name) !== null;
}

/** What a program writes; throws with it when it fails. */
export async function run(
  name: string,
  args: readonly string[],
  options: { readonly cwd?: string } = {},
): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(name, {
    ...options,
    args: [...args],
    stdin: "null",
  }).output();
  const text = new TextDecoder().decode(Uint8Array.of(...stdout, ...stderr));
  if (!success) throw new Error(`Failed: ${name}: ${text}`);
  return text;
}
