/**
 * A migration between two workbenches through the recorder, what it kept, and the capture sent again.
 * @module
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { kindOfChannel, readCapture } from "../../core/capture.ts";
import { PassCopy } from "../../core/record_pass.ts";
import { type Capture, DEFAULT_TRANSPORTS, openImage, recordMigration, replayMigration, Workbench } from "../../mod.ts";
import { reachable } from "../reachable.ts";

const transports = DEFAULT_TRANSPORTS;

/** A directory that goes away with the test. */
function temporary(): { file(name: string): string } & Disposable {
  const path = Deno.makeTempDirSync({ prefix: "miglab-record-" });
  return { file: (name) => `${path}/${name}`, [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }) };
}

/** Begin to record. @returns where to connect, and what will come of it */
async function recording(directory: string, forward: string, options: { listen?: string; copy?: boolean } = {}) {
  const { promise, resolve } = Promise.withResolvers<string>();
  const capture: Promise<Capture> = recordMigration({
    directory,
    listen: "tcp::0",
    forward,
    transports,
    onListening: resolve,
    ...options,
  });
  capture.catch(() => {});
  return { uri: await promise, capture };
}

for (const copy of [false, true]) {
  const by = copy ? "this program" : "the kernel";
  Deno.test(`what ${by} passes on is kept in both directions, and is a stream as any other`, () => keepsAll(copy));
}

async function keepsAll(copy: boolean): Promise<void> {
  using dir = temporary();
  await using destination = await Workbench.open({ incoming: "tcp:127.0.0.1:0" });
  await using source = await Workbench.open({ ram: "8M", content: "random:seed=1,bytes=3M" });
  for (const bench of [source, destination]) await bench.setCapability("return-path", true);
  const { uri, capture } = await recording(dir.file("capture"), await reachable(destination), { copy });
  assert.match(uri, /^tcp:127\.0\.0\.1:\d+$/);
  await source.migrate(uri);
  await destination.settled();
  assert.equal(destination.info().status, "completed");
  const { channels, complete, ended } = await capture;
  assert.deepEqual([complete, ended], [true, true]);
  const kept = channels.flatMap(({ file, back }) => back ? [file, back.file] : [file]);
  assert.deepEqual(fs.readdirSync(dir.file("capture")).sort(), ["capture.json", ...kept].sort());
  assert.deepEqual(channels.map(({ file, kind, back }) => [file, kind, back?.file]), [[
    "main.bin",
    "main",
    "main.rp.bin",
  ]]);
  assert.deepEqual(readCapture(dir.file("capture")).channels, channels);
  assert.deepEqual([...Deno.readDirSync(dir.file("capture"))].map(({ name }) => name).sort(), [
    "capture.json",
    "main.bin",
    "main.rp.bin",
  ]);
  await using image = await openImage(dir.file("capture/main.bin"));
  assert.equal(image.complete, true);
  assert.equal(image.bytes, channels[0].bytes);
  const page = await image.ram.readPage("pc.ram", 0x1000);
  assert.deepEqual(page, await copyOf(destination, 0x1000));
}

async function copyOf({ session }: Workbench, offset: number): Promise<Uint8Array> {
  const page = new Uint8Array(4096);
  session.guest.memory.block("pc.ram")!.read(offset, page);
  return await Promise.resolve(page);
}

Deno.test("a capture sent again loads as the migration did", async () => {
  using dir = temporary();
  await using first = await Workbench.open({ incoming: "tcp:127.0.0.1:0" });
  await using source = await Workbench.open({ ram: "8M", content: "random:seed=1,bytes=3M" });
  const { uri, capture } = await recording(dir.file("capture"), await reachable(first));
  await source.migrate(uri);
  await capture;
  await using second = await Workbench.open({ incoming: "tcp:127.0.0.1:0" });
  const steps: number[] = [];
  const replayed = await replayMigration({
    directory: dir.file("capture"),
    uri: await reachable(second),
    transports,
    onProgress: (bytes) => steps.push(bytes),
  });
  await second.settled();
  assert.equal(second.info().status, "completed");
  assert.equal(replayed.accepted, true);
  assert.equal(steps.at(-1), replayed.bytes);
  assert.deepEqual(await copyOf(second, 0x5000), await copyOf(first, 0x5000));
});

Deno.test("a migration that is cut is kept as far as it came", async () => {
  using dir = temporary();
  await using destination = await Workbench.open({ incoming: "tcp:127.0.0.1:0" });
  await using source = await Workbench.open({ ram: "64M", content: "random:seed=1,bytes=32M" });
  await source.setParameter("max-bandwidth", 2 << 20);
  const { uri, capture } = await recording(dir.file("capture"), await reachable(destination));
  const abort = new AbortController();
  setTimeout(() => abort.abort(), 300);
  await assert.rejects(source.migrate(uri, { signal: abort.signal }), /cancelled/);
  const { channels, complete, ended } = await capture;
  assert(channels[0].bytes > 10_000);
  assert.deepEqual([complete, ended], [true, false]);
  await using image = await openImage(dir.file("capture/main.bin"));
  assert.equal(image.complete, false);
  await destination.settled();
  assert.equal(destination.info().status, "failed");
});

