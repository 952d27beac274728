/**
 * Where the light is seen: the mark, the topic, and folders that look like those
 * of /sys/class/leds.
 *
 * @module
 */

import assert from "node:assert/strict";
import process from "node:process";
import { LED_ROWS, type LedStatus } from "../../src/device/led.ts";
import {
  folderOutput,
  hasColour,
  Light,
  markOf,
  topicOutput,
} from "../../src/device/led_outputs.ts";

const STATUSES = Object.keys(LED_ROWS).filter((name): name is LedStatus =>
  name in LED_ROWS
);

type Files = Readonly<Record<string, string>>;

const COLOURS: Files = {
  brightness: "0",
  max_brightness: "255\n",
  multi_index: "red green blue\n",
  multi_intensity: "0 0 0",
  trigger: "[none] kbd-capslock timer heartbeat\n",
  delay_on: "500",
  delay_off: "500",
};

/** Without the files of these names. */
const without = (files: Files, ...names: string[]): Files =>
  Object.fromEntries(
    Object.entries(files).filter(([name]) => !names.includes(name)),
  );

async function inLedFolder(
  files: Files,
  use: (folder: string) => void | Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    for (const [name, text] of Object.entries(files)) {
      await Deno.writeTextFile(`${folder}/${name}`, text);
    }
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const read = (folder: string, file: string) =>
  Deno.readTextFileSync(`${folder}/${file}`);
const never = (text: string) => assert.fail(text);

Deno.test("the mark has the status's colour, brightened, and its name", () => {
  assert.equal(
    markOf("signing", true),
    "\x1b[38;2;255;255;255m●\x1b[0m signing",
  );
  assert.equal(
    markOf("starting", true),
    "\x1b[38;2;64;64;255m●\x1b[0m starting",
  );
  assert.equal(markOf("ota", true), "\x1b[38;2;255;188;64m●\x1b[0m ota");
  for (const status of STATUSES) {
    assert.equal(markOf(status, false), `● ${status}`);
  }
});

Deno.test("there is no colour without a terminal, and none with NO_COLOR", () => {
  const terminal = { isTerminal: () => true };
  const pipe = { isTerminal: () => false };
  assert.equal(hasColour(terminal, false), true);
  assert.equal(hasColour(terminal, true), false);
  assert.equal(hasColour(pipe, false), false);
});

Deno.test("the topic gets each change of status once", () => {
  const heard: LedStatus[] = [];
  const light = new Light([topicOutput((status) => heard.push(status))]);
  light.tell("started");
  light.tell("mqtt_connecting");
  light.tell("connected");
  light.tell("request");
  light.tell("request");
  light.tell("disconnected");
  light.stop();
  assert.deepEqual(heard, [
    "power_on",
    "starting",
    "connecting_to_mqtt",
    "signing",
    "connecting_to_mqtt",
  ]);
  assert.equal(light.status, "connecting_to_mqtt");
});

Deno.test("a light of three colours is set to each status, and the kernel blinks", () =>
  inLedFolder(COLOURS, (folder) => {
    const light = folderOutput({ led: folder, say: never });
    for (const status of STATUSES) {
      light.show(status);
      const { rgb, onMs } = LED_ROWS[status];
      assert.equal(read(folder, "multi_intensity"), rgb.join(" "));
      assert.equal(read(folder, "delay_on"), `${onMs}`);
      assert.equal(read(folder, "delay_off"), "400");
      assert.equal(read(folder, "trigger"), "timer");
      assert.equal(read(folder, "brightness"), "255");
    }
    light.stop();
    assert.equal(read(folder, "trigger"), "none");
    assert.equal(read(folder, "brightness"), "0");
  }));

Deno.test("the order of the colours is the light's own, and their range too", () =>
  inLedFolder(
    {
      ...COLOURS,
      multi_index: "green white red blue\n",
      max_brightness: "31",
    },
    (folder) => {
      const light = folderOutput({ led: folder, say: never });
      light.show("reset1");
      assert.equal(read(folder, "multi_intensity"), "29 0 16 0");
      assert.equal(read(folder, "brightness"), "31");
      light.stop();
    },
  ));

Deno.test("a light whose order is green, red, blue gets green first", () =>
  inLedFolder({ ...COLOURS, multi_index: "green red blue\n" }, (folder) => {
    const light = folderOutput({ led: folder, say: never });
    light.show("ota");
    assert.equal(read(folder, "multi_intensity"), "165 255 0");
    light.stop();
  }));

Deno.test("a light of one colour shows the rhythm", () =>
  inLedFolder(
    {
      ...without(COLOURS, "multi_index", "multi_intensity"),
      max_brightness: "1",
    },
    (folder) => {
      const light = folderOutput({ led: folder, say: never });
      light.show("connected");
      assert.equal(read(folder, "brightness"), "1");
      assert.equal(read(folder, "delay_on"), "400");
      assert.throws(() => read(folder, "multi_intensity"));
      light.stop();
      assert.equal(read(folder, "brightness"), "0");
    },
  ));

Deno.test("nothing is written when nothing changes", () =>
  inLedFolder(COLOURS, (folder) => {
    const light = folderOutput({ led: folder, say: never });
    light.show("signing");
    for (const name of Object.keys(COLOURS)) {
      Deno.writeTextFileSync(`${folder}/${name}`, "as it was");
    }
    light.show("signing");
    light.show("starting");
    const changed = Object.keys(COLOURS)
      .filter((name) => read(folder, name) !== "as it was");
    assert.deepEqual(changed, ["multi_intensity"]);
    light.stop();
  }));

/** Resolves when the file holds that; whoever writes it wakes us. */
async function untilHolds(
  folder: string,
  { file, text }: { readonly file: string; readonly text: string },
): Promise<void> {
  using watcher = Deno.watchFs(folder);
  if (read(folder, file) === text) return;
  for await (const _event of watcher) {
    if (read(folder, file) === text) return;
  }
}

for (
  const { name, files } of [
    {
      name: "a light that the kernel cannot blink blinks by our timer",
      files: {
        ...without(COLOURS, "delay_on", "delay_off"),
        trigger: "none [heartbeat]",
      },
    },
    {
      name: "a light whose timer trigger is not ours blinks by our timer",
      files: without(COLOURS, "delay_on", "delay_off"),
    },
  ]
) {
  Deno.test(name, () =>
    inLedFolder(files, async (folder) => {
      const light = folderOutput({ led: folder, say: never });
      light.show("connected");
      assert.equal(read(folder, "trigger"), "none");
      assert.equal(read(folder, "brightness"), "255");
      await untilHolds(folder, { file: "brightness", text: "0" });
      await untilHolds(folder, { file: "brightness", text: "255" });
      light.stop();
      assert.equal(read(folder, "brightness"), "0");
    }));
}

Deno.test("a light without a trigger file blinks by our timer", () =>
  inLedFolder(without(COLOURS, "trigger"), (folder) => {
    const light = folderOutput({ led: folder, say: never });
    light.show("signing");
    assert.equal(read(folder, "brightness"), "255");
    light.stop();
    assert.equal(read(folder, "brightness"), "0");
  }));

/** Another process that shows a light and does not stop it. */
async function showElsewhere(
  led: string,
  permissions: readonly string[],
): Promise<{ readonly code: number; readonly said: string }> {
  const module = new URL("../../src/device/led_outputs.ts", import.meta.url);
  const program = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(
      program,
      `import { folderOutput } from ${JSON.stringify(module.href)};
      folderOutput({ led: ${JSON.stringify(led)}, say: console.log })
        .show("signing");`,
    );
    const { code, stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--no-config", ...permissions, program],
      stdout: "piped",
    }).output();
    return { code, said: new TextDecoder().decode(stdout) };
  } finally {
    await Deno.remove(program);
  }
}

