/**
 * `remote_hsmd_mqtt status`: what the status page shows, in a terminal.
 *
 *     remote_hsmd_mqtt status            once, as text
 *     remote_hsmd_mqtt status --json     once, as JSON
 *     remote_hsmd_mqtt status --watch    whenever something changed, till Ctrl-C
 *     remote_hsmd_mqtt status --watch --json    the same, one JSON a line
 *
 * It asks the broker that runs in this folder (`socket.ts`) and reads nothing
 * else.
 *
 * @module
 */

import type { StatusSnapshot } from "../broker/status.ts";
import { UsageError } from "../errors.ts";
import { askBroker, followBroker } from "./socket.ts";
import { statusText } from "./status_text.ts";
import { say } from "./terminal.ts";

const OPTIONS: readonly string[] = ["--json", "--watch"];

/** Cursor to the top left, and everything below it erased. */
const CLEAR = "\u001b[H\u001b[2J";
/** Ages are counted on a terminal that watches, in milliseconds. */
const SECOND = 1_000;

/** Runs the command; returns the exit code. */
export async function status(args: readonly string[]): Promise<number> {
  const unknown = args.find((arg) => !OPTIONS.includes(arg));
  if (unknown !== undefined) {
    const found = JSON.stringify(unknown);
    throw new UsageError(`Cannot use ${found}: want ${OPTIONS.join(" or ")}`);
  }
  const isJson = args.includes("--json");
  if (args.includes("--watch")) await watch(isJson);
  else await showOnce(isJson);
  return 0;
}

async function showOnce(isJson: boolean): Promise<void> {
  const { status: code, body } = await askBroker("GET", "/api/status");
  if (code !== 200) {
    throw new UsageError(
      `Cannot ask the broker: it answered ${code}, want 200`,
    );
  }
  const snapshot = parseSnapshot(body);
  say(isJson ? `${JSON.stringify(snapshot, null, 2)}\n` : show(snapshot, 0));
}

async function watch(isJson: boolean): Promise<void> {
  const isScreen = !isJson && Deno.stdout.isTerminal();
  let timer: ReturnType<typeof setInterval> | undefined;
  try {
    for await (const data of followBroker("/api/events")) {
      clearInterval(timer);
      if (isJson) {
        say(`${data}\n`);
        continue;
      }
      const snapshot = parseSnapshot(data);
      const ahead = Date.now() - snapshot.at;
      const draw = () => say(`${CLEAR}${show(snapshot, ahead)}`);
      if (isScreen) {
        draw();
        timer = setInterval(draw, SECOND);
      } else say(`${show(snapshot, ahead)}\n`);
    }
    if (!isJson) say("the broker left\n");
  } finally {
    clearInterval(timer);
  }
}

/** By the broker's clock; `ahead` is what this machine's differs by. */
function show(snapshot: StatusSnapshot, ahead: number): string {
  const now = ahead === 0 ? snapshot.at : Date.now() - ahead;
  return statusText(snapshot, now);
}

/** The broker of this folder wrote it: only a broken one writes another form. */
function parseSnapshot(json: string): StatusSnapshot {
  const value: unknown = JSON.parse(json);
  const isSnapshot = typeof value === "object" && value !== null &&
    "at" in value && "node" in value && "waiting" in value;
  if (!isSnapshot) {
    throw new UsageError("Cannot read the broker's status: want a snapshot");
  }
  // Checked as far as told apart from an error; the rest is our own type.
  return value as StatusSnapshot;
}
