/**
 * Commands that need a device a model guest does not have: they answer as a QEMU without that device does.
 * Source: QEMU system/balloon.c, migration/savevm.c, migration/migration-hmp-cmds.c.
 * @module
 */
import { CommandError } from "../../stream/errors.ts";
import type { Command } from "../command.ts";
import { INT, object } from "../schema.ts";

const noBalloon = () => new CommandError("No balloon device has been activated", [], "DeviceNotActive");

const balloon: Command = {
  hmp: {
    name: "balloon",
    params: "target",
    help: "request VM to change its memory allocation (in MB)",
    args: [{ name: "value", type: "mib" }],
  },
  qmp: { name: "balloon", arguments: object({ value: INT }) },
  run() {
    throw noBalloon();
  },
};

const infoBalloon: Command = {
  hmp: {
    name: "info balloon",
    params: "",
    help: "show balloon information",
    format: ({ actual }: { actual: number }) => `balloon: actual=${Math.floor(actual / 2 ** 20)}\n`,
  },
  qmp: { name: "query-balloon" },
  run() {
    throw noBalloon();
  },
};

const NO_DEVICE = "no block device can store vmstate for snapshot";

const savevm: Command = {
  hmp: {
    name: "savevm",
    params: "tag",
    help: "save a VM snapshot. If no tag is provided, a new snapshot is created",
    args: [{ name: "name", type: "string", optional: true }],
  },
  run(session) {
    throw new CommandError(session.blockers[0] ?? NO_DEVICE);
  },
};

const loadvm: Command = {
  hmp: {
    name: "loadvm",
    params: "tag",
    help: "restore a VM snapshot from its tag",
    args: [{ name: "name", type: "string", names: "snapshots" }],
  },
  run(session) {
    // QEMU stops the guest before it looks, and leaves it so
    session.stopGuest("restore-vm");
    throw new CommandError(NO_DEVICE);
  },
};

const delvm: Command = {
  hmp: {
    name: "delvm",
    params: "tag",
    help: "delete a VM snapshot from its tag",
    args: [{ name: "name", type: "string", names: "snapshots" }],
  },
  run: () => undefined,
};

const infoSnapshots: Command = {
  hmp: {
    name: "info snapshots",
    params: "",
    help: "show the currently saved VM snapshots",
    format: () => NO_DEVICE + "\n",
  },
  run: () => undefined,
};

/** Commands of this file. */
export const DEVICE_COMMANDS: readonly Command[] = [balloon, infoBalloon, savevm, loadvm, delvm, infoSnapshots];