Deno.test("our timer does not keep a program alive", () =>
  inLedFolder(without(COLOURS, "trigger"), async (folder) => {
    const found = await showElsewhere(folder, ["-A"]);
    assert.deepEqual(found, { code: 0, said: "" });
    assert.equal(read(folder, "brightness"), "255");
  }));

Deno.test("a program that Deno keeps from /sys says what to do", async () => {
  const permissions = ["--allow-read", "--allow-write"];
  const { code, said } = await showElsewhere("status", permissions);
  assert.equal(code, 0);
  assert.equal(
    said,
    'Cannot use the light "status": Deno keeps programs from ' +
      "/sys/class/leds/status/max_brightness, want its folder mounted " +
      "elsewhere (mount --bind) and named here, or deno run --allow-all; " +
      "signing goes on without it\n",
  );
});

/** What is said about a light that is shown twice and stopped. */
function complaintsOf(led: string): string[] {
  const said: string[] = [];
  const light = folderOutput({ led, say: (text) => said.push(text) });
  light.show("starting");
  light.show("signing");
  light.stop();
  light.show("signing");
  return said;
}

Deno.test("a light that is not there costs one sentence", () =>
  inLedFolder({}, (folder) => {
    assert.deepEqual(complaintsOf(`${folder}/none`), [
      `Cannot use the light "${folder}/none": ${folder}/none/max_brightness ` +
      "is not there; signing goes on without it",
    ]);
  }));

Deno.test("a name that is a way out of the folder of lights is refused", () => {
  for (const led of ["", ".", "..", "a/b", "../x"]) {
    assert.deepEqual(complaintsOf(led), [
      `Cannot use the light "${led}": want a name in /sys/class/leds or an ` +
      "absolute path; signing goes on without it",
    ]);
  }
});

Deno.test("a range that is no number costs one sentence", () =>
  inLedFolder({ ...COLOURS, max_brightness: "bright" }, (folder) => {
    const [said, ...more] = complaintsOf(folder);
    assert.match(said ?? "", /max_brightness holds no number, want 1 or more/);
    assert.deepEqual(more, []);
  }));

Deno.test("a light that this user may not write costs one sentence", () =>
  inLedFolder(COLOURS, (folder) => {
    Deno.chmodSync(folder, 0o755);
    for (const name of Object.keys(COLOURS)) {
      Deno.chmodSync(`${folder}/${name}`, 0o444);
    }
    const isRoot = Deno.uid() === 0;
    // Root may do everything: become nobody for a moment.
    if (isRoot) process.seteuid?.(65534);
    try {
      assert.deepEqual(complaintsOf(folder), [
        `Cannot use the light "${folder}": this user may not use ` +
        `${folder}/brightness; signing goes on without it`,
      ]);
    } finally {
      if (isRoot) process.seteuid?.(0);
    }
  }));

Deno.test("a light that goes away later costs one sentence, and signing goes on", () =>
  inLedFolder(COLOURS, async (folder) => {
    const said: string[] = [];
    const heard: LedStatus[] = [];
    const light = new Light([
      folderOutput({ led: folder, say: (text) => said.push(text) }),
      topicOutput((status) => heard.push(status)),
    ]);
    await Deno.remove(`${folder}/multi_intensity`);
    light.tell("card_mounting");
    light.tell("request");
    light.stop();
    assert.equal(said.length, 1);
    assert.match(said[0] ?? "", /multi_intensity is not there/);
    assert.deepEqual(heard, ["power_on", "mounting_card", "signing"]);
    assert.throws(() => read(folder, "multi_intensity"));
  }));
