import assert from "node:assert/strict";
import fs from "node:fs";
import { FdTable, holdPath } from "../../core/fds.ts";
import type { HeldFd } from "../../core/transport.ts";

const open = (): HeldFd => holdPath("/dev/null");
const isOpen = ({ fd }: HeldFd) => {
  try {
    fs.fstatSync(fd);
    return true;
  } catch {
    return false;
  }
};

Deno.test("FdTable: the same name again replaces and closes the old descriptor", () => {
  const table = new FdTable();
  const [first, second] = [open(), open()];
  table.getfd("a", first);
  table.getfd("a", second);
  assert.deepEqual([isOpen(first), isOpen(second), table.names()], [false, true, ["a"]]);
  assert.equal(table.takeNamedFd("a"), second);
  assert.equal(table.takeNamedFd("a"), undefined);
  assert.throws(() => table.closefd("a"), { message: "File descriptor named 'a' not found" });
  fs.closeSync(second.fd);
});

Deno.test("FdTable: a refused descriptor is closed", () => {
  const table = new FdTable();
  const [first, second] = [open(), open()];
  assert.throws(() => table.getfd("1a", first), {
    message: "Parameter 'fdname' expects a name not starting with a digit",
  });
  assert.throws(() => table.addFd(second, { fdsetId: -1 }), {
    message: "Parameter 'fdset-id' expects a non-negative value",
  });
  assert.deepEqual([isOpen(first), isOpen(second)], [false, false]);
  assert.throws(() => table.getfd("1a", undefined), { message: "No file descriptor supplied via SCM_RIGHTS" });
  assert.throws(() => table.addFd(undefined, { fdsetId: -1 }), {
    message: "No file descriptor supplied via SCM_RIGHTS",
  });
});

Deno.test("FdTable: a set takes the lowest free id and is listed highest first, descriptors oldest first", () => {
  const table = new FdTable();
  const held = [open(), open(), open(), open()];
  assert.equal(table.addFd(held[0]).fdsetId, 0);
  assert.equal(table.addFd(held[1], { fdsetId: 2 }).fdsetId, 2);
  assert.equal(table.addFd(held[2]).fdsetId, 1);
  assert.deepEqual(table.addFd(held[3], { fdsetId: 2, opaque: "x" }), { fdsetId: 2, fd: held[3].fd });
  assert.deepEqual(table.queryFdsets(), [
    { fdsetId: 2, fds: [{ fd: held[1].fd }, { fd: held[3].fd, opaque: "x" }] },
    { fdsetId: 1, fds: [{ fd: held[2].fd }] },
    { fdsetId: 0, fds: [{ fd: held[0].fd }] },
  ]);
  assert.deepEqual(table.fdset(2)?.map(({ fd }) => fd), [held[3].fd, held[1].fd]);
  assert.equal(table.fdset(7), undefined);
  assert.throws(() => table.removeFd(2, 9999), { message: "File descriptor named 'fdset-id:2, fd:9999' not found" });
  table.removeFd(2, held[1].fd);
  assert.deepEqual([isOpen(held[1]), isOpen(held[3])], [false, true]);
  table.close();
  assert.deepEqual(held.map(isOpen), [false, false, false, false]);
  assert.deepEqual(table.queryFdsets(), []);
});

Deno.test("FdTable: connections share the sets, not the names", () => {
  const table = new FdTable();
  const other = table.connection();
  table.getfd("a", open());
  table.addFd(open());
  assert.equal(other.takeNamedFd("a"), undefined);
  assert.equal(other.queryFdsets().length, 1);
  other.closeNames();
  assert.deepEqual(table.names(), ["a"]);
  table.close();
});

Deno.test("FdTable: a descriptor in use is closed when its last use ends", () => {
  const table = new FdTable();
  const held = open();
  table.addFd(held);
  const [one] = table.fdset(0)!;
  const [endOne, endTwo] = [one.use!(), one.use!()];
  table.removeFd(0);
  assert.equal(isOpen(held), true);
  endOne();
  endOne();
  assert.equal(isOpen(held), true, "ending one use twice does not end the other");
  endTwo();
  assert.equal(isOpen(held), false);
  assert.deepEqual(table.queryFdsets(), []);
});
