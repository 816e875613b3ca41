/**
 * Descriptors: names of a connection, sets of the process. Source: QEMU monitor/fds.c, qapi/misc.json.
 * @module
 */
import type { Command } from "../command.ts";
import { INT, object, STRING } from "../schema.ts";

const getfd: Command = {
  hmp: {
    name: "getfd",
    params: "getfd name",
    help: "receive a file descriptor via SCM rights and assign it a name",
    args: [{ name: "fdname", type: "string" }],
  },
  qmp: { name: "getfd", arguments: object({ fdname: STRING }) },
  run: (_session, { fdname }, monitor) => monitor.fds.getfd(fdname as string, monitor.takeFd()),
};

const closefd: Command = {
  hmp: {
    name: "closefd",
    params: "closefd name",
    help: "close a file descriptor previously passed via SCM rights",
    args: [{ name: "fdname", type: "string" }],
  },
  qmp: { name: "closefd", arguments: object({ fdname: STRING }) },
  run: (_session, { fdname }, monitor) => monitor.fds.closefd(fdname as string),
};

const addFd: Command = {
  qmp: { name: "add-fd", arguments: object({ "*fdset-id": INT, "*opaque": STRING }) },
  run(_session, args, monitor) {
    const { fd, fdsetId } = monitor.fds.addFd(monitor.takeFd(), {
      fdsetId: args["fdset-id"] as number | undefined,
      opaque: args.opaque as string | undefined,
    });
    return { fd, "fdset-id": fdsetId };
  },
};

const removeFd: Command = {
  qmp: { name: "remove-fd", arguments: object({ "fdset-id": INT, "*fd": INT }) },
  run: (_session, args, monitor) => monitor.fds.removeFd(args["fdset-id"] as number, args.fd as number | undefined),
};

const queryFdsets: Command = {
  qmp: { name: "query-fdsets" },
  run: (_session, _args, monitor) =>
    monitor.fds.queryFdsets().map(({ fdsetId, fds }) => ({ fds, "fdset-id": fdsetId })),
};

/** Commands of this file. */
export const DESCRIPTOR_COMMANDS: readonly Command[] = [getfd, closefd, addFd, removeFd, queryFdsets];
