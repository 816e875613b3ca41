/**
 * A thread of a recording: passes connections on (splice_connection.ts). It waits in poll(2), and so hears of a new connection by
 * way of a pipe.
 * @module
 */
import * as sys from "./splice_calls.ts";
import { READY, SpliceConnection, type SpliceEnd, type SpliceOrder } from "./splice_connection.ts";
import { TellPipe } from "./splice_copy.ts";

/** What a Worker of a recording begins with. */
export interface SpliceTask {
  /** A pipe that brings connections, each 20 bytes; its end ends the Worker. */
  readonly control: number;
  /** A u64 for each connection: bytes passed on so far. */
  readonly counters: SharedArrayBuffer;
}

/** A new connection: i32 row, source, destination, file for what comes from the source (-1: none is kept), for what comes back. */
const RECORD_BYTES = 20;

interface Scope {
  onmessage: ((event: MessageEvent<SpliceTask>) => void) | null;
  postMessage(end: SpliceEnd): void;
  close(): void;
}

function run({ control, counters }: SpliceTask, told: (end: SpliceEnd) => void): void {
  const record = new Int32Array(RECORD_BYTES / 4);
  const [poll, tell, passed] = [new sys.PollSet(), new TellPipe(), new BigUint64Array(counters)];
  let connections: SpliceConnection[] = [];
  let open = true;
  while (open || connections.length > 0) {
    poll.clear();
    if (open) poll.add(control, sys.POLLIN);
    for (const one of connections) one.ask(poll);
    poll.wait();
    const news = open && poll.happened(0);
    connections = connections.filter((one) => {
      if (!one.ready(poll) || one.step()) return true;
      told(one.finish());
      return false;
    });
    if (!news) continue;
    if (sys.read(control, new Uint8Array(record.buffer)) === RECORD_BYTES) {
      const [row, source, destination, file, backFile] = record;
      const one = begin({ row, source, destination, file, backFile });
      if (one) connections.push(one);
    } else {
      open = false;
      sys.close(control);
    }
  }
  tell.close();

  /** @returns undefined when it ended at once */
  function begin(order: SpliceOrder): SpliceConnection | undefined {
    try {
      return new SpliceConnection(order, tell, passed);
    } catch {
      for (const socket of [order.source, order.destination]) sys.shut(socket);
      told({ row: order.row, bytes: 0, backBytes: 0, errno: sys.EMFILE });
      return undefined;
    }
  }
}

const scope = globalThis as unknown as Scope;
scope.onmessage = ({ data }) => {
  scope.postMessage({ row: READY, bytes: 0, backBytes: 0, errno: 0 });
  run(data, (end) => scope.postMessage(end));
  scope.close();
};
