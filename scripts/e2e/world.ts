/**
 * What the steps act on: a chain and two nodes with their devices.
 *
 * @module
 */

import { withDeno } from "../../tests/support/paths.ts";
import { build, PROGRAMS } from "../build.ts";
import { Bitcoin } from "./bitcoin.ts";
import { Node } from "./node.ts";
import type { Process } from "./process.ts";

/** Everything that runs. */
export interface World {
  readonly bitcoin: Bitcoin;
  /** Keys from words that its softkey made; settings from the environment. */
  readonly alice: Node;
  /** Keys from 32 bytes without words; settings from a file. */
  readonly bob: Node;
  /** Bob's 32 bytes. */
  readonly secret: Uint8Array;
}

/** Builds both programs and starts the chain; the nodes do not run yet. */
export async function openWorld(
  folder: string,
  stack: AsyncDisposableStack,
): Promise<World> {
  const [broker = "", softkey = ""] = await Promise.all(PROGRAMS.map(build));
  // A home of its own: no settings of whoever runs this.
  const env = { ...withDeno(), HOME: folder };
  const bitcoin = stack.use(await Bitcoin.start(`${folder}/bitcoin`, env));
  const secret = crypto.getRandomValues(new Uint8Array(32));
  const common = {
    broker,
    softkey,
    env: { ...env, ...bitcoin.brokerSettings() },
    bitcoin: bitcoin.lightningdArguments(),
  };
  const alice = stack.use(
    new Node({
      ...common,
      name: "alice",
      folder: `${folder}/alice`,
      settings: "environment",
    }),
  );
  const bob = stack.use(
    new Node({
      ...common,
      name: "bob",
      folder: `${folder}/bob`,
      settings: "file",
      secret,
    }),
  );
  await alice.prepare();
  await bob.prepare();
  return { bitcoin, alice, bob, secret };
}

/** Every program that was started, those that ended too. */
export function processesOf(world: World): readonly Process[] {
  const { bitcoin, alice, bob } = world;
  return [bitcoin.process, ...alice.processes, ...bob.processes];
}

/** Mines blocks and waits until both nodes have seen them. */
export async function mine(world: World, count: number): Promise<void> {
  const height = await world.bitcoin.mine(count);
  await world.alice.reach(height);
  await world.bob.reach(height);
}
