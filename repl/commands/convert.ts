/**
 * `miglab convert IN OUT --to FORMAT`: the same guest in another file format.
 * @module
 */
import { Option } from "@commander-js/extra-typings";
import { CHANNEL, type FileRequest, fileRequest, SNAPSHOT } from "../file_options.ts";
import { type FileWork, fileWork } from "../file_work.ts";
import { newFile, sizeArgument, UsageError } from "../options.ts";
import { oneLine } from "../output.ts";
import { bytesText } from "../progress.ts";
import type { CommandModule } from "../program.ts";

/** What is asked for. */
export interface ConvertRequest extends FileRequest {
  /** "legacy", "mapped-ram" ... */
  readonly to: string;
  /** File with a domain's XML. */
  readonly xml?: string;
  /** What libvirt does after a restore. */
  readonly running?: boolean;
}

/** What came out. */
export interface ConvertedFile {
  readonly format: string;
  readonly bytes: number;
  readonly normalPages?: number;
  readonly zeroPages?: number;
  /** What was left behind, each a sentence. */
  readonly left: readonly string[];
}

/** Writes one file from another. */
export type Convert = (from: string, to: string, request: ConvertRequest, work: FileWork) => Promise<ConvertedFile>;

const FORMATS = ["legacy", "mapped-ram", "libvirt-raw", "libvirt-sparse", "raw", "elf"] as const;

const DETAILS = `
  legacy          a plain stream, for migrate_incoming exec: and every QEMU; each page once
  mapped-ram      pages at fixed offsets, fast to load (migrate_set_capability mapped-ram on)
  libvirt-raw     what virsh restore takes; --xml names the domain's XML unless IN is a save image itself
  libvirt-sparse  the same, with pages at fixed offsets
  raw             guest-physical memory: byte N of the file is address N
  elf             guest-physical memory and CPU registers as an ELF core, for gdb and crash

Device state travels as the bytes it is. Zero pages are holes. OUT appears when it is complete. Where something cannot be
carried over, every reason is said and nothing is written.

--offset N says where in IN the stream begins. Where IN begins with one itself, N is where it begins in OUT.

Examples:
  miglab convert vm.sav vm.mapped --to mapped-ram
  miglab convert saved.img vm.core --to elf && gdb vmlinux vm.core
  miglab convert vm.sav saved.img --to libvirt-sparse --xml vm.xml`;

/** Declares `convert`. */
export const convertCommand: CommandModule = (root, context) => {
  root.command("convert")
    .summary("a saved guest in another file format")
    .description("Write a saved guest in another file format.")
    .argument("<in>", "a migration stream, a libvirt save image or a qcow2 image")
    .argument("<out>", "the new file", newFile)
    .addOption(new Option("--to <format>", "what to write").choices(FORMATS).makeOptionMandatory())
    .option("--offset <bytes>", "where the stream begins", sizeArgument)
    .option("--xml <file>", "the domain's XML, for libvirt")
    .option("--running", "libvirt starts the guest after a restore")
    .option("--paused", "libvirt leaves it paused")
    .option(...CHANNEL)
    .option(...SNAPSHOT)
    .addHelpText("after", DETAILS)
    .action(async (from, to, { running, paused, ...options }) => {
      if (running && paused) throw new UsageError("option '--running' cannot be used with option '--paused'");
      const state = running ? { running: true } : paused ? { running: false } : {};
      await fileWork(root, context, "convert", from, async (work) => {
        const request = { ...fileRequest(options, context), ...state };
        const converted = await context.tools.convert(from, to, request, work);
        work.hide();
        const { format, bytes, normalPages, zeroPages, left } = converted;
        if (context.options().json) return context.output.out(JSON.stringify(converted) + "\n");
        if (context.options().quiet) return;
        const pages = normalPages === undefined ? "" : `, ${normalPages} pages of data, ${zeroPages} zero`;
        context.output.out(`${oneLine(to)}: ${format}, ${bytesText(bytes)}${pages}\n`);
        if (left.length) context.output.err(`left behind: ${left.join("; ")}\n`);
      });
    });
};
