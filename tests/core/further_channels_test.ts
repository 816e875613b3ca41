import assert from "node:assert/strict";
import fs from "node:fs";
import { FdTable, holdPath } from "../../core/fds.ts";
import { checkFurtherChannels } from "../../core/further_channels.ts";
import type { TransportContext } from "../../core/transport.ts";

const { O_RDONLY, O_DIRECT } = fs.constants;
const path = Deno.makeTempFileSync();
globalThis.addEventListener("unload", () => Deno.removeSync(path));

const settings = (on: readonly string[], direct: boolean) => ({
  on: (name: string) => on.includes(name),
  parameter: (name: string) => name === "direct-io" ? direct : undefined,
});
const both = ["multifd", "mapped-ram"];

function context(fds: FdTable): TransportContext {
  return { takeNamedFd: () => undefined, fdset: (id) => fds.fdset(id), warn: () => {}, report: () => {} };
}

Deno.test("only mapped-ram with multifd opens a file again", () => {
  const absent = { transport: "file", filename: path + "/absent", offset: 0 } as const;
  checkFurtherChannels(absent, "read", settings(["multifd"], true), context(new FdTable()));
  checkFurtherChannels({ transport: "exec", args: ["x"] }, "read", settings(both, true), context(new FdTable()));
  assert.throws(
    () => checkFurtherChannels(absent, "read", settings(both, false), context(new FdTable())),
    { message: `Could not open '${path}/absent': Not a directory` },
  );
});

Deno.test("a set needs a second descriptor for direct-io", () => {
  const fds = new FdTable();
  try {
    const { fdsetId } = fds.addFd(holdPath(path, O_RDONLY));
    const address = { transport: "file", filename: `/dev/fdset/${fdsetId}`, offset: 0 } as const;
    checkFurtherChannels(address, "read", settings(both, false), context(fds));
    const message = "Failed to find file descriptor with matching flags=0x4000";
    assert.throws(() => checkFurtherChannels(address, "read", settings(both, true), context(fds)), { message });
    fds.addFd(holdPath(path, O_RDONLY | O_DIRECT), { fdsetId });
    checkFurtherChannels(address, "read", settings(both, true), context(fds));
    assert.throws(
      () => checkFurtherChannels(address, "write", settings(both, true), context(fds)),
      /matching flags=0x4001$/,
    );
  } finally {
    fds.close();
  }
});
