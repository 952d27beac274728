/**
 * How the broker keeps its small files: whole or not at all.
 *
 * @module
 */

/**
 * Puts a file of this content in the place of what is there, durably, for its
 * owner alone: written aside, fsync, rename, fsync of the folder. A reader sees
 * the old one or the new one.
 */
export async function replaceFile(
  path: string,
  content: Uint8Array,
): Promise<void> {
  const aside = `${path}.new`;
  {
    using file = await Deno.open(aside, {
      write: true,
      create: true,
      truncate: true,
      mode: 0o600,
    });
    for (let done = 0; done < content.length;) {
      done += await file.write(content.subarray(done));
    }
    await file.sync();
  }
  await Deno.rename(aside, path);
  using folder = await Deno.open(folderOf(path));
  await folder.sync();
}

/** A new file is durable once its folder is. */
export function syncFolderOf(path: string): void {
  using folder = Deno.openSync(folderOf(path));
  folder.syncSync();
}

function folderOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "." : path.slice(0, slash) || "/";
}
