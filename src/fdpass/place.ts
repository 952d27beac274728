/**
 * The private directory of the descriptor helper:
 * `<parent>/handover-<pid>/`, mode 0700, with the files `helper` (gone once it
 * runs) and `socket`.
 *
 * Why names that can be predicted: a launcher can put them into permission
 * flags. It costs nothing, because a directory that was there before is never
 * used, and within our own nobody else can make a file.
 *
 * @module
 */

/** The directory, and the files in it. */
export interface Place {
  /** `<parent>/handover-<pid>` */
  readonly directory: string;
  /** Where the executable is while it is being started. */
  readonly helper: string;
  /** Where we listen for the helper. */
  readonly socket: string;
}

/** The kernel's limit: 108 bytes with the final NUL. */
const LONGEST_SOCKET_PATH = 107;

/**
 * Makes the directory, empty, and makes sure that only we can enter it.
 *
 * @throws {Error} When this parent cannot serve
 */
export async function makePlace(parent: string): Promise<Place> {
  const directory = `${parent}/handover-${Deno.pid}`;
  const socket = `${directory}/socket`;
  checkLength(socket);
  if (!await tryMakeDirectory(directory)) {
    await removeStale(directory, socket);
    await Deno.mkdir(directory, { mode: 0o700 });
  }
  await checkPrivate(directory);
  return { directory, helper: `${directory}/helper`, socket };
}

/** Removes the directory, if it is still there. */
export async function removePlace(directory: string): Promise<void> {
  try {
    await Deno.remove(directory, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function checkLength(socket: string): void {
  const { length } = new TextEncoder().encode(socket);
  if (length <= LONGEST_SOCKET_PATH) return;
  throw new Error(
    `Cannot listen on a path of ${length} bytes: ` +
      `at most ${LONGEST_SOCKET_PATH} wanted`,
  );
}

async function tryMakeDirectory(directory: string): Promise<boolean> {
  try {
    await Deno.mkdir(directory, { mode: 0o700 });
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return false;
    throw error;
  }
}

/** Some file systems give every directory the mode that the mount names. */
async function checkPrivate(directory: string): Promise<void> {
  const { mode } = await Deno.lstat(directory);
  if (mode !== null && (mode & 0o077) === 0) return;
  await removePlace(directory);
  throw new Error("Cannot keep others out: the file system ignores modes");
}

/**
 * Removes what a killed process with our process id has left. In a container
 * ids repeat at every start; but two containers that share the directory can
 * have equal ids too, hence the look whether somebody listens.
 */
async function removeStale(directory: string, socket: string): Promise<void> {
  if (await isListening(socket)) {
    throw new Error(`Cannot use ${directory}: another process does`);
  }
  await removePlace(directory);
}

async function isListening(path: string): Promise<boolean> {
  try {
    (await Deno.connect({ transport: "unix", path })).close();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) return false;
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
