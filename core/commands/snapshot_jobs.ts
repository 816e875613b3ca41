/**
 * Snapshots as jobs, which QMP has in place of savevm: a model guest has no block device, so each job begins, fails and stays
 * until it is dismissed, as in a QEMU without one.
 * Source: QEMU migration/savevm.c snapshot_save_job_bh, snapshot_load_job_bh; block/snapshot.c; job.c, job-qmp.c.
 * @module
 */
import { CommandError } from "../../stream/errors.ts";
import type { Arguments, Command } from "../command.ts";
import { array, object, STRING } from "../schema.ts";
import type { Session } from "../session.ts";

type JobType = "snapshot-save" | "snapshot-load" | "snapshot-delete";

/** A job as `query-jobs` shows it. */
interface Job {
  readonly id: string;
  readonly type: JobType;
  readonly error: string;
}

const jobsOf = new WeakMap<Session, Map<string, Job>>();

function jobs(session: Session): Map<string, Job> {
  let found = jobsOf.get(session);
  if (!found) jobsOf.set(session, found = new Map());
  return found;
}

/** The job that is meant. @throws {CommandError} */
function named(session: Session, id: string): Job {
  const job = jobs(session).get(id);
  if (!job) throw new CommandError("Job not found");
  return job;
}

function runJob(session: Session, type: JobType, args: Arguments): void {
  const { "job-id": id, devices } = args as { "job-id": string; devices: readonly string[] };
  if (jobs(session).has(id)) throw new CommandError(`Job ID '${id}' already in use`);
  if (!/^[A-Za-z][-\w.]*$/.test(id)) throw new CommandError(`Invalid job ID '${id}'`);
  const tell = (status: string) => session.events.emit("JOB_STATUS_CHANGE", { status, id });
  tell("created");
  tell("running");
  if (type === "snapshot-load") session.stopGuest("restore-vm"); // before it looks, and it stays so
  const blocker = type === "snapshot-save" ? session.blockers[0] : undefined;
  const error = blocker ??
    (devices.length > 0 ? `No block device node '${devices[0]}'` : "At least one device is required for snapshot");
  jobs(session).set(id, { id, type, error });
  tell("aborting");
  tell("concluded");
}

const BY_DEVICE = { "job-id": STRING, tag: STRING, devices: array(STRING) };

const snapshot = (name: JobType, state: boolean): Command => ({
  qmp: { name, arguments: object(state ? { ...BY_DEVICE, vmstate: STRING } : BY_DEVICE) },
  run: (session, args) => runJob(session, name, args),
});

const queryJobs: Command = {
  qmp: { name: "query-jobs" },
  run: (session) =>
    [...jobs(session).values()].reverse().map(({ id, type, error }) => {
      return { "current-progress": 1, status: "concluded", "total-progress": 1, type, id, error };
    }),
};

const jobDismiss: Command = {
  qmp: { name: "job-dismiss", arguments: object({ id: STRING }) },
  run(session, args) {
    const { id } = named(session, String(args.id));
    jobs(session).delete(id);
    session.events.emit("JOB_STATUS_CHANGE", { status: "null", id });
  },
};

const jobCancel: Command = {
  qmp: { name: "job-cancel", arguments: object({ id: STRING }) },
  run(session, args) {
    const { id } = named(session, String(args.id));
    throw new CommandError(`Job '${id}' in state 'concluded' cannot accept command verb 'cancel'`);
  },
};

/** Commands of this file. */
export const SNAPSHOT_JOB_COMMANDS: readonly Command[] = [
  snapshot("snapshot-save", true),
  snapshot("snapshot-load", true),
  snapshot("snapshot-delete", false),
  queryJobs,
  jobDismiss,
  jobCancel,
];
