import assert from "node:assert/strict";
import fs from "node:fs";
import fc from "fast-check";
import { fileTransport } from "../../transports/file.ts";
import type { MigrateAddress } from "../../core/transport.ts";
import { holdPath } from "../../core/fds.ts";
import { conformance, pattern, readAll, recordingContext, within } from "./conformance.ts";

const { O_APPEND, O_CREAT, O_RDONLY, O_RDWR, O_WRONLY } = fs.constants;

conformance({
  transport: fileTransport,
  stored: true,
  rest: fc.oneof(
    fc.string(),
    fc.tuple(fc.string(), fc.bigInt(0n, (1n << 64n) - 1n)).map(([path, offset]) => `${path},offset=${offset}`),
    fc.tuple(fc.string(), fc.constantFrom("1.5k", "0x10", "", "-1", "8E", "1M,offset=2")).map((pair) =>
      pair.join(",offset=")
    ),
  ),
  open(dir, context) {
    const address = fileTransport.parse(`${dir}/f,offset=4k`);
    const writer = fileTransport.connect(address, context);
    return Promise.resolve({
      writer: writer as Awaited<typeof writer>,
      reader: () => fileTransport.listen(address, context).accept(),
    });
  },
  skip: {
    "abort wakes a reader": "reading a file never waits",
    "abort wakes a writer": "writing a file never waits",
  },
});

