/**
 * What the structure checks share: finding files, and saying what is wrong.
 *
 * @module
 */

/** Something that is not as it should be. */
export interface Problem {
  /** Relative to the root of the project. */
  readonly path: string;
  /** From 1. */
  readonly line: number;
  /** What was found, and what was wanted. */
  readonly text: string;
}

/** Prints problems and returns the exit code that they deserve. */
export function report(check: string, problems: readonly Problem[]): 0 | 1 {
  for (const { path, line, text } of problems) {
    console.error(`${path}:${line}: ${text}`);
  }
  const plural = problems.length === 1 ? "" : "s";
  console.log(`${check}: ${problems.length || "no"} problem${plural}`);
  return problems.length > 0 ? 1 : 0;
}

/**
 * The files under `root` whose path starts with one of `places`, sorted. A
 * place that does not exist has no files.
 */
export async function findFiles(
  root: URL,
  places: readonly string[],
  suffix: string,
): Promise<string[]> {
  const found = await Promise.all(places.map(async (place) => {
    if (place.endsWith("/")) return await listFolder(root, place);
    return await exists(new URL(place, root)) ? [place] : [];
  }));
  return found.flat().filter((path) => path.endsWith(suffix)).sort();
}

/** Whether there is a file. */
export async function exists(url: URL): Promise<boolean> {
  try {
    return (await Deno.stat(url)).isFile;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return false;
  }
}

async function listFolder(root: URL, folder: string): Promise<string[]> {
  const paths: string[] = [];
  try {
    for await (const entry of Deno.readDir(new URL(folder, root))) {
      const path = `${folder}${entry.name}`;
      if (entry.isDirectory) paths.push(...await listFolder(root, `${path}/`));
      else paths.push(path);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return paths;
}
