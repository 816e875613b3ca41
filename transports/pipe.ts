/**
 * A channel on a pipe whose number node:fs knows: a fifo opened here, or one of the standard three.
 *
 * Reads and writes run in Deno's pool of blocking threads, so the console stays alive. node:fs reads there, but writes
 * on the spot; so what is written goes through a second open of the same pipe. A blocked thread cannot be called back;
 * it is woken from the other end of the pipe, which /proc lets this process open.
 * @module
 */
import fs from "node:fs";
import { errnoName } from "../core/errno.ts";
import { canRead, canWrite } from "./held.ts";
import { StreamChannel, type Wire } from "./stream_channel.ts";

/** Bytes a pipe holds at least, so that a woken writer can finish its call. */
const CHUNK = 64 * 1024;
const LARGEST_READ = 1 << 20;
const { O_NONBLOCK, O_RDONLY, O_WRONLY } = fs.constants;

/** @param release closes the descriptor, once no call is under way */
export function pipeChannel(fd: number, flags: number, release: () => void, name?: string): StreamChannel {
  let reading: Promise<unknown> | undefined;
  let writing: Promise<unknown> | undefined;
  let over = false;
  let sink: Promise<Sink> | undefined;

  const wake = () => {
    over = true;
    if (reading) poke(fd, O_WRONLY, (other) => fs.writeSync(other, new Uint8Array(1)));
    if (writing) poke(fd, O_RDONLY, (other) => fs.readSync(other, new Uint8Array(CHUNK)));
  };
  const wire: Wire = {
    abort: wake,
    close() {
      wake();
      const finish = () => {
        sink?.then((file) => file.close?.(), () => {});
        release();
      };
      const pending = [reading, writing].filter((one) => one !== undefined);
      if (pending.length === 0) return finish();
      Promise.allSettled(pending).then(finish).catch(() => {});
    },
  };
  if (canRead(flags)) {
    wire.pull = (view) => {
      const call = () => read(fd, view, Math.min(view.length, LARGEST_READ));
      const done = retry(call, () => over).finally(() => reading = undefined);
      reading = done;
      return done;
    };
  }
  if (canWrite(flags)) {
    wire.push = (view) => {
      sink ??= openSink(fd);
      const done = writeAll(sink, view, () => over).finally(() => writing = undefined);
      writing = done;
      return done;
    };
  }
  return new StreamChannel(wire, "file", false, name);
}

/** The part of Deno.FsFile and Deno.stdout that is needed. */
interface Sink {
  write(view: Uint8Array): Promise<number>;
  close?(): void;
}

/** Opening waits for a reader, like any open of a fifo for writing. */
function openSink(fd: number): Promise<Sink> {
  if (fd === 1) return Promise.resolve({ write: (view) => Deno.stdout.write(view) });
  if (fd === 2) return Promise.resolve({ write: (view) => Deno.stderr.write(view) });
  return Deno.open(`/proc/self/fd/${fd}`, { write: true });
}

async function writeAll(sink: Promise<Sink>, view: Uint8Array, over: () => boolean): Promise<void> {
  const file = await sink;
  for (let done = 0; done < view.length && !over();) {
    done += await file.write(view.subarray(done, done + CHUNK));
  }
}

function read(fd: number, view: Uint8Array, length: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.read(fd, view, 0, length, null, (error, n) => error ? reject(error) : resolve(n));
  });
}

/** A descriptor that somebody set to O_NONBLOCK says EAGAIN: look again a little later. */
async function retry(call: () => Promise<number>, over: () => boolean): Promise<number> {
  for (let pause = 1; !over(); pause = Math.min(pause * 2, 20)) {
    try {
      return await call();
    } catch (error) {
      if (errnoName(error) !== "EAGAIN") throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
  return 0;
}

/** Open the pipe's other end for a moment. */
function poke(fd: number, flags: number, act: (other: number) => void): void {
  try {
    const other = fs.openSync(`/proc/self/fd/${fd}`, flags | O_NONBLOCK);
    try {
      act(other);
    } finally {
      fs.closeSync(other);
    }
  } catch {
    // full, empty or not allowed: then the call ends when the other side moves
  }
}
