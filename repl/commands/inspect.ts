/**
 * `miglab inspect FILE`: what a saved guest holds.
 * @module
 */
import type { Style } from "../colour.ts";
import { CHANNEL, type FileRequest, fileRequest, OFFSET, RAW, SNAPSHOT } from "../file_options.ts";
import { type FileWork, fileWork } from "../file_work.ts";
import { oneLine } from "../output.ts";
import type { CommandModule, Context } from "../program.ts";

/** What is asked of a file. */
export interface InspectRequest extends FileRequest {
  readonly hash?: boolean;
  readonly pages?: boolean;
  /** Text only: a line for each section. */
  readonly sections?: boolean;
  /** Only this device, its fields with units and symbols. */
  readonly device?: string;
}

/** What came out. */
export interface Inspected extends AsyncDisposable {
  /** The value of `--json`. */
  readonly report: {
    readonly devices: readonly unknown[];
    readonly stream: { readonly complete: boolean; readonly fault?: { readonly message: string } };
  };
  /** The page for people, ending in a line feed. */
  text(style: Style, width: number): string;
}

/** Opens a file and looks into it; "-" is standard input. */
export type Inspect = (path: string, request: InspectRequest, work: FileWork) => Promise<Inspected>;

const DETAILS = `
Reads QEMU migration streams as migrate file: and exec: write them, sequential or mapped-ram; libvirt save images; internal
snapshots of qcow2 images; ELF cores as dump-guest-memory and virsh dump --memory-only write them. A damaged file is reported as
far as it goes; then one line on stderr says what is wrong and where, and the exit status is 1.

With --device, registers come by name with their flags, configuration spaces and virtio by register, timers as durations beside
the guest's own clock; with --json that is devices[].described:

  cmd USBCMD                 0x00c1  RS CF MAXP
  frame_timer                4.004032116 s  in 802.089 us

Examples:
  miglab inspect vm.sav
  miglab inspect --json --hash vm.sav | jq .ram.blocks
  miglab inspect --device cpu vm.sav
  miglab inspect dump.elf
  zstdcat vm.sav.zst | miglab inspect -`;

/** Declares `inspect`. */
export const inspectCommand: CommandModule = (root, context) => {
  root.command("inspect")
    .summary("what a saved guest holds")
    .description("Print what a saved guest holds: configuration, RAM blocks, sections, devices with their fields.")
    .argument("<file>", "a migration stream in a file; - is standard input")
    .option("--hash", "add the SHA-256 of each RAM block's content")
    .option(...OFFSET)
    .option(...CHANNEL)
    .option(...SNAPSHOT)
    .option(...RAW)
    .option("--sections", "a line for each section")
    .option("--device <name>", "only this device, its fields with units and symbols")
    .option("--pages", "what each pass over RAM brought, and the ranges of pages that are data")
    .addHelpText("after", DETAILS)
    .action(async (file, options) => {
      const request = fileRequest(options, context);
      await fileWork(root, context, "inspect", file, (work) => inspect(file, request, work, context));
    });
};

/** @returns what is wrong with the file */
async function inspect(
  file: string,
  request: InspectRequest,
  work: FileWork,
  context: Context,
): Promise<string | undefined> {
  const { output, tools } = context;
  const { terminalColumns } = await import("../watch.ts");
  await using inspected = await tools.inspect(file, request, work);
  work.hide();
  const { report } = inspected;
  if (context.options().json) {
    output.out(JSON.stringify(report, undefined, Deno.stdout.isTerminal() ? 2 : undefined) + "\n");
  } else {
    const width = Deno.stdout.isTerminal() ? terminalColumns() : 100;
    output.out(inspected.text(context.style(), width));
  }
  const { fault, complete } = report.stream;
  if (fault) return oneLine(fault.message);
  if (request.device !== undefined && report.devices.length === 0) return `no device is called ${request.device}`;
  return complete ? undefined : "the stream is incomplete";
}
