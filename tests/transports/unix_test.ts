import assert from "node:assert/strict";
import fs from "node:fs";
import fc from "fast-check";
import { unixTransport } from "../../transports/unix.ts";
import { conformance, pattern, readAll, recordingContext, within } from "./conformance.ts";

conformance({
  transport: unixTransport,
  stored: false,
  rest: fc.string(),
  async open(dir, context) {
    const address = unixTransport.parse(`${dir}/s`);
    const listener = unixTransport.listen(address, context);
    const accepted = listener.accept().finally(() => listener.close());
    return { writer: await unixTransport.connect(address, context), reader: () => accepted };
  },
  skip: { "random access": "a socket has no places" },
});

async function inTempDir(run: (dir: string) => Promise<void> | void): Promise<void> {
  const dir = await Deno.makeTempDir({ dir: "/tmp", prefix: "miglab-" });
  try {
    await run(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("unix: listening removes an old entry, lets only the owner in, and cleans up", () =>
  inTempDir((dir) => {
    const address = unixTransport.parse(`${dir}/s,with=commas@`);
    const path = `${dir}/s,with=commas@`;
    fs.writeFileSync(path, "old");
    const umask = Deno.umask();
    const listener = unixTransport.listen(address, recordingContext());
    assert.equal(fs.lstatSync(path).isSocket(), true);
    assert.equal(fs.lstatSync(path).mode & 0o777, 0o600);
    assert.equal(Deno.umask(), umask);
    assert.equal(listener.listening, true);
    assert.deepEqual(listener.addresses, [{ transport: "socket", type: "unix", path }]);
    listener.close();
    listener.close();
    assert.equal(fs.existsSync(path), false);
  }));

for (const count of [0, 1]) {
  Deno.test(`unix: a listener leaves alone the socket of one that came after it, for ${count} further channels`, () =>
    inTempDir(async (dir) => {
      const address = unixTransport.parse(`${dir}/s`);
      const context = () => ({ ...recordingContext(), extra: { count, direct: false } });
      const first = unixTransport.listen(address, context());
      const second = unixTransport.listen(address, context());
      first.close();
      assert.equal(fs.lstatSync(`${dir}/s`).isSocket(), true);
      const [near, far] = await Promise.all([unixTransport.connect(address, context()), second.accept()]);
      await Promise.all([near.close(), far.close()]);
      second.close();
      assert.equal(fs.existsSync(`${dir}/s`), false);
    }));
}

Deno.test("unix: says why it cannot listen or connect", () =>
  inTempDir(async (dir) => {
    const context = recordingContext();
    const listen = (path: string) => () => unixTransport.listen(unixTransport.parse(path), context);
    assert.throws(listen(dir), { message: `Failed to unlink socket ${dir}: Is a directory` });
    assert.throws(listen(`${dir}/no/s`), {
      message: `Failed to bind socket to ${dir}/no/s: No such file or directory`,
    });
    const connect = async (path: string) => await unixTransport.connect(unixTransport.parse(path), context);
    await assert.rejects(connect(`${dir}/none`), {
      message: `Failed to connect to '${dir}/none': No such file or directory`,
    });
    fs.writeFileSync(`${dir}/file`, "");
    await assert.rejects(connect(`${dir}/file`), {
      message: `Failed to connect to '${dir}/file': Connection refused`,
    });
  }));

Deno.test("unix: takes 108 bytes of path, as QEMU does, and not 109", () =>
  inTempDir(async (dir) => {
    const context = recordingContext();
    const path = `${dir}/${"s".repeat(108 - dir.length - 1)}`;
    const listener = unixTransport.listen(unixTransport.parse(path), context);
    const [client, server] = await Promise.all([
      unixTransport.connect(unixTransport.parse(path), context),
      listener.accept(),
    ]);
    await client.write!(pattern(1000));
    await client.close();
    assert.deepEqual(await readAll(server), pattern(1000));
    await server.close();
    listener.close();
    const long = { message: `UNIX socket path '${path}s' is too long`, hint: ["Path must be less than 108 bytes"] };
    assert.throws(() => unixTransport.listen(unixTransport.parse(path + "s"), context), long);
    await assert.rejects(async () => await unixTransport.connect(unixTransport.parse(path + "s"), context), long);
  }));

Deno.test("unix: each accept() gives one connection, close() wakes the one that waits", () =>
  inTempDir(async (dir) => {
    const context = recordingContext();
    const address = unixTransport.parse(`${dir}/s`);
    const listener = unixTransport.listen(address, context);
    const clients = [await unixTransport.connect(address, context), await unixTransport.connect(address, context)];
    const servers = [await listener.accept(), await listener.accept()];
    const third = listener.accept();
    setTimeout(() => listener.close(), 10);
    await assert.rejects(within(third, "accept()"), { message: "The incoming migration was closed" });
    for (const channel of [...clients, ...servers]) await channel.close();
  }));

Deno.test("unix: a peer that goes away is told as QEMU tells it", () =>
  inTempDir(async (dir) => {
    const context = recordingContext();
    const address = unixTransport.parse(`${dir}/s`);
    const listener = unixTransport.listen(address, context);
    const client = await unixTransport.connect(address, context);
    await (await listener.accept()).close();
    await assert.rejects(async () => {
      for (let i = 0; i < 1000; i++) await client.write!(pattern(1 << 16));
    }, { message: "Unable to write to socket: Broken pipe" });
    await client.close();
    listener.close();
  }));
