/**
 * Starting, steering and watching migrations. Source: QEMU hmp-commands.hx, qapi/migration.json,
 * migration/migration-hmp-cmds.c.
 * @module
 */
import { parseUri } from "../address.ts";
import type { Command } from "../command.ts";
import { formatMigrationInfo, type MigrationInfo, migrationInfo } from "../migration_info.ts";
import { incomingDestination, type MigrationChannel, outgoingDestination } from "../reach.ts";
import { array, BOOL, enumeration, object, type ObjectSchema, STRING, type UnionSchema } from "../schema.ts";
import type { Session } from "../session.ts";
import { MIGRATION_STATUSES, type MigrationStatus } from "../status.ts";
import { CommandError } from "../../stream/errors.ts";

const INET: ObjectSchema = object({
  host: STRING,
  port: STRING,
  "*numeric": BOOL,
  "*to": { type: "uint16" },
  "*ipv4": BOOL,
  "*ipv6": BOOL,
  "*keep-alive": BOOL,
  "*mptcp": BOOL,
});

const SOCKET: UnionSchema = {
  type: "union",
  discriminator: "type",
  variants: {
    inet: INET,
    unix: object({ path: STRING, "*abstract": BOOL, "*tight": BOOL }),
    vsock: object({ cid: STRING, port: STRING }),
    fd: object({ str: STRING }),
  },
};

/** QAPI MigrationChannel. */
export const MIGRATION_CHANNEL: ObjectSchema = object({
  "channel-type": enumeration(["main", "cpr"]),
  addr: {
    type: "union",
    discriminator: "transport",
    variants: {
      socket: SOCKET,
      exec: object({ args: array(STRING) }),
      rdma: INET,
      file: object({ filename: STRING, offset: { type: "uint64" } }),
    },
  },
});

interface Where {
  readonly uri?: string;
  readonly channels?: readonly MigrationChannel[];
}

/** How long after the guest stopped a terminal still waits: QEMU looks again after a second. */
const SWITCHOVER_WAIT_MS = 1000;

/** On a terminal the prompt comes back when the migration has left setup and active. */
async function waitForeground(session: Session): Promise<void> {
  const { outgoing } = session;
  await outgoing.left("setup", "active");
  if (outgoing.status === "device") {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const patience = new Promise<void>((resolve) => timer = setTimeout(resolve, SWITCHOVER_WAIT_MS));
    await Promise.race([outgoing.left("device"), patience]);
    clearTimeout(timer);
  }
  if (!outgoing.running) await outgoing.settled;
}

const migrate: Command = {
  hmp: {
    name: "migrate",
    params: "[-d] [-r] uri",
    help: "migrate to URI (using -d to not wait for completion)\n\t\t\t -r to resume a paused postcopy migration",
    args: [
      { name: "detach", type: "flag", letter: "d" },
      { name: "resume", type: "flag", letter: "r" },
      { name: "uri", type: "string", complete: (session) => session.transports.map(({ scheme }) => scheme + ":") },
    ],
    wait: (session, { detach }) => detach ? undefined : waitForeground(session),
  },
  qmp: {
    name: "migrate",
    arguments: object({ "*uri": STRING, "*channels": array(MIGRATION_CHANNEL), "*detach": BOOL, "*resume": BOOL }),
  },
  run(session, args, monitor) {
    const { uri, channels, resume } = args as Where & { resume?: boolean };
    session.outgoing.start(outgoingDestination(uri, channels, session.transports), resume ?? false, monitor);
    if (monitor.kind === "human-monitor-command" && !args.detach) {
      monitor.report("terminal does not allow synchronous migration, continuing detached");
    }
  },
};

const migrateIncoming: Command = {
  hmp: {
    name: "migrate_incoming",
    params: "uri",
    help: "Continue an incoming migration from an -incoming defer",
    args: [{
      name: "uri",
      type: "string",
      complete: (session) => session.transports.map(({ scheme }) => scheme + ":"),
    }],
    toArguments(values, session) {
      // HMP reads the address before anything else is asked, and keeps the process alive after a failure
      parseUri(values.uri as string, session.transports);
      return { ...values, "exit-on-error": false };
    },
  },
  qmp: {
    name: "migrate-incoming",
    arguments: object({ "*uri": STRING, "*channels": array(MIGRATION_CHANNEL), "*exit-on-error": BOOL }),
  },
  run(session, args, monitor) {
    const { uri, channels } = args as Where;
    const from = () => incomingDestination(uri, channels, session.transports);
    session.incoming.start(from, (args["exit-on-error"] ?? true) as boolean, monitor);
  },
};

const migrateCancel: Command = {
  hmp: { name: "migrate_cancel", params: "", help: "cancel the current VM migration" },
  qmp: { name: "migrate_cancel" },
  run(session, _args, monitor) {
    try {
      session.outgoing.cancel();
    } catch (error) {
      // QEMU's HMP command drops the error
      if (monitor.kind === "qmp" || !(error instanceof CommandError)) throw error;
    }
  },
};

const migrateContinue: Command = {
  hmp: {
    name: "migrate_continue",
    params: "state",
    help: "Continue migration from the given paused state",
    args: [{ name: "state", type: "string", complete: () => MIGRATION_STATUSES }],
    toArguments(values) {
      if (!MIGRATION_STATUSES.includes(values.state as MigrationStatus)) {
        throw new CommandError(`invalid parameter value: ${values.state}`);
      }
      return values;
    },
  },
  qmp: { name: "migrate-continue", arguments: object({ state: enumeration(MIGRATION_STATUSES) }) },
  run: (session, { state }) => session.outgoing.continue(state as MigrationStatus),
};

const migratePause: Command = {
  hmp: { name: "migrate_pause", params: "", help: "Pause an ongoing migration (postcopy-only)" },
  qmp: { name: "migrate-pause", oob: true },
  run() {
    throw new CommandError(
      "migrate-pause is currently only supported during postcopy-active or postcopy-recover state",
    );
  },
};

const migrateRecover: Command = {
  hmp: {
    name: "migrate_recover",
    params: "uri",
    help: "Continue a paused incoming postcopy migration",
    args: [{ name: "uri", type: "string" }],
  },
  qmp: { name: "migrate-recover", arguments: object({ uri: STRING }), oob: true },
  run: (session) => session.incoming.recover(),
};

const migrateStartPostcopy: Command = {
  hmp: {
    name: "migrate_start_postcopy",
    params: "",
    help:
      "Followup to a migration command to switch the migration to postcopy mode. The postcopy-ram capability must " +
      "be set on both source and destination before the original migration command .",
  },
  qmp: { name: "migrate-start-postcopy" },
  run: (session) => session.outgoing.startPostcopy(),
};

const infoMigrate: Command = {
  hmp: {
    name: "info migrate",
    params: "",
    help: "show migration status",
    format: (info: MigrationInfo, _values, session) => formatMigrationInfo(info, session),
  },
  qmp: { name: "query-migrate" },
  run: (session) => migrationInfo(session),
};

const queryMigrationThreads: Command = {
  qmp: { name: "query-migrationthreads" },
  run: (session) => session.outgoing.running ? [{ name: "mig/src/main", "thread-id": Deno.pid }] : [],
};

/** Commands of this file. */
export const MIGRATION_COMMANDS: readonly Command[] = [
  migrate,
  migrateCancel,
  migrateContinue,
  migrateIncoming,
  migratePause,
  migrateRecover,
  migrateStartPostcopy,
  infoMigrate,
  queryMigrationThreads,
];
