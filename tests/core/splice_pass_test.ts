/**
 * Connections the kernel passes on: what arrives and what is kept is what was sent, whatever the sizes and whoever is slow; a file
 * that takes no more, and a recorder that is killed.
 * @module
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import fc from "fast-check";
import { readCapture } from "../../core/capture.ts";
import { connectFd, type FdListener, type FdSocket, listenFd } from "../../core/fd_sockets.ts";
import { SpliceTeam } from "../../core/splice_pass.ts";
import { openImage, Workbench } from "../../mod.ts";
import { reachable } from "../reachable.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;

/** A directory that goes away with the test. */
function temporary(): { file(name: string): string } & Disposable {
  const path = Deno.makeTempDirSync({ prefix: "miglab-splice-" });
  return { file: (name) => `${path}/${name}`, [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }) };
}

/** Two sockets that are connected. */
async function connected(listener: FdListener, path: string): Promise<[FdSocket, FdSocket]> {
  const [near, far] = await Promise.all([connectFd({ transport: "socket", type: "unix", path }), listener.accept()]);
  return [near, far];
}

/** Bytes that differ everywhere. */
function bytesOf(count: number, seed: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(count);
  for (let i = 0, x = seed | 1; i < count; i++) bytes[i] = x = Math.imul(x, 1664525) + 1013904223 >>> 0 >>> 3;
  return bytes;
}

async function sendAll(socket: FdSocket, bytes: Uint8Array<ArrayBuffer>, piece: number): Promise<void> {
  for (let at = 0; at < bytes.length; at += piece) await socket.push(bytes.subarray(at, at + piece));
}

async function receiveAll(socket: FdSocket, count: number, piece: number): Promise<Uint8Array> {
  const got = new Uint8Array(count), view = new Uint8Array(piece);
  for (let at = 0; at < count;) {
    const n = await socket.pull(view);
    assert(n > 0, `it ended after ${at} of ${count} bytes`);
    got.set(view.subarray(0, n), at);
    at += n;
  }
  return got;
}

/** One connection: how much each way, in which pieces, and how late the destination begins to take them (ms). */
interface Run {
  readonly bytes: number;
  readonly back: number;
  readonly piece: number;
  readonly taken: number;
  readonly late: number;
}

Deno.test("several connections at once: what arrives and what is kept is what was sent, in both directions", async () => {
  using dir = temporary();
  const path = dir.file("socket");
  const listener = (await listenFd({ transport: "socket", type: "unix", path }))!;
  const team = await SpliceTeam.start();
  let number = 0;
  const one: fc.Arbitrary<Run> = fc.record({
    bytes: fc.integer({ min: 1, max: 3 << 20 }),
    back: fc.integer({ min: 0, max: 200_000 }),
    piece: fc.integer({ min: 1000, max: 2 << 20 }),
    taken: fc.integer({ min: 1000, max: 1 << 20 }),
    late: fc.integer({ min: 0, max: 20 }),
  });
  interface Ends {
    readonly source: [FdSocket, FdSocket];
    readonly destination: [FdSocket, FdSocket];
  }
  const pass = async ({ bytes, back, piece, taken, late }: Run, ends: Ends) => {
    const base = dir.file(`connection${number++}`);
    const [[source, here], [there, destination]] = [ends.source, ends.destination];
    const passing = team.pass(here, there, base);
    const [out, answer] = [bytesOf(bytes, bytes), bytesOf(back, back + 7)];
    const [, arrived, , answered] = await Promise.all([
      sendAll(source, out, piece),
      new Promise((resolve) => setTimeout(resolve, late)).then(() => receiveAll(destination, bytes, taken)),
      sendAll(destination, answer, piece),
      receiveAll(source, back, taken),
    ]);
    source.close();
    await passing.ended;
    destination.close();
    assert.equal(passing.problem, undefined);
    assert.deepEqual([passing.bytes, passing.out.bytes, passing.back.bytes], [bytes, bytes, back]);
    for (const [got, want] of [[arrived, out], [answered, answer]] as const) assert(same(got, want), "what arrived");
    assert(same(fs.readFileSync(`${base}.bin`), out), "what was kept");
    if (back) assert(same(fs.readFileSync(`${base}.rp.bin`), answer), "what was kept of the answer");
    else assert(!fs.existsSync(`${base}.rp.bin`));
    fs.rmSync(`${base}.bin`);
  };
  try {
    const several = fc.array(one, { minLength: 1, maxLength: 4 });
    const together = async (all: readonly Run[]) => {
      const ends: Ends[] = []; // one after the other: who waits for whom is known
      for (let i = 0; i < all.length; i++) {
        ends.push({ source: await connected(listener, path), destination: await connected(listener, path) });
      }
      await Promise.all(all.map((run, i) => pass(run, ends[i])));
    };
    await fc.assert(fc.asyncProperty(several, together), { numRuns: 12 });
  } finally {
    team.close();
    listener.close();
  }
});

