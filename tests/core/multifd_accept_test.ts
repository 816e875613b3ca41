import assert from "node:assert/strict";
import { AcceptError, acceptMultifd } from "../../core/multifd_accept.ts";
import { encodeMultifdInit } from "../../stream/multifd.ts";
import { unixTransport } from "../../transports/unix.ts";

const QEVM = Uint8Array.of(0x51, 0x45, 0x56, 0x4d, 0, 0, 0, 3);
const context = { takeNamedFd: () => undefined, fdset: () => undefined, warn: () => {}, report: () => {} };

/** A listener, what it reports, and a way to connect and say something. */
async function listening(
  body: (ends: {
    accept: (options?: { count?: number; uuid?: Uint8Array; connectMs?: number }) => ReturnType<typeof acceptMultifd>;
    say: (bytes: Uint8Array) => Promise<Deno.UnixConn>;
    reported: string[];
  }) => Promise<void>,
): Promise<void> {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-" });
  const path = `${directory}/s`;
  const listener = unixTransport.listen({ transport: "socket", type: "unix", path }, context);
  const reported: string[] = [];
  const conns: Deno.UnixConn[] = [];
  const say = async (bytes: Uint8Array) => {
    const conn = await Deno.connect({ transport: "unix", path });
    conns.push(conn);
    await conn.write(bytes);
    return conn;
  };
  const accept = (options: { count?: number; uuid?: Uint8Array; connectMs?: number } = {}) =>
    acceptMultifd(listener, { count: 2, report: (line) => reported.push(line), ...options });
  try {
    await body({ accept, say, reported });
  } finally {
    listener.close();
    for (const conn of conns) conn.close();
    Deno.removeSync(directory, { recursive: true });
  }
}

/** The other side was hung up on. */
async function hungUp(conn: Deno.UnixConn): Promise<boolean> {
  try {
    return await conn.read(new Uint8Array(1)) === null;
  } catch {
    return true;
  }
}

Deno.test("connections in any order are told apart by how they begin; nothing behind their beginning is lost", () =>
  listening(async ({ accept, say }) => {
    const accepting = accept();
    const [a, b] = [new Uint8Array(70).fill(7), new Uint8Array(64)];
    a.set(encodeMultifdInit(1));
    b.set(encodeMultifdInit(0));
    await say(a);
    await say(QEVM);
    await say(b.subarray(0, 10)).then((conn) => setTimeout(() => conn.write(b.subarray(10)), 20));
    const [main, zero, one] = await accepting;
    const buffer = new Uint8Array(100);
    assert.equal(await main.read!(buffer), 8);
    assert.deepEqual(buffer.subarray(0, 8), QEVM);
    assert.equal(await one.read!(buffer), 6);
    assert.deepEqual(buffer.subarray(0, 6), new Uint8Array(6).fill(7));
    for (const channel of [main, zero, one]) await channel.close();
  }));

Deno.test("a connection too many is closed and reported, the others are not disturbed", () =>
  listening(async ({ accept, say, reported }) => {
    const accepting = accept({ count: 1 });
    await say(QEVM);
    await say(encodeMultifdInit(0));
    const channels = await accepting;
    assert(await hungUp(await say(encodeMultifdInit(0))));
    assert.deepEqual(reported, ["Extra incoming migration connection; ignoring"]);
    for (const channel of channels) await channel.close();
  }));

Deno.test("a channel that does not come, or sends half of its first message, is not waited for for ever", async () => {
  await listening(async ({ accept, say }) => {
    const accepting = accept({ connectMs: 100 });
    accepting.catch(() => {});
    const conn = await say(QEVM);
    await say(encodeMultifdInit(0));
    const message = "multifd: 1 of 2 multifd channels have not come within 0.1 s of the first connection";
    await assert.rejects(accepting, { message });
    assert(await hungUp(conn));
  });
  await listening(async ({ accept, say }) => {
    const accepting = accept({ connectMs: 100 });
    accepting.catch(() => {});
    await say(encodeMultifdInit(0));
    await say(encodeMultifdInit(1).subarray(0, 30));
    await assert.rejects(accepting, { message: /^multifd: the main channel has not come within 0.1 s/ });
  });
});

Deno.test("nobody is hurried before the first connection", () =>
  listening(async ({ accept, say }) => {
    const accepting = accept({ count: 1, connectMs: 100 });
    await new Promise((resolve) => setTimeout(resolve, 200));
    await say(QEVM);
    await say(encodeMultifdInit(0));
    for (const channel of await accepting) await channel.close();
  }));

Deno.test("a wrong first message is refused with QEMU's line and its description", async () => {
  const refuse = (bytes: Uint8Array, description: string, options: { uuid?: Uint8Array } = {}) =>
    listening(async ({ accept, say }) => {
      const accepting = accept(options);
      accepting.catch(() => {});
      const conn = await say(bytes);
      if (bytes.length < 64) conn.closeWrite();
      const error = await accepting.then(() => assert.fail("accepted"), (error) => error);
      assert(error instanceof AcceptError);
      assert.equal(error.description, description);
      assert.equal(error.message, `failed to receive packet via multifd channel 0: ${description}`);
    });
  const wrong = encodeMultifdInit(0);
  wrong[0] = 0x99;
  await refuse(wrong, "multifd: received packet magic 99223344 expected 11223344");
  await refuse(encodeMultifdInit(2), "multifd: received channel id 2 is greater than number of channels 2");
  await refuse(encodeMultifdInit(0).subarray(0, 30), "Unexpected end-of-file before all data were read");
  const uuid = new Uint8Array(16).fill(0xab);
  const text = "abababab-abab-abab-abab-abababababab";
  await refuse(
    encodeMultifdInit(0),
    `multifd: received uuid '00000000-0000-0000-0000-000000000000' and expected uuid '${text}' for channel 0`,
    { uuid },
  );
});
