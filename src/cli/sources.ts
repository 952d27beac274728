/**
 * The real world's configuration: files and environment of this process.
 *
 * @module
 */

import { type Config, loadConfig } from "./config.ts";

/** Reads all settings. @throws {ConfigError} */
export function readConfig(): Config {
  return loadConfig({
    readFile(path) {
      try {
        return Deno.readTextFileSync(path);
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return null;
        throw error;
      }
    },
    environment: (name) => Deno.env.get(name),
  });
}
