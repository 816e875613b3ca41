/**
 * Every captured transcript, replayed. What is not compared is listed here, with the reason.
 */
import { type Exception, replay } from "./transcripts.ts";

const DISK = "needs a block device, which a model guest has not";
const RACE = "whether setup or the first pages meet the closed pipe is a race";

/** Transcript -> what differs, and why. */
const EXCEPTIONS: Readonly<Record<string, readonly Exception[]>> = {
  balloon: [{ machines: [1], reason: "needs a balloon device, which a model guest has not" }],
  cancel_while_connecting: [{
    numbers: [14],
    reason: "QEMU still sends the beginning of a stream over a connection it has given up, with its first pass",
  }],
  exec_transport: [{ machines: [9], reason: "cancelling ends a command that never answers; QEMU waits for it" }],
  fd_transport: [
    { machines: [1, 2, 3], reason: "the capture passed a pipe and sockets, which cannot be made here" },
  ],
  hmp_parsing: [{ steps: ["xp/2i"], reason: "there is no disassembler" }],
  pause_before_switchover: [{
    numbers: [40],
    reason: "QEMU sometimes complains about the file a cancelled migration was written to",
  }],
  save_failed: [{ steps: ["ram_save_setup failed"], reason: RACE }],
  readline_session: [{ steps: ["Broken pipe"], reason: RACE }],
  uri_incoming: [{ steps: ["fd:99"], reason: "whether this process has a descriptor 99 is the test runner's affair" }],
  uri_outgoing: [{ steps: ["Broken pipe"], reason: RACE }],
  snapshots: [{ machines: [1, 2, 3, 4, 5, 6, 7], reason: DISK }],
  caps_sequences: [{
    resetBefore: ["migrate_set_capability postcopy-ram on", "migrate_set_capability"],
    reason: "the capture began each group of steps with everything off",
  }],
  run_states: [{ steps: ["guest-reset"], reason: "the firmware of the capture resets the machine once" }],
};

/** Transcripts of conversations that are not held yet. */
const NOT_REPLAYED: Readonly<Record<string, string>> = {
  postcopy_unix: "postcopy is not available: the migration completes as precopy",
  postcopy_pause_recover: "postcopy is not available: there is nothing to pause or recover",
};

/** Not sessions: settings_tables_test.ts and command_line_test.ts have them. */
const TABLES = ["caps_single", "caps_pairs", "params_table", "incoming_command_line"];

for (const { name: file } of Deno.readDirSync(new URL("../fixtures/monitor/", import.meta.url))) {
  if (!file.endsWith(".json.gz")) continue;
  const name = file.replace(".json.gz", "");
  if (TABLES.includes(name)) continue;
  const reason = NOT_REPLAYED[name];
  Deno.test({
    name: `the monitor answers as in the transcript ${name}` + (reason ? ` (${reason})` : ""),
    ignore: reason !== undefined,
    fn: () => replay(name, EXCEPTIONS[name]),
  });
}
