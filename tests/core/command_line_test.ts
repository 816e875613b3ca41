import assert from "node:assert/strict";
import { parseIncomingOption } from "../../core/command_line.ts";
import { CommandError } from "../../stream/errors.ts";
import { openLike, readTranscript } from "./transcripts.ts";

interface Row {
  readonly run: readonly string[];
  readonly exit: number | null;
  readonly stderr_text: string;
}

/** What a workbench started like that says before and while it loads, and whether it ended. */
async function start(args: readonly string[]): Promise<{ exit: number | null; text: string }> {
  const lines: string[] = [];
  try {
    await using bench = await openLike(args, (line) => {
      // our own remark on a command that never wrote: QEMU waits in silence
      if (!line.startsWith("exec: ")) lines.push(line);
    });
    // a load that fails does so in the background
    await Promise.race([bench.settled(), new Promise((resolve) => setTimeout(resolve, 100))]);
    return { exit: bench.session.exitStatus ?? null, text: lines.join("\n") };
  } catch (error) {
    return { exit: 1, text: [...lines, (error as Error).message].join("\n") };
  }
}

Deno.test("-incoming and -global are read, and refused, as by QEMU", async () => {
  for (const row of readTranscript("incoming_command_line") as Row[]) {
    // descriptor 77 may or may not be open in a test runner
    if (row.run.includes("fd:77")) continue;
    const { exit, text } = await start(row.run);
    assert.equal(text, row.stderr_text.replaceAll("qemu-system-x86_64: ", "").trimEnd(), row.run.at(-1));
    assert.equal(exit, row.exit, row.run.at(-1));
  }
});

Deno.test("parseIncomingOption() nests dotted keys", () => {
  const text = "main,addr.transport=socket,addr.type=unix,addr.path=/run/s";
  assert.deepEqual(parseIncomingOption(text), {
    channels: [{ "channel-type": "main", addr: { transport: "socket", type: "unix", path: "/run/s" } }],
  });
});

Deno.test("parseIncomingOption() refuses a second word without a key", () => {
  assert.throws(() => parseIncomingOption("main,cpr"), CommandError);
});

Deno.test("parseIncomingOption() knows defer", () => {
  assert.equal(parseIncomingOption("defer"), undefined);
});
