/**
 * Stopping, running, resetting and ending the machine. Source: QEMU monitor/qmp-cmds.c, system/cpus.c, system/runstate.c.
 * @module
 */
import type { Command } from "../command.ts";

const stop: Command = {
  hmp: { name: "stop", aliases: ["s"], params: "", help: "stop emulation" },
  qmp: { name: "stop" },
  run: (session) => session.stop(),
};

const cont: Command = {
  hmp: { name: "cont", aliases: ["c"], params: "", help: "resume emulation" },
  qmp: { name: "cont" },
  run: (session) => session.cont(),
};

const reset: Command = {
  hmp: { name: "system_reset", params: "", help: "reset the system" },
  qmp: { name: "system_reset" },
  run: (session) => session.events.emit("RESET", { guest: false, reason: "host-qmp-system-reset" }),
};

const quit: Command = {
  hmp: { name: "quit", aliases: ["q"], params: "", help: "quit the emulator" },
  qmp: { name: "quit" },
  run(session) {
    session.events.emit("SHUTDOWN", { guest: false, reason: "host-qmp-quit" });
    session.exit(0);
  },
};

const status: Command = {
  hmp: {
    name: "info status",
    params: "",
    help: "show the current VM status (running|paused)",
    format: ({ running, status }: { running: boolean; status: string }) => {
      if (running) return "VM status: running\n";
      return `VM status: paused${status === "paused" ? "" : ` (${status})`}\n`;
    },
  },
  qmp: { name: "query-status" },
  run: ({ runState }) => ({ status: runState, running: runState === "running" }),
};

/** Commands of this file. */
export const RUN_STATE_COMMANDS: readonly Command[] = [stop, cont, reset, quit, status];