const same = (a: Uint8Array, b: Uint8Array) => a.length === b.length && a.every((byte, i) => byte === b[i]);

/** `miglab record` as a process of its own, in front of a workbench. @param shell what stands before it on a shell's line */
async function recorder(shell: string, directory: string, forward: string) {
  const child = new Deno.Command("/bin/sh", {
    args: ["-c", `${shell} exec "$@"`, "sh", Deno.execPath(), "run", "-A", MAIN].concat([
      ...["record", "--listen", "tcp::0", "--forward", forward, directory],
    ]),
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let said = "";
  const listening = Promise.withResolvers<string>();
  const reading = (async () => {
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>)) {
      said += text;
      const uri = /listening on (\S+)/i.exec(said)?.[1];
      if (uri) listening.resolve(uri);
    }
    listening.reject(new Error(`it ended: ${said}`));
  })();
  listening.promise.catch(() => {});
  const ended = async () => {
    const { code } = await child.status;
    await reading;
    return { code, said };
  };
  return { uri: await listening.promise, ended, kill: () => child.kill("SIGKILL") };
}

Deno.test("a file that takes no more is told of, holds what fitted, and stops nothing", async () => {
  using dir = temporary();
  await using destination = await Workbench.open({ incoming: "tcp:127.0.0.1:0" });
  await using source = await Workbench.open({ ram: "16M", content: "random:seed=1,bytes=8M" });
  const directory = dir.file("capture");
  // a shell's blocks are of 512 bytes; without its signal a file at the limit gives EFBIG, as a full disk gives ENOSPC
  const shell = "trap '' XFSZ; ulimit -f 4096;";
  const { uri, ended } = await recorder(shell, directory, await reachable(destination));
  await source.migrate(uri);
  await destination.settled();
  assert.equal(destination.info().status, "completed");
  const { code, said } = await ended();
  assert.equal(code, 1, said);
  assert.match(said, /^miglab: Cannot record into '.*capture': File too large$/m);
  assert.doesNotMatch(said, /\n\s+at /);
  const { channels, complete } = readCapture(directory);
  assert.equal(complete, false);
  assert.deepEqual(channels.map(({ file, bytes }) => [file, bytes]), [["main.bin", 2 << 20]]);
  assert.equal(fs.statSync(`${directory}/main.bin`).size, 2 << 20);
  await using image = await openImage(`${directory}/main.bin`);
  assert.equal(image.complete, false);
});

Deno.test("what a killed recorder leaves behind is a stream that is not complete", async () => {
  using dir = temporary();
  await using destination = await Workbench.open({ incoming: "tcp:127.0.0.1:0" });
  await using source = await Workbench.open({ ram: "64M", content: "random:seed=1,bytes=32M" });
  await source.setParameter("max-bandwidth", 8 << 20);
  const directory = dir.file("capture");
  const { uri, ended, kill } = await recorder("", directory, await reachable(destination));
  const migration = source.migrate(uri);
  const failed = assert.rejects(migration);
  const file = `${directory}/connection0.bin`;
  while (!fs.existsSync(file) || fs.statSync(file).size < 1 << 20) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  kill();
  await failed;
  await ended();
  await using image = await openImage(file);
  assert.equal(image.complete, false);
  const page = await image.ram.readPage("pc.ram", 0x1000);
  const sent = new Uint8Array(4096);
  source.session.guest.memory.block("pc.ram")!.read(0x1000, sent);
  assert(same(page, sent), "a page of what was kept");
});
