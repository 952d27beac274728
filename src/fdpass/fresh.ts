/**
 * Runs a program whose file was written a moment ago.
 *
 * @module
 */

const ATTEMPTS = 20;
const PAUSE_MS = 5;

/**
 * Starts the program.
 *
 * While our own handle on the new file was open, another thread may have
 * forked a child that inherited it; until that child executes its program, the
 * kernel refuses to run the file ("text file busy"). So we try again, for a
 * tenth of a second at most.
 */
export async function spawnFresh(
  program: string,
  options: Deno.CommandOptions,
): Promise<Deno.ChildProcess> {
  for (let attempt = 1;; attempt++) {
    try {
      return new Deno.Command(program, options).spawn();
    } catch (error) {
      if (!isTextFileBusy(error) || attempt === ATTEMPTS) throw error;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

/** The runtime has no error class for ETXTBSY, only its text and code. */
function isTextFileBusy(error: unknown): boolean {
  return error instanceof Error && /os error 26\b/.test(error.message);
}