Deno.test("nobody behind the recorder, a full directory and no capture are one line each", async () => {
  using dir = temporary();
  await using source = await Workbench.open({ ram: "64M", content: "random:seed=1,bytes=32M" });
  const { uri, capture } = await recording(dir.file("capture"), `unix:${dir.file("nobody")}`);
  const failed = assert.rejects(source.migrate(uri));
  await assert.rejects(capture, /Failed to connect to '.*nobody': No such file or directory/);
  await failed;
  assert.equal(fs.existsSync(dir.file("capture")), false); // nothing came of it, so it can be tried again
  for (const copy of [false, true]) {
    await assert.rejects(
      recordMigration({
        directory: dir.file("capture"),
        listen: `unix:${dir.file("no/socket")}`,
        forward: `unix:${dir.file("nobody")}`,
        transports,
        copy,
      }),
      /Failed to bind socket to \S+\/no\/socket: No such file or directory/,
    );
    assert.equal(fs.existsSync(dir.file("capture")), false);
  }
  fs.mkdirSync(dir.file("capture"));
  fs.writeFileSync(dir.file("capture/other"), "");
  await assert.rejects(
    recordMigration({ directory: dir.file("capture"), listen: "tcp::0", forward: "tcp:localhost:1", transports }),
    /Cannot record into '.*capture': it is not empty/,
  );
  await assert.rejects(
    recordMigration({ directory: dir.file("x"), listen: "exec:cat", forward: "tcp:localhost:1", transports }),
    /a source connects to unix: or tcp:/,
  );
  await assert.rejects(
    replayMigration({ directory: dir.file("nothing"), uri: "tcp:localhost:1", transports }),
    /Cannot read '.*capture.json': No such file or directory/,
  );
  fs.mkdirSync(dir.file("bad"));
  for (const text of ["", "{}", '{"capture": 1, "channels": [{"file": "../../etc/passwd"}]}']) {
    fs.writeFileSync(dir.file("bad/capture.json"), text);
    await assert.rejects(
      replayMigration({ directory: dir.file("bad"), uri: "tcp:localhost:1", transports }),
      /it is no list of a capture/,
    );
  }
});

Deno.test("an aborted recording ends, and keeps what passed", async () => {
  using dir = temporary();
  const abort = new AbortController();
  const capture = recordMigration({
    directory: dir.file("capture"),
    listen: "tcp::0",
    forward: "tcp:localhost:1",
    transports,
    signal: abort.signal,
  });
  abort.abort();
  assert.deepEqual(await capture, { capture: 1, channels: [], complete: true, ended: false });
});

Deno.test("PassCopy says why it does not have everything, and does not get in the way", () => {
  using dir = temporary();
  const copy = new PassCopy(dir.file("no/such/file"));
  for (let i = 0; i < 3; i++) copy.write(new Uint8Array(10));
  assert.equal(copy.bytes, 0);
  assert.equal(copy.close(), "No such file or directory");
  const good = new PassCopy(dir.file("file"));
  good.write(Uint8Array.of(1, 2, 3));
  assert.equal(good.close(), undefined);
  assert.deepEqual([...fs.readFileSync(dir.file("file"))], [1, 2, 3]);
  assert.equal(fs.statSync(dir.file("file")).mode & 0o777, 0o600);
});

Deno.test("a migration passes although nothing of it can be kept", async () => {
  for (const copy of [false, true]) {
    using dir = temporary();
    await using destination = await Workbench.open({ incoming: "tcp:127.0.0.1:0" });
    await using source = await Workbench.open({ ram: "8M", content: "random:seed=1,bytes=3M" });
    const { uri, capture } = await recording(dir.file("capture"), await reachable(destination), { copy });
    // what the recorder would make is there already
    fs.writeFileSync(dir.file("capture/connection0.bin"), "somebody else's");
    await source.migrate(uri);
    await destination.settled();
    assert.equal(destination.info().status, "completed");
    await assert.rejects(capture, /Cannot record into '.*capture': /);
    assert.equal(readCapture(dir.file("capture")).complete, false);
  }
});

Deno.test("kindOfChannel() tells channels by their first bytes", () => {
  const text = new TextEncoder();
  assert.deepEqual(kindOfChannel(text.encode("QEVM\0\0\0\x03")), { kind: "main" });
  const multifd = new Uint8Array(25);
  multifd.set([0x11, 0x22, 0x33, 0x44]);
  multifd[24] = 7;
  assert.deepEqual(kindOfChannel(multifd), { kind: "multifd", id: 7 });
  assert.deepEqual(kindOfChannel(new Uint8Array(8)), { kind: "preempt" });
  assert.deepEqual(kindOfChannel(new Uint8Array(0)), { kind: "preempt" });
});
