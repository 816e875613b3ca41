/**
 * Snapshot jobs over QMP without a block device: the model answers, and tells its events, as a real QEMU does.
 * @module
 */
import assert from "node:assert/strict";
import { type MonitorEvent, Qemu, Workbench } from "../../mod.ts";
import { qemuTest } from "./available.ts";

const JOB = { tag: "t", devices: ["disk"] };
const STEPS: readonly (readonly [command: string, args: Record<string, unknown>])[] = [
  ["snapshot-save", { ...JOB, "job-id": "save", vmstate: "disk" }],
  ["snapshot-save", { ...JOB, "job-id": "save", vmstate: "disk" }],
  ["snapshot-save", { ...JOB, "job-id": "1", vmstate: "disk" }],
  ["snapshot-save", { ...JOB, "job-id": "2" }],
  ["snapshot-delete", { ...JOB, "job-id": "delete", devices: [] }],
  ["snapshot-load", { ...JOB, "job-id": "load", vmstate: "disk" }],
  ["query-status", {}],
  ["query-jobs", {}],
  ["job-cancel", { id: "load" }],
  ["job-dismiss", { id: "save" }],
  ["job-dismiss", { id: "save" }],
  ["query-jobs", {}],
];

async function transcript(
  execute: (command: string, args: Record<string, unknown>) => Promise<unknown>,
  on: (listener: (event: MonitorEvent) => void) => void,
): Promise<unknown[]> {
  const events: unknown[] = [], answers: unknown[] = [];
  on(({ event, data }) => {
    if (event === "JOB_STATUS_CHANGE" || event === "STOP") events.push({ event, data });
  });
  for (const [command, args] of STEPS) {
    const before = events.length;
    answers.push(await execute(command, args).catch((error: Error) => error.message));
    // a job of QEMU's may go on behind its answer
    const ends = () =>
      command.startsWith("snapshot-") && typeof answers.at(-1) !== "string" && !concluded(events, before);
    for (let i = 0; i < 500 && ends(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return [answers, events];
}

function concluded(events: readonly unknown[], from: number): boolean {
  return events.slice(from).some((one) => (one as MonitorEvent).data?.status === "concluded");
}

qemuTest("snapshot jobs of the model answer as those of a QEMU without a disk", async () => {
  await using vm = await Qemu.launch({ args: ["-machine", "pc", "-m", "16"] });
  await using bench = await Workbench.open({ ram: "16M" });
  const theirs = await transcript((name, args) => vm.execute(name, args), (listener) => vm.on(listener));
  const ours = await transcript(
    (name, args) => bench.qmp(name, args),
    (listener) => bench.session.events.on(listener),
  );
  assert.deepEqual(ours, theirs);
});
