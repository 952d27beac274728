/**
 * Where the light is seen: a mark before the lines of the terminal, a topic, and
 * a real light that the kernel knows.
 *
 * | output | gets |
 * | --- | --- |
 * | {@linkcode markOf} | a dot in the colour of the status, and its name |
 * | {@linkcode topicOutput} | the name, once a change, for MQTT |
 * | {@linkcode folderOutput} | files like those under /sys/class/leds |
 *
 * The last one follows Linux, Documentation/leds: `leds-class.rst` (brightness,
 * max_brightness, trigger), `leds-class-multicolor.rst` (multi_index tells the
 * order of the colours in multi_intensity) and `ledtrig-timer` (delay_on,
 * delay_off). Where the kernel can blink, it does, and nothing here wakes up for
 * it; where not, a timer of ours does, which never keeps the program alive. Each
 * file is written when its value changes and not before.
 *
 * A light of one colour shows the rhythm alone. A light that fails, at the start
 * or later, costs one sentence: signing does not depend on it.
 *
 * Deno lets no program into /sys that was not started with --allow-all. A folder
 * that is mounted elsewhere (systemd: `BindPaths=/sys/class/leds/x:/run/light`,
 * by hand: `mount --bind`) needs no more than the softkey has.
 *
 * What it does not do: decide what is shown (`led.ts`), put three lights of one
 * colour together into one, bring back what the light showed before.
 *
 * @module
 */

import { describeError } from "../errors.ts";
import {
  LED_OFF_MS,
  LED_ROWS,
  type LedEvent,
  type LedRow,
  type LedStatus,
  START,
  step,
} from "./led.ts";

/** Something that can show a status. */
export interface LightOutput {
  /** Called when the status changes, and only then. */
  show(status: LedStatus): void;
  /** Dark from here on. */
  stop(): void;
}

/** The light of a running softkey: events in, changes out. */
export class Light {
  readonly #outputs: readonly LightOutput[];
  #state = START;

  /** Shows that it is on. */
  constructor(outputs: readonly LightOutput[]) {
    this.#outputs = outputs;
    this.#show();
  }

  /** What is shown. */
  get status(): LedStatus {
    return this.#state.status;
  }