async function inTempDir(run: (dir: string) => Promise<void> | void): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "miglab-" });
  try {
    await run(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function save(uri: string, bytes: Uint8Array, context = recordingContext()): Promise<void> {
  const channel = await fileTransport.connect(fileTransport.parse(uri), context);
  await channel.write!(bytes);
  await channel.close();
}

Deno.test("file: cuts from the offset on, keeps what stood before it, and the mode of an old file", () =>
  inTempDir(async (dir) => {
    const path = `${dir}/pre`;
    fs.writeFileSync(path, pattern(8192), { mode: 0o644 });
    await save(`${path},offset=4096`, pattern(100, 2));
    const bytes = fs.readFileSync(path);
    assert.equal(bytes.length, 4196);
    assert.deepEqual(new Uint8Array(bytes.subarray(0, 4096)), pattern(4096));
    assert.deepEqual(new Uint8Array(bytes.subarray(4096)), pattern(100, 2));
    assert.equal(fs.statSync(path).mode & 0o777, 0o644);
  }));

Deno.test("file: creates with mode 0600 and fills up to the offset with zeros", () =>
  inTempDir(async (dir) => {
    await save(`${dir}/new,offset=1.5k`, pattern(10));
    const bytes = fs.readFileSync(`${dir}/new`);
    assert.equal(fs.statSync(`${dir}/new`).mode & 0o777, 0o600);
    assert.deepEqual(new Uint8Array(bytes.subarray(0, 1536)), new Uint8Array(1536));
    assert.deepEqual(new Uint8Array(bytes.subarray(1536)), pattern(10));
  }));

Deno.test("file: ends its path at the first offset option, other commas belong to it", () => {
  assert.deepEqual(fileTransport.parse("a,foo=1"), { transport: "file", filename: "a,foo=1", offset: 0 });
  assert.deepEqual(fileTransport.parse("a,b,offset=0x10"), { transport: "file", filename: "a,b", offset: 16 });
  assert.deepEqual(fileTransport.parse("a,offset=8E"), { transport: "file", filename: "a", offset: 1n << 63n });
});

Deno.test("file: refuses offsets no file reaches, with the words of the call that fails", () =>
  inTempDir((dir) => {
    const context = recordingContext();
    const out = (offset: number | bigint): MigrateAddress => ({ transport: "file", filename: `${dir}/f`, offset });
    const refuses = (offset: number | bigint, message: string) =>
      assert.throws(() => fileTransport.connect(out(offset), context), { message });
    refuses(-1, "failed to truncate migration file to offset ffffffffffffffff: Invalid argument");
    refuses(7n << 60n, "failed to truncate migration file to offset 7000000000000000: File too large");
    assert.throws(() => fileTransport.listen(out(1n << 63n), context), {
      message: "Unable to seek to offset -9223372036854775808 whence 0 in file: Invalid argument",
    });
  }));

Deno.test("file: says why a file cannot be opened or written", () =>
  inTempDir(async (dir) => {
    const context = recordingContext();
    const listen = (rest: string) => () => fileTransport.listen(fileTransport.parse(rest), context);
    assert.throws(listen(`${dir}/none`), { message: `Could not open '${dir}/none': No such file or directory` });
    assert.throws(listen("a\0b"), { message: "Could not open 'a\0b': Invalid argument" });
    const full = fs.openSync("/dev/full", "w");
    context.fds.getfd("full", { fd: full, flags: O_WRONLY, path: "/dev/full" });
    const { fdTransport } = await import("../../transports/fd.ts");
    const channel = await fdTransport.connect(fdTransport.parse("full"), context);
    assert.equal(channel.seekable, false);
    assert.throws(() => channel.write!(pattern(10)), { message: "Unable to write to file: No space left on device" });
    await channel.close();
  }));

Deno.test("file: reading with O_DIRECT is refused where the file system has none", () => {
  const context = { ...recordingContext(), extra: { count: 2, direct: true } };
  assert.throws(() => fileTransport.listen(fileTransport.parse("/proc/version"), context), {
    message: "Could not open '/proc/version': filesystem does not support O_DIRECT",
  });
});

Deno.test("file: gives as many further channels as the migration asks for", () =>
  inTempDir(async (dir) => {
    fs.writeFileSync(`${dir}/f`, pattern(1000));
    const context = { ...recordingContext(), extra: { count: 2, direct: false } };
    const listener = fileTransport.listen(fileTransport.parse(`${dir}/f,offset=10`), context);
    const channels = [await listener.accept(), await listener.accept(), await listener.accept()];
    assert.deepEqual(channels.map((channel) => channel.start), [10, 0, 0]);
    assert.deepEqual(await readAll(channels[1]), pattern(1000));
    const fourth = listener.accept();
    listener.close();
    await assert.rejects(fourth, { message: "The incoming migration was closed" });
    for (const channel of channels) await channel.close();
  }));

Deno.test("file: a fifo opens when its writer comes, and never stalls the program", () =>
  inTempDir(async (dir) => {
    const path = `${dir}/fifo`;
    await new Deno.Command("mkfifo", { args: [path] }).output();
    const context = recordingContext();
    assert.throws(() => fileTransport.connect(fileTransport.parse(path), context), {
      message: "failed to truncate migration file to offset 0: Invalid argument",
    });
    const unheard = fileTransport.listen(fileTransport.parse(path), context);
    const waiting = unheard.accept();
    setTimeout(() => unheard.close(), 20);
    await assert.rejects(within(waiting, "close()"), { message: "The incoming migration was closed" });

    const listener = fileTransport.listen(fileTransport.parse(path), context);
    const writer = new Deno.Command("/bin/sh", { args: ["-c", `sleep 0.05; printf hello > ${path}`] }).spawn();
    const channel = await within(listener.accept(), "accept()");
    assert.equal(channel.seekable, false);
    assert.equal(new TextDecoder().decode(await within(readAll(channel), "reading")), "hello");
    await channel.close();
    await writer.status;
  }));

Deno.test("file: a descriptor of a set is used where it stands, and stays in the set", () =>
  inTempDir(async (dir) => {
    const context = recordingContext();
    const held = holdPath(`${dir}/f`, O_WRONLY | O_CREAT);
    fs.writeSync(held.fd, pattern(5000));
    context.fds.addFd(held, { fdsetId: 1 });
    await save("/dev/fdset/1", pattern(100, 2), context);
    const bytes = fs.readFileSync(`${dir}/f`);
    assert.equal(bytes.length, 5100, "cut to nothing, then written at 5000");
    assert.deepEqual(new Uint8Array(bytes.subarray(0, 5000)), new Uint8Array(5000));
    assert.deepEqual(new Uint8Array(bytes.subarray(5000)), pattern(100, 2));
    fs.writeSync(held.fd, pattern(7, 3)); // the owner goes on behind the stream
    assert.equal(fs.statSync(`${dir}/f`).size, 5107);
    await save("/dev/fdset/1,offset=16", pattern(4, 4), context);
    assert.equal(fs.statSync(`${dir}/f`).size, 20);

    context.fds.addFd(holdPath(`${dir}/f`), { fdsetId: 1 });
    const channel = await fileTransport.listen(fileTransport.parse("/dev/fdset/1,offset=16"), context).accept();
    assert.deepEqual(await readAll(channel), pattern(4, 4));
    await channel.close();
    context.fds.close();
  }));

Deno.test("file: an appending descriptor of a set does not append", () =>
  inTempDir(async (dir) => {
    fs.writeFileSync(`${dir}/f`, pattern(100));
    const context = recordingContext();
    context.fds.addFd(holdPath(`${dir}/f`, O_WRONLY | O_APPEND), { fdsetId: 0 });
    const channel = await fileTransport.connect(fileTransport.parse("/dev/fdset/0,offset=50"), context);
    await channel.write!(pattern(10, 2));
    channel.writeAt!(pattern(5, 3), 52);
    await channel.close();
    const expected = pattern(100).slice(0, 60);
    expected.set(pattern(10, 2), 50);
    expected.set(pattern(5, 3), 52);
    assert.deepEqual(new Uint8Array(fs.readFileSync(`${dir}/f`)), expected);
    context.fds.close();
  }));

Deno.test("file: a descriptor removed from its set stays open until the channel is closed", () =>
  inTempDir(async (dir) => {
    const context = recordingContext();
    const held = holdPath(`${dir}/f`, O_WRONLY | O_CREAT);
    context.fds.addFd(held, { fdsetId: 3 });
    const channel = await fileTransport.connect(fileTransport.parse("/dev/fdset/3"), context);
    context.fds.removeFd(3);
    assert.deepEqual(context.fds.queryFdsets(), [{ fdsetId: 3, fds: [] }], "the set lives as long as it is used");
    await channel.write!(pattern(10));
    await channel.close();
    assert.deepEqual(context.fds.queryFdsets(), []);
    assert.throws(() => fs.fstatSync(held.fd), { code: "EBADF" });
    assert.equal(fs.statSync(`${dir}/f`).size, 10);
  }));

Deno.test("file: a descriptor of a set must have the access mode asked for", () =>
  inTempDir((dir) => {
    const context = recordingContext();
    context.fds.addFd(holdPath(`${dir}/f`, O_RDWR | O_CREAT), { fdsetId: 0 });
    const open = (way: "connect" | "listen", rest: string) => () =>
      fileTransport[way](fileTransport.parse(rest), context);
    assert.throws(open("connect", "/dev/fdset/0"), { message: /with matching flags=0x41$/ });
    assert.throws(open("listen", "/dev/fdset/0"), { message: /with matching flags=0x0$/ });
    assert.throws(open("connect", "/dev/fdset/1"), { message: "Failed to find fdset /dev/fdset/1" });
    for (const bad of ["", "x", "1x", "-1", "2147483648", " "]) {
      assert.throws(open("connect", `/dev/fdset/${bad}`), { message: `Could not parse fdset /dev/fdset/${bad}` });
    }
    context.fds.addFd(holdPath(`${dir}/f`, O_RDONLY), { fdsetId: 0 });
    fileTransport.listen(fileTransport.parse("/dev/fdset/0"), context).close();
    context.fds.close();
  }));
