/**
 * A channel on a pipe whose number node:fs knows: a fifo opened here, or standard input.
 *
 * Reads and writes run in Deno's pool of blocking threads, so the console stays alive. A blocked thread cannot be
 * called back; it is woken from the other end of the pipe instead, which /proc lets this process open.
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

  const wake = () => {
    over = true;
    if (reading) poke(fd, O_WRONLY, (other) => fs.writeSync(other, new Uint8Array(1)));
    if (writing) poke(fd, O_RDONLY, (other) => fs.readSync(other, new Uint8Array(CHUNK)));
  };
  const wire: Wire = {
    abort: wake,
    close() {
      wake();
      const pending = [reading, writing].filter((one) => one !== undefined);
      if (pending.length === 0) release();
      else Promise.allSettled(pending).then(release).catch(() => {});
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
      const done = writeAll(fd, view, () => over).finally(() => writing = undefined);
      writing = done;
      return done;
    };
  }
  return new StreamChannel(wire, "file", false, name);
}

async function writeAll(fd: number, view: Uint8Array, over: () => boolean): Promise<void> {
  for (let done = 0; done < view.length && !over();) {
    const n = Math.min(view.length - done, CHUNK);
    done += await retry(() => write(fd, view, done, n), over);
  }
}

function read(fd: number, view: Uint8Array, length: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.read(fd, view, 0, length, null, (error, n) => error ? reject(error) : resolve(n));
  });
}

function write(fd: number, view: Uint8Array, from: number, length: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.write(fd, view, from, length, null, (error, n) => error ? reject(error) : resolve(n));
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
