/**
 * A softkey in a process of its own, over a link that is sealed or is not: the
 * program knows sealed links only.
 *
 *     deno run -A scripts/bench/link_device.ts FOLDER URL sealed|plain
 *
 * FOLDER holds `hsm_secret`, and the card of regtest.
 *
 * @module
 */

import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { useFastCurve } from "../../src/crypto/secp.ts";
import { loadFastCurve } from "../../src/crypto/secp_wasm.ts";
import { makeBelievingCard } from "../../tests/support/believed.ts";
import { makeBox } from "../../tests/support/softkey.ts";

const [folder = "", url = "", link = ""] = Deno.args;
useFastCurve(await loadFastCurve());
await makeBelievingCard(`${folder}/card`, "regtest");
const box = await makeBox({
  folder,
  url,
  secret: await Deno.readFile(`${folder}/hsm_secret`),
  network: NETWORKS.regtest,
  link: link === "plain" ? "plain" : "sealed",
});
box.start();
const stopped = Promise.withResolvers<void>();
Deno.addSignalListener("SIGTERM", () => stopped.resolve());
await stopped.promise;
await box.stop();
