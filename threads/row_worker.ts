/**
 * The second pair of hands of row_counter.ts: takes pieces of rows it is told of. Nobody is answered: a row's state says it.
 * @module
 */
import { RecordRow } from "./record_row.ts";
import { type RowJob, takePieces } from "./row_team.ts";

/** A row whose heads are wanted. */
export interface CountJob {
  /** Number of the open file. */
  readonly fd: number;
  readonly job: RowJob;
}

const scope = globalThis as unknown as { onmessage: ((event: MessageEvent<CountJob>) => void) | null };
let rows: { readonly fd: number; readonly row: RecordRow | undefined } | undefined;

// imported for its types elsewhere, run as a Worker only
if (typeof (globalThis as { WorkerGlobalScope?: unknown }).WorkerGlobalScope !== "undefined") {
  scope.onmessage = ({ data: { fd, job } }) => {
    if (rows?.fd !== fd) rows = { fd, row: RecordRow.over(fd) };
    if (!rows.row) return;
    const pieces = takePieces(job, rows.row);
    while (!pieces.next().done);
  };
}
