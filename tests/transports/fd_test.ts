import assert from "node:assert/strict";
import fs from "node:fs";
import fc from "fast-check";
import { holdNumber, holdPath } from "../../core/fds.ts";
import { fdTransport } from "../../transports/fd.ts";
import { conformance, pattern, readAll, recordingContext, within } from "./conformance.ts";

const { O_APPEND, O_CREAT, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY } = fs.constants;
const WARNING = "fd: migration to a file is deprecated. Use file: instead.";

/** Run with a fifo `f` in an empty directory. */
async function withFifo<T>(run: (fifo: string) => Promise<T>): Promise<T> {
  const dir = await Deno.makeTempDir({ prefix: "miglab-" });
  try {
    const made = await new Deno.Command("mkfifo", { args: [`${dir}/f`] }).output();
    assert.ok(made.success);
    return await run(`${dir}/f`);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

conformance({
  transport: fdTransport,
  stored: false,
  rest: fc.string(),
  async open(dir, context) {
    await new Deno.Command("mkfifo", { args: [`${dir}/f`] }).output();
    const { fds } = context as ReturnType<typeof recordingContext>;
    fds.getfd("r", holdPath(`${dir}/f`, O_RDONLY | O_NONBLOCK)); // both stay O_NONBLOCK: nobody opens for ever here
    fds.getfd("w", holdPath(`${dir}/f`, O_WRONLY | O_NONBLOCK));
    const listener = fdTransport.listen(fdTransport.parse("r"), context);
    return {
      writer: await fdTransport.connect(fdTransport.parse("w"), context),
      reader: () => listener.accept(),
    };
  },
  skip: {
    "random access": "a pipe has no places",
    "any length": "a pipe without one byte is waited for",
  },
});

Deno.test("fd: pipes that block can be aborted, both ways", () =>
  withFifo(async (fifo) => {
    const context = recordingContext();
    context.fds.getfd("rw", holdPath(fifo, O_RDWR)); // has a writer and a reader, so neither end is ever reached
    const channel = await fdTransport.connect(fdTransport.parse("rw"), context);
    const reading = Promise.resolve(channel.read!(new Uint8Array(10)));
    setTimeout(() => channel.abort(), 50);
    await assert.rejects(within(reading, "read"), { message: "Unable to read from file: Operation canceled" });
    await channel.close();

    context.fds.getfd("w", holdPath(fifo, O_RDWR));
    const writer = await fdTransport.connect(fdTransport.parse("w"), context);
    const writing = Promise.resolve(writer.write!(pattern(4 << 20)));
    setTimeout(() => writer.abort(), 50);
    await assert.rejects(within(writing, "write"), { message: "Unable to write to file: Operation canceled" });
    await writer.close();
    assert.deepEqual(context.warnings, []);
  }));

Deno.test("fd: the name is consumed, a file is warned about, written where it stands and not cut", async () => {
  const dir = await Deno.makeTempDir({ prefix: "miglab-" });
  const context = recordingContext();
  fs.writeFileSync(`${dir}/f`, pattern(1000));
  const held = holdPath(`${dir}/f`, O_RDWR | O_CREAT);
  fs.readSync(held.fd, new Uint8Array(100), 0, 100, null);
  context.fds.getfd("a", held);
  const channel = await fdTransport.connect(fdTransport.parse("a"), context);
  assert.equal(channel.start, 100);
  await channel.write!(pattern(50, 2));
  await channel.close();
  const expected = pattern(1000);
  expected.set(pattern(50, 2), 100);
  assert.deepEqual(new Uint8Array(fs.readFileSync(`${dir}/f`)), expected);
  assert.deepEqual(context.warnings, [WARNING]);
  assert.throws(() => fdTransport.connect(fdTransport.parse("a"), context), {
    message: "File descriptor named 'a' has not been found",
  });
  assert.throws(() => fs.fstatSync(held.fd), { code: "EBADF" });

  context.fds.getfd("append", holdPath(`${dir}/f`, O_WRONLY | O_APPEND));
  const appending = await fdTransport.connect(fdTransport.parse("append"), context);
  assert.equal(appending.start, 1000);
  await appending.write!(pattern(5));
  await appending.close();
  assert.equal(fs.statSync(`${dir}/f`).size, 1005);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("fd: incoming, digits are a number of this process, and whether it is open is not asked", async () => {
  const context = recordingContext();
  const listen = (name: string) => fdTransport.listen(fdTransport.parse(name), context);
  for (const bad of ["1x", "2147483648", "99999999999999999999", "0x1"]) {
    assert.throws(() => listen(bad), { message: `Invalid file descriptor number '${bad}'` });
  }
  assert.throws(() => listen("none"), { message: "File descriptor named 'none' has not been found" });
  assert.throws(() => fdTransport.connect(fdTransport.parse("3"), context), {
    message: "File descriptor named '3' has not been found",
  });
  const listener = listen("9999");
  assert.deepEqual(context.warnings, [WARNING]);
  const waiting = listener.accept();
  listener.close();
  await assert.rejects(waiting, { message: "The incoming migration was closed" });

  const path = await Deno.makeTempFile({ prefix: "miglab-" });
  fs.writeFileSync(path, pattern(77));
  const held = holdPath(path);
  const channel = await listen(String(held.fd)).accept();
  assert.deepEqual(await readAll(channel), pattern(77));
  await channel.close();
  await Deno.remove(path);
});

Deno.test("holdNumber() reads the flags of an open descriptor, and refuses others", async () => {
  const path = await Deno.makeTempFile({ prefix: "miglab-" });
  const held = holdPath(path, O_WRONLY | O_APPEND);
  assert.equal(holdNumber(held.fd).flags & (3 | O_APPEND), O_WRONLY | O_APPEND);
  fs.closeSync(held.fd);
  assert.throws(() => holdNumber(9999), { message: "Invalid file descriptor number '9999'" });
  await Deno.remove(path);
});

/** Run `inherited_fd.ts` with descriptors a shell opened for it. */
async function inherited(shell: string, ...args: string[]): Promise<string> {
  const script = new URL("./inherited_fd.ts", import.meta.url).pathname;
  const { stdout, stderr, success } = await new Deno.Command("/bin/bash", {
    args: ["-c", shell, "sh", Deno.execPath(), script, ...args],
    stdout: "piped",
    stderr: "piped",
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

const RUN = `"$1" run -A --no-lock "$2"`;

Deno.test("fd: descriptors a parent left open: files, where they stand", async () => {
  const dir = await Deno.makeTempDir({ prefix: "miglab-" });
  fs.writeFileSync(`${dir}/in`, "headerBODY");
  fs.writeFileSync(`${dir}/out`, "0123456789abcdef");
  fs.writeFileSync(`${dir}/log`, "old ");
  await inherited(
    `exec 7<'${dir}/in' 8<>'${dir}/out' 9>>'${dir}/log'; head -c0 <&7; dd bs=6 count=1 <&7 of=/dev/null 2>&1;
    dd bs=3 count=1 <&8 of=/dev/null 2>&1; ${RUN} copy 7 8; ${RUN} copy '${dir}/in' 9`,
  );
  assert.equal(fs.readFileSync(`${dir}/out`, "utf8"), "012BODY789abcdef");
  assert.equal(fs.readFileSync(`${dir}/log`, "utf8"), "old headerBODY");
  await Deno.remove(dir, { recursive: true });
});

Deno.test("fd: descriptors a parent left open: pipes, with backpressure", async () => {
  const sum = await inherited(`head -c 5000000 /dev/zero | ${RUN} copy 7 8 7<&0 8>&1 >/dev/null </dev/null | wc -c`);
  assert.equal(sum.trim(), "5000000");
});

Deno.test("fd: descriptors a parent left open: standard input and output", async () => {
  const sum = await inherited(`head -c 3000000 /dev/zero | ${RUN} copy 0 1 | wc -c`);
  assert.equal(sum.trim(), "3000000");
});

Deno.test("fd: descriptors a parent left open: a socket, both ways", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const echo = async () => {
    const conn = await listener.accept();
    const got: number[] = [];
    const view = new Uint8Array(65536);
    for (let n = await conn.read(view); n; n = await conn.read(view)) got.push(n);
    await conn.write(new TextEncoder().encode("bye"));
    conn.close();
    return got.reduce((sum, n) => sum + n, 0);
  };
  const { port } = listener.addr;
  const [received, said] = await Promise.all([
    within(echo(), "the peer"),
    inherited(`exec 7<>/dev/tcp/127.0.0.1/${port}; head -c 2000000 /dev/zero | ${RUN} copy 0 7; ${RUN} copy 7 1`),
  ]);
  assert.equal(received, 2_000_000);
  assert.equal(said, "bye");
  listener.close();
});

Deno.test("fd: descriptors a parent left open: a pipe that nobody reads can be aborted", async () => {
  const text = await inherited(`sleep 1 | ${RUN} abort 7 8 7<&0 8> >(sleep 1) </dev/null`);
  assert.deepEqual(text.trim().split("\n"), [
    "Unable to read from file: Operation canceled",
    "Unable to write to file: Operation canceled",
  ]);
});
