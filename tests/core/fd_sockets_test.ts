/**
 * Sockets by number: what is asked of one that is closed does not reach whoever has its number now.
 * @module
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { connectFd, type FdSocket, listenFd, roomToSend } from "../../core/fd_sockets.ts";

const LOCAL = { transport: "socket", type: "inet", host: "127.0.0.1" } as const;

async function pair(): Promise<{ near: FdSocket; far: FdSocket }> {
  const listener = (await listenFd({ ...LOCAL, port: "0" }))!;
  const far = listener.accept();
  const near = await connectFd({ ...LOCAL, port: String(listener.port) });
  const ends = { near, far: await far };
  listener.close();
  return ends;
}

/** What a descriptor is open on, as `socket:[inode]`: its number alone may be another test's by now. */
function named(fd: number): string | undefined {
  try {
    return fs.readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return undefined;
  }
}

Deno.test("a closed socket is not read, written, shut or closed again: its number is somebody else's", async () => {
  const first = await pair();
  for (const socket of [first.near, first.far]) socket.close();
  const taken = new Set([first.near.fd, first.far.fd]);
  const second = await pair();
  // the numbers come back at once, as the kernel gives the lowest that is free
  const again = [second.near, second.far].filter(({ fd }) => taken.has(fd));
  for (const socket of [first.near, first.far]) {
    socket.shut();
    socket.close();
    assert.equal(await socket.write(Uint8Array.of(9)), false);
    assert.equal(await socket.read(new Uint8Array(1)), 0);
  }
  assert.ok(await second.near.write(Uint8Array.of(1, 2, 3)), `reused: ${again.length}`);
  const view = new Uint8Array(3);
  assert.equal(await second.far.read(view), 3);
  assert.deepEqual([...view], [1, 2, 3]);
  for (const socket of [second.near, second.far]) socket.close();
});

Deno.test("closing a socket that somebody waits on wakes him, and gives the number back after that", async () => {
  const { near, far } = await pair();
  const waiting = near.read(new Uint8Array(1));
  await new Promise((resolve) => setTimeout(resolve, 20));
  near.close();
  assert.equal(await waiting, 0);
  assert.equal(await far.read(new Uint8Array(1)), 0);
  far.close();
});

Deno.test("a socket that is lent stays open until it is given back, and shutting it wakes the borrower", async () => {
  const { near, far } = await pair();
  const done = near.lend()!;
  near.close();
  assert.equal(near.lend(), undefined);
  const next = await pair();
  assert.ok(![next.near.fd, next.far.fd].includes(near.fd), "its number was given away");
  assert.equal(await far.read(new Uint8Array(1)), 0, "closing has shut it");
  const held = named(near.fd);
  assert.match(String(held), /^socket:/);
  done();
  done();
  assert.notEqual(named(near.fd), held, "its number never came back");
  for (const socket of [far, next.near, next.far]) socket.close();
});

Deno.test("a listener that is closed wakes whoever waits for a connection, over TCP and over a Unix socket", async () => {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-" });
  try {
    const path = `${directory}/s`;
    for (const address of [{ ...LOCAL, port: "0" }, { transport: "socket", type: "unix", path } as const]) {
      const listener = (await listenFd(address))!;
      const refused = assert.rejects(listener.accept(), { message: "The recording was closed" });
      await new Promise((resolve) => setTimeout(resolve, 20));
      listener.close();
      await refused;
      await assert.rejects(connectFd({ ...address, port: String(listener.port) } as never), /Failed to connect/);
    }
    assert.deepEqual([...Deno.readDirSync(directory)], []);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

/** An option of a socket, as getsockopt(2) has it. */
function optionOf({ fd }: FdSocket, level: number, option: number): Uint8Array {
  const library = Deno.dlopen("libc.so.6", {
    getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  });
  const [value, length] = [new Uint8Array(16), Uint32Array.of(16)];
  const bytes = new Uint8Array(length.buffer);
  assert.equal(library.symbols.getsockopt(fd, level, option, value, bytes), 0);
  library.close();
  return value.subarray(0, length[0]);
}

Deno.test("a connection within this machine is not paced, whatever the system does with others", async () => {
  const [IPPROTO_TCP, TCP_CONGESTION] = [6, 13];
  const { near, far } = await pair();
  const name = new TextDecoder().decode(optionOf(near, IPPROTO_TCP, TCP_CONGESTION)).replace(/\0.*/s, "");
  assert.equal(name, "reno");
  for (const socket of [near, far]) socket.close();
});

Deno.test("a Unix socket takes as much for its other side as the system allows", async () => {
  const [SOL_SOCKET, SO_SNDBUF] = [1, 7];
  const path = `${Deno.makeTempDirSync({ prefix: "miglab-room-" })}/socket`;
  const listener = (await listenFd({ transport: "socket", type: "unix", path }))!;
  const near = await connectFd({ transport: "socket", type: "unix", path });
  const room = () => new Int32Array(optionOf(near, SOL_SOCKET, SO_SNDBUF).slice().buffer)[0];
  const allowed = parseInt(Deno.readTextFileSync("/proc/sys/net/core/wmem_max"));
  roomToSend(near, 64 << 10);
  assert.equal(room(), 2 * Math.min(allowed, 64 << 10)); // twice: what the kernel counts
  roomToSend(near, 1 << 20);
  assert.equal(room(), 2 * Math.min(allowed, 1 << 20));
  near.close();
  listener.close();
  Deno.removeSync(path.replace(/\/socket$/, ""));
});
