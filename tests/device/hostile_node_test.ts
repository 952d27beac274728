/**
 * A device and those who only pretend to be its node: nothing is told to them,
 * nothing is pinned, and the device is there when its own node is.
 *
 * @module
 */

import assert from "node:assert/strict";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { publicKey } from "../../src/crypto/secp.ts";
import { Secret } from "../../src/crypto/secret.ts";
import type { Box } from "../../src/device/box.ts";
import { openCard } from "../../src/device/card.ts";
import { OwnerError } from "../../src/device/owner_error.ts";
import {
  Contact,
  type ContactOptions,
} from "../../src/device/setup/contact.ts";
import { makeSecretFile } from "../../src/keyderiv.ts";
import { startBareNode } from "../support/bare_node.ts";
import { startNode } from "../support/node.ts";
import { inFolder, makeBox } from "../support/softkey.ts";

const OWN = new Secret(new Uint8Array(32).fill(7));
const FOREIGN = new Secret(new Uint8Array(32).fill(8));
const keyOf = (secret: Secret) => publicKey(secret.reveal());
const CODE = new Secret(new Uint8Array(16).fill(5));
const SEED = makeSecretFile(new Uint8Array(16).fill(1));

/** Lines that were said, and somebody who waits for one. */
function listener() {
  const lines: string[] = [];
  const waiting = new Set<() => void>();
  return {
    lines,
    say: (text: string) => {
      lines.push(text);
      for (const wake of waiting) wake();
    },
    async said(pattern: RegExp, times = 1): Promise<void> {
      while (lines.filter((line) => pattern.test(line)).length < times) {
        await new Promise<void>((resolve) => waiting.add(resolve));
      }
    },
  };
}

/** Uses a box at an address, and stops it. */
async function withBox(
  folder: string,
  url: string,
  use: (box: Box, told: ReturnType<typeof listener>) => Promise<void>,
): Promise<void> {
  const told = listener();
  const network = NETWORKS.regtest;
  const { say } = told;
  const box = await makeBox({ folder, url, secret: SEED, network, say });
  box.start();
  try {
    await use(box, told);
  } finally {
    await box.stop();
  }
}

async function withContact(
  folder: string,
  options: Pick<ContactOptions, "url" | "pinned" | "code">,
  use: (contact: Contact, told: ReturnType<typeof listener>) => Promise<void>,
): Promise<void> {
  const told = listener();
  const card = await openCard(`${folder}/card`);
  const contact = new Contact({
    ...options,
    card,
    nodeKey: null,
    isEmpty: true,
    software: "softkey under test",
    say: told.say,
  });
  try {
    await use(contact, told);
  } finally {
    await contact.close();
  }
}

Deno.test("a node that introduces itself with a key that it did not prove is hung up on", () =>
  inFolder(async (folder) => {
    const introducedAs = keyOf(FOREIGN);
    await using server = await startBareNode({ key: OWN, introducedAs });
    await withBox(folder, server.url, async (_box, told) => {
      await told.said(/introduced itself with a key that it did not prove/);
      await told.said(/^connected to/, 2);
    });
    await withContact(
      folder,
      { url: server.url, pinned: keyOf(OWN), code: CODE },
      async (contact, told) => {
        contact.introduce().catch(() => {});
        await told.said(/introduced itself with a key that it did not prove/);
      },
    );
  }));

Deno.test("a login that is refused is a line and another try, never an end", () =>
  inFolder(async (folder) => {
    await using server = await startBareNode({ key: OWN, refusals: 3 });
    await withBox(folder, server.url, async (box, told) => {
      const ended = box.ended.then(() => "ended");
      const connected = told.said(/^connected to/).then(() => "connected");
      assert.equal(await Promise.race([ended, connected]), "connected");
      const refused = told.lines.filter((line) => /does not take/.test(line));
      assert.equal(refused.length, 1, told.lines.join("\n"));
    });
  }));

Deno.test("a code is shown to nobody but the node of its string", () =>
  inFolder(async (folder) => {
    await using server = await startBareNode({ key: FOREIGN });
    await withContact(
      folder,
      { url: server.url, pinned: keyOf(OWN), code: CODE },
      async (contact, told) => {
        contact.introduce().catch(() => {});
        await told.said(/its link key is/);
      },
    );
    assert.deepEqual(server.heard.map(({ name }) => name), []);
  }));

Deno.test("a yes of the node that was lost on the way is asked for again", () =>
  inFolder(async (folder) => {
    await using node = await startNode({
      folder,
      pairing: "code",
      linkKey: OWN,
    });
    await node.codes.make(CODE.reveal());
    const options = { url: node.url, pinned: keyOf(OWN), code: CODE };
    for (let times = 0; times < 2; times++) {
      await withContact(folder, options, async (contact) => {
        const { brokerKey } = await contact.introduce();
        assert.deepEqual(brokerKey, keyOf(OWN));
        await contact.consent();
      });
      assert.equal(node.devices.devices.length, 1);
    }
  }));

Deno.test("a code that is none of the node's ends the pairing with its reason", () =>
  inFolder(async (folder) => {
    await using node = await startNode({
      folder,
      pairing: "code",
      linkKey: OWN,
    });
    const options = { url: node.url, pinned: keyOf(OWN), code: CODE };
    const refused = (contact: Contact, told: RegExp) =>
      assert.rejects(
        contact.introduce(),
        (error) => error instanceof OwnerError && told.test(error.message),
      );
    // Without any code outstanding the door is closed.
    await withContact(
      folder,
      options,
      (contact) => refused(contact, /has expired or was used/),
    );
    await node.codes.make(new Uint8Array(16).fill(6));
    await withContact(
      folder,
      options,
      (contact) => refused(contact, /its pairing code is none of this node/),
    );
    assert.deepEqual(node.devices.devices, []);
  }));

Deno.test("whoever has no code is told nothing of the node, and gets no init", () =>
  inFolder(async (folder) => {
    await using node = await startNode({
      folder,
      pairing: "code",
      linkKey: OWN,
    });
    node.init();
    await node.codes.make(CODE.reveal());
    await withContact(folder, { url: node.url }, async (contact) => {
      await assert.rejects(contact.meet(), /not paired with this node/);
    });
    // With the code it is introduced, and init waits for the owner's yes.
    await withContact(
      folder,
      { url: node.url, pinned: keyOf(OWN), code: CODE },
      async (contact) => {
        const met = contact.meet().then(() => "met", () => "refused");
        const asked = contact.consent().then(() => "paired");
        assert.equal(await Promise.race([met, asked]), "paired");
      },
    );
  }));
