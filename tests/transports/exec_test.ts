import assert from "node:assert/strict";
import fs from "node:fs";
import fc from "fast-check";
import { execTransport } from "../../transports/exec.ts";
import type { MigrateAddress } from "../../core/transport.ts";
import { conformance, pattern, readAll, recordingContext, within } from "./conformance.ts";

const connect = async (command: string, context = recordingContext()) =>
  await execTransport.connect(execTransport.parse(command), context);

conformance({
  transport: execTransport,
  stored: true,
  rest: fc.string(),
  async open(dir, context) {
    return {
      writer: await execTransport.connect(execTransport.parse(`cat > '${dir}/f'`), context),
      reader: () => execTransport.listen(execTransport.parse(`cat '${dir}/f'`), context).accept(),
    };
  },
  skip: {
    "random access": "a pipe has no places",
    "any length": "a hundred processes would take long; fixed lengths are tried",
    "abort wakes a reader": "tried below with a command that says nothing",
    "abort wakes a writer": "tried below with a command that does not read",
  },
});

Deno.test("exec: abort() wakes a read that waits, and ends all of a pipeline", async () => {
  const channel = await connect("sleep 1000 | cat; cat");
  const waiting = Promise.resolve(channel.read!(new Uint8Array(10)));
  setTimeout(() => channel.abort(), 50);
  await assert.rejects(within(waiting, "read"), { message: "Unable to read from command: Operation canceled" });
  await within(Promise.resolve(channel.close()), "close()");
});

Deno.test("exec: abort() wakes a write that waits", async () => {
  const channel = await connect("sleep 1000");
  const waiting = (async () => {
    for (let i = 0; i < 100; i++) await channel.write!(pattern(1 << 20));
  })();
  setTimeout(() => channel.abort(), 50);
  await assert.rejects(within(waiting, "write"), { message: "Unable to write to command: Operation canceled" });
  await within(Promise.resolve(channel.close()), "close()");
});

Deno.test("exec: abort() ends a command that ignores SIGTERM", async () => {
  const channel = await connect("trap '' TERM; while :; do sleep 0.05; done");
  channel.abort();
  await within(Promise.resolve(channel.close()), "close()");
});

Deno.test("exec: a command that goes away is a broken pipe", async () => {
  const context = recordingContext();
  const channel = await connect("exit 3", context);
  await assert.rejects(async () => {
    for (let i = 0; i < 1000; i++) await channel.write!(pattern(1 << 16));
  }, { message: "Unable to write to command: Broken pipe" });
  await channel.close();
  assert.deepEqual(context.reports, ["exec: the command ended with status 3"]);
});

Deno.test("exec: close() waits for the command, whose status decides nothing", async () => {
  const dir = await Deno.makeTempDir({ prefix: "miglab-" });
  const context = recordingContext();
  const channel = await connect(`cat > '${dir}/e'; sleep 0.05; echo done $? >> '${dir}/log'; exit 5`, context);
  await channel.write!(pattern(100_000));
  await channel.close();
  assert.equal(fs.readFileSync(`${dir}/log`, "utf8"), "done 0\n");
  assert.deepEqual(new Uint8Array(fs.readFileSync(`${dir}/e`)), pattern(100_000));
  assert.deepEqual(context.reports, ["exec: the command ended with status 5"]);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("exec: both pipes are there, whichever way the migration runs", async () => {
  const channel = await connect("cat");
  assert.equal(channel.returnPath, true);
  await channel.write!(pattern(1000));
  const view = new Uint8Array(1000);
  assert.equal(await channel.read!(view), 1000);
  assert.deepEqual(view, pattern(1000));
  await channel.close();
});

Deno.test("exec: an address runs its arguments as they stand", async () => {
  const address: MigrateAddress = { transport: "exec", args: ["/usr/bin/printf", "%s|", "a b", "$HOME", "'"] };
  const channel = await execTransport.listen(address, recordingContext()).accept();
  assert.equal(new TextDecoder().decode(await readAll(channel)), "a b|$HOME|'|");
  await channel.close();
  assert.equal(execTransport.format(address), "exec:/usr/bin/printf '%s|' 'a b' '$HOME' ''\\'''");
});

Deno.test("exec: a program is looked up by path only, and an empty list is an error", () => {
  const context = recordingContext();
  const run = (...args: string[]) => () => execTransport.connect({ transport: "exec", args }, context);
  assert.throws(run("/tmp/none/such"), {
    message: "Failed to execute child process “/tmp/none/such” (No such file or directory)",
  });
  assert.throws(run("cat"), { message: "Failed to execute child process “cat” (No such file or directory)" });
  assert.throws(run(), { name: "CommandError", message: "exec: the list of arguments is empty" });
});

Deno.test("exec: accept() waits for the first byte, and for ever when none comes", async () => {
  const context = recordingContext();
  const started = Date.now();
  const slow = execTransport.listen(execTransport.parse("sleep 0.1; echo x"), context);
  const channel = await slow.accept();
  assert.ok(Date.now() - started >= 80, "before the first byte");
  assert.equal(new TextDecoder().decode(await readAll(channel)), "x\n");
  await channel.close();

  const never = execTransport.listen(execTransport.parse("true"), context);
  let settled = false;
  const waiting = never.accept().finally(() => settled = true);
  waiting.catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal(settled, false);
  assert.deepEqual(context.reports, ["exec: the command ended without writing a byte"]);
  never.close();
  await assert.rejects(within(waiting, "close()"), { message: "The incoming migration was closed" });
});
