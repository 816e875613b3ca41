/**
 * The files of a recording: what the passing Worker (splice_worker.ts) tells into a pipe is moved into a file, in a thread of its
 * own, so that passing on waits for a file only when the file is a whole pipe behind.
 * @module
 */
import { serveEnds } from "./splice_scope.ts";
import * as sys from "./splice_calls.ts";
import type { SpliceEnd } from "./splice_worker.ts";

/** A new file: i32 row, read end of its pipe, the file. The pipe is closed here. */
const RECORD_BYTES = 12;

/** Bytes moved at once. */
const CHUNK = 1 << 20;

interface Copy {
  readonly pipe: number;
  readonly file: number;
  readonly end: { row: number; bytes: number; errno: number };
}

/** Move what is in the pipe. @returns false at its end, or when the file takes no more */
function drain({ pipe, file, end }: Copy): boolean {
  for (;;) {
    const moved = sys.splice(pipe, file, CHUNK);
    if (moved > 0) end.bytes += moved;
    else if (moved === -sys.EAGAIN) return true;
    else {
      // a file that takes nothing looks as the end of the pipe does
      end.errno = moved < 0 ? -moved : sys.waiting(pipe) > 0 ? sys.ENOSPC : 0;
      return false;
    }
  }
}

function run(control: number, tell: (end: SpliceEnd) => void): void {
  const record = new Int32Array(RECORD_BYTES / 4);
  const poll = new sys.PollSet();
  let copies: Copy[] = [];
  let open = true;
  while (open || copies.length > 0) {
    poll.clear();
    if (open) poll.add(control, sys.POLLIN);
    for (const { pipe } of copies) poll.add(pipe, sys.POLLIN);
    poll.wait();
    copies = copies.filter((copy) => {
      if (drain(copy)) return true;
      sys.close(copy.pipe);
      tell(copy.end);
      return false;
    });
    if (open && poll.happened(0)) {
      if (sys.read(control, new Uint8Array(record.buffer)) === RECORD_BYTES) {
        const [row, pipe, file] = record;
        copies.push({ pipe, file, end: { row, bytes: 0, errno: 0 } });
      } else {
        open = false;
        sys.close(control);
      }
    }
  }
}

serveEnds(run);
