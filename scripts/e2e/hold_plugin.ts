/**
 * A plugin of lightningd that holds incoming payments until it is told to let go
 * of them: what is under way stays under way.
 *
 * `hold on` and `hold off` are its commands. A file in the node's folder keeps
 * which it was, over a restart.
 *
 * @module
 */

interface Request {
  readonly id?: unknown;
  readonly method?: string;
  readonly params?: unknown;
}

const MANIFEST = {
  options: [],
  rpcmethods: [
    { name: "hold", usage: "switch", description: "hold payments: on or off" },
  ],
  hooks: [{ name: "htlc_accepted" }],
  subscriptions: [],
  dynamic: true,
};

const CONTINUE = { result: "continue" };
const held: unknown[] = [];
/** In the folder that lightningd starts its plugins in. */
const SWITCH = "holding";
let isHolding = await Deno.stat(SWITCH).then(() => true, () => false);

function answer(id: unknown, result: unknown): void {
  const text = JSON.stringify({ jsonrpc: "2.0", id, result });
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n\n`));
}

function take({ id, method, params }: Request): void {
  if (method === "getmanifest") answer(id, MANIFEST);
  else if (method === "init") answer(id, {});
  else if (method === "hold") answer(id, setHolding(params));
  else if (method === "htlc_accepted" && isHolding) held.push(id);
  else if (method === "htlc_accepted") answer(id, CONTINUE);
}

function setHolding(params: unknown): { readonly held: number } {
  isHolding = JSON.stringify(params).includes("on");
  const count = held.length;
  if (isHolding) {
    Deno.writeTextFileSync(SWITCH, "");
  } else {
    Deno.removeSync(SWITCH);
    for (const id of held.splice(0)) answer(id, CONTINUE);
  }
  return { held: count };
}

let rest = "";
for await (
  const part of Deno.stdin.readable.pipeThrough(new TextDecoderStream())
) {
  const texts = (rest + part).split("\n\n");
  rest = texts.pop() ?? "";
  for (const text of texts) take(JSON.parse(text));
}
