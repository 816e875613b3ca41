import assert from "node:assert/strict";
import fs from "node:fs";
import { FdTable, holdPath } from "../../core/fds.ts";
import { furtherChannels, openFurtherChannels } from "../../core/further_channels.ts";
import type { Channel, Transport, TransportContext } from "../../core/transport.ts";
import { fileTransport } from "../../transports/file.ts";

const { O_WRONLY, O_DIRECT } = fs.constants;

const settings = (on: readonly string[], direct = false, count = 3) => ({
  on: (name: string) => on.includes(name),
  parameter: (name: string) => ({ "direct-io": direct, "multifd-channels": count })[name],
});
const both = ["multifd", "mapped-ram"];
const never = new AbortController().signal;

function context(fds: FdTable): TransportContext {
  return { takeNamedFd: () => undefined, fdset: (id) => fds.fdset(id), warn: () => {}, report: () => {} };
}

Deno.test("only multifd has further channels, and only with mapped-ram they bypass the page cache", () => {
  assert.deepEqual(furtherChannels(settings([], true)), { count: 0, direct: false });
  assert.deepEqual(furtherChannels(settings(["mapped-ram"], true)), { count: 0, direct: false });
  assert.deepEqual(furtherChannels(settings(["multifd"], true)), { count: 3, direct: false });
  assert.deepEqual(furtherChannels(settings(both, true)), { count: 3, direct: true });
});

Deno.test("each further channel is a handle of its own, for writing, and the file is not cut", async () => {
  const path = Deno.makeTempFileSync();
  Deno.writeTextFileSync(path, "0123456789");
  try {
    const to = { transport: fileTransport, address: { transport: "file", filename: path, offset: 4 } } as const;
    for (const direct of [false, true]) {
      const channels = await openFurtherChannels(to, settings(both, direct), context(new FdTable()), never);
      assert.equal(channels.length, 3);
      for (const { file, read } of channels) {
        assert.deepEqual(file, { path, flags: O_WRONLY | (direct ? O_DIRECT : 0) });
        assert.equal(read, undefined);
      }
      for (const channel of channels) channel.close();
    }
    assert.equal(Deno.readTextFileSync(path), "0123456789");
  } finally {
    Deno.removeSync(path);
  }
});

Deno.test("a set needs a second descriptor for direct-io", async () => {
  const path = Deno.makeTempFileSync();
  const fds = new FdTable();
  try {
    const { fdsetId } = fds.addFd(holdPath(path, O_WRONLY));
    const address = { transport: "file", filename: `/dev/fdset/${fdsetId}`, offset: 0 } as const;
    const open = (direct: boolean) =>
      openFurtherChannels({ transport: fileTransport, address }, settings(both, direct), context(fds), never);
    for (const channel of await open(false)) channel.close();
    await assert.rejects(open(true), { message: "Failed to find file descriptor with matching flags=0x4001" });
    fds.addFd(holdPath(path, O_WRONLY | O_DIRECT), { fdsetId });
    for (const channel of await open(true)) channel.close();
  } finally {
    fds.close();
    Deno.removeSync(path);
  }
});

Deno.test("when one channel cannot be opened those before it are closed", async () => {
  let closed = 0, opened = 0;
  const transport = {
    connectExtra() {
      if (++opened === 3) throw new Error("no more");
      return { close: () => void closed++ } as unknown as Channel;
    },
  } as unknown as Transport;
  const address = { transport: "buffer", name: "x" } as const;
  const opening = openFurtherChannels({ transport, address }, settings(both), context(new FdTable()), never);
  await assert.rejects(opening, { message: "no more" });
  assert.deepEqual([opened, closed], [3, 2]);
});

Deno.test("a connection that never comes about ends with the migration", async () => {
  const abort = new AbortController();
  const transport = { connectExtra: () => new Promise(() => {}) } as unknown as Transport;
  const address = { transport: "buffer", name: "x" } as const;
  const opening = openFurtherChannels({ transport, address }, settings(both), context(new FdTable()), abort.signal);
  abort.abort(new Error("given up"));
  await assert.rejects(opening, { message: "given up" });
});

Deno.test("a channel that does not come about in time is given up, and closed if it comes after all", async () => {
  let closed = 0;
  const channel = { close: () => void closed++ } as Channel;
  const late = Promise.withResolvers<Channel>();
  const answers = [Promise.resolve(channel), late.promise];
  const transport = { connectExtra: () => answers.shift()! } as unknown as Transport;
  const to = { transport, address: { transport: "file", filename: "x", offset: 0 } } as const;
  await assert.rejects(
    openFurtherChannels(to, settings(["multifd"]), context(new FdTable()), never, 50),
    { message: "multifd: channel 1 was not connected within 0.05 s" },
  );
  assert.equal(closed, 1, "the one that came is closed");
  late.resolve(channel);
  await new Promise((resolve) => setTimeout(resolve, 0));
  assert.equal(closed, 2);
});