  /** Takes what happened, and shows what comes of it. */
  tell(event: LedEvent): void {
    const before = this.#state.status;
    this.#state = step(this.#state, event);
    if (this.#state.status !== before) this.#show();
  }

  /** Turns everything off. */
  stop(): void {
    for (const output of this.#outputs) output.stop();
  }

  #show(): void {
    for (const output of this.#outputs) output.show(this.#state.status);
  }
}

/** Whether colours can be seen there: a terminal, and NO_COLOR is not set. */
export function hasColour(
  stream: { isTerminal(): boolean } = Deno.stdout,
  isColourUnwanted = Deno.noColor,
): boolean {
  return stream.isTerminal() && !isColourUnwanted;
}

/** No part of a colour on the screen is darker: pure blue could not be seen. */
const DARKEST = 64;
const BRIGHTEST = 255;

/** A dot and the status, to stand before a line; in colour where it can be seen. */
export function markOf(status: LedStatus, isColoured: boolean): string {
  if (!isColoured) return `● ${status}`;
  const { rgb } = LED_ROWS[status];
  const most = Math.max(...rgb);
  const parts = rgb.map((part) =>
    Math.round(DARKEST + part * (BRIGHTEST - DARKEST) / most)
  );
  return `\x1b[38;2;${parts.join(";")}m●\x1b[0m ${status}`;
}

/** Hands each change on by its name. */
export function topicOutput(
  publish: (status: LedStatus) => void,
): LightOutput {
  return { show: publish, stop: () => {} };
}

/** What a folder's light needs. */
export interface FolderOptions {
  /** A name under /sys/class/leds, or a folder that looks like one there. */
  readonly led: string;
  /** Hears one sentence when the light cannot be used. */
  readonly say: (text: string) => void;
}

/** A light that the kernel knows. */
export function folderOutput({ led, say }: FolderOptions): LightOutput {
  const light = new FolderLight(folderOf(led));
  let isUsed = true;
  const attempt = (work: () => void) => {
    if (!isUsed) return;
    try {
      work();
    } catch (error) {
      isUsed = false;
      light.forget();
      say(
        `Cannot use the light ${JSON.stringify(led)}: ${problemOf(error)}; ` +
          "signing goes on without it",
      );
    }
  };
  return {
    show: (status) => attempt(() => light.show(LED_ROWS[status])),
    stop: () => {
      attempt(() => light.turnOff());
      isUsed = false;
    },
  };
}

/** Where lights are, when only a name is given. */
const LEDS = "/sys/class/leds";

/** Null for what is neither a name nor an absolute path. */
function folderOf(led: string): string | null {
  if (led.startsWith("/")) return led;
  return led === "" || led.startsWith(".") || led.includes("/")
    ? null
    : `${LEDS}/${led}`;
}

/** What is wrong with a light, in words that already name the file. */
class LightError extends Error {
  override readonly name = "LightError";
}

function problemOf(error: unknown): string {
  return error instanceof LightError ? error.message : describeError(error);
}

/** One row a failure of the system: what it means for a file of a light. */
const PROBLEMS: readonly [
  new (...args: never) => Error,
  (path: string) => string,
][] = [
  [Deno.errors.NotFound, (path) => `${path} is not there`],
  [Deno.errors.PermissionDenied, (path) => `this user may not use ${path}`],
  [
    Deno.errors.NotCapable,
    (path) =>
      `Deno keeps programs from ${path}, want its folder mounted elsewhere ` +
      "(mount --bind) and named here, or deno run --allow-all",
  ],
];

function wrap(error: unknown, path: string): LightError {
  const row = PROBLEMS.find(([kind]) => error instanceof kind);
  const text = row ? row[1](path) : `${path}: ${describeError(error)}`;
  return new LightError(text, { cause: error });
}

/** Which file holds what of a light. */
type LightFile =
  | "brightness"
  | "max_brightness"
  | "multi_index"
  | "multi_intensity"
  | "trigger"
  | "delay_on"
  | "delay_off";

/** What a light can do, as its files say. */
interface Abilities {
  readonly maxBrightness: number;
  /** Colours in their order; null for a light of one colour. */
  readonly colours: readonly string[] | null;
  /** Whether the kernel blinks. */
  readonly blinks: boolean;
}

/** The files of one light; every failure is a {@link LightError}. */
class FolderLight {
  readonly #folder: string | null;
  readonly #written = new Map<LightFile, string>();
  #abilities: Abilities | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(folder: string | null) {
    this.#folder = folder;
  }

  show(row: LedRow): void {
    const able = this.#abilities ??= this.#open();
    if (able.colours !== null) {
      this.#write("multi_intensity", intensities(row, able, able.colours));
    }
    if (able.blinks) this.#write("delay_on", `${row.onMs}`);
    else this.#blink(row.onMs, able.maxBrightness);
  }

  turnOff(): void {
    this.forget();
    const able = this.#abilities;
    if (able === null) return;
    if (able.blinks) this.#write("trigger", "none");
    this.#write("brightness", "0");
  }

  /** Stops the timer; writes nothing. */
  forget(): void {
    clearTimeout(this.#timer);
  }

  #open(): Abilities {
    const maxBrightness = Number(this.#read("max_brightness"));
    if (!Number.isInteger(maxBrightness) || maxBrightness < 1) {
      const path = this.#pathOf("max_brightness");
      throw new LightError(`${path} holds no number, want 1 or more`);
    }
    const colours = this.#readIfThere("multi_index")?.split(/\s+/) ?? null;
    const triggers = this.#readIfThere("trigger")?.split(/[\s[\]]+/) ?? [];
    const blinks = this.#startBlinking(triggers, maxBrightness);
    return { maxBrightness, colours, blinks };
  }

  /** Lets the kernel blink; false when it cannot, or not for us. */
  #startBlinking(triggers: readonly string[], maxBrightness: number): boolean {
    if (triggers.includes("timer")) {
      // On first: the timer takes over how bright the light is.
      this.#write("brightness", `${maxBrightness}`);
      this.#write("trigger", "timer");
      try {
        this.#write("delay_off", `${LED_OFF_MS}`);
        this.#write("delay_on", `${LED_ROWS.power_on.onMs}`);
        return true;
      } catch (error) {
        if (!(error instanceof LightError)) throw error;
        // The kernel makes the two files with the trigger, as root's.
      }
    }
    // Another trigger would fight with our timer.
    if (triggers.includes("none")) this.#write("trigger", "none");
    return false;
  }

  #blink(onMs: number, maxBrightness: number): void {
    clearTimeout(this.#timer);
    const flash = (isOn: boolean) => {
      const timer = setTimeout(
        () => this.#tryFlash(flash, !isOn),
        isOn ? onMs : LED_OFF_MS,
      );
      Deno.unrefTimer(timer);
      this.#timer = timer;
      this.#write("brightness", isOn ? `${maxBrightness}` : "0");
    };
    flash(true);
  }

  /** In a timer nobody hears of a failure: the next change tells. */
  #tryFlash(flash: (isOn: boolean) => void, isOn: boolean): void {
    try {
      flash(isOn);
    } catch (error) {
      if (!(error instanceof LightError)) throw error;
      clearTimeout(this.#timer);
    }
  }

  #pathOf(file: LightFile): string {
    if (this.#folder !== null) return `${this.#folder}/${file}`;
    throw new LightError(`want a name in ${LEDS} or an absolute path`);
  }

  #read(file: LightFile): string {
    const path = this.#pathOf(file);
    try {
      return Deno.readTextFileSync(path).trim();
    } catch (error) {
      throw wrap(error, path);
    }
  }

  #readIfThere(file: LightFile): string | null {
    try {
      return this.#read(file);
    } catch (error) {
      if (
        error instanceof LightError &&
        error.cause instanceof Deno.errors.NotFound
      ) return null;
      throw error;
    }
  }

  #write(file: LightFile, value: string): void {
    if (this.#written.get(file) === value) return;
    const path = this.#pathOf(file);
    this.#written.delete(file);
    try {
      // Never a new file: what is not there is not a light.
      Deno.writeTextFileSync(path, value, { create: false });
    } catch (error) {
      throw wrap(error, path);
    }
    this.#written.set(file, value);
  }
}

/** What each colour of the light gets, in the light's order. */
function intensities(
  { rgb }: LedRow,
  { maxBrightness }: Abilities,
  colours: readonly string[],
): string {
  const [red, green, blue] = rgb;
  const levels: Readonly<Record<string, number>> = { red, green, blue };
  return colours
    .map((colour) =>
      Math.round((levels[colour] ?? 0) * maxBrightness / BRIGHTEST)
    )
    .join(" ");
}
