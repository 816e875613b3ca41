/**
 * `miglab diff A B`: what is not the same in two saved guests.
 * @module
 */
import { type FileWork, fileWork } from "../file_work.ts";
import { repeatable, sizeArgument } from "../options.ts";
import type { CommandModule } from "../program.ts";

/** What is asked for. */
export interface DiffRequest {
  /** Patterns of what does not count. */
  readonly ignore?: readonly string[];
  /** Compare RAM's content too. */
  readonly ram: boolean;
  /** Where the streams begin: sizes. */
  readonly offsetA?: string;
  readonly offsetB?: string;
  /** Further channels of the two migrations. */
  readonly channelA?: readonly string[];
  readonly channelB?: readonly string[];
  /** Internal snapshots of qcow2 images. */
  readonly snapshotA?: string;
  readonly snapshotB?: string;
  /** Files that are nothing known are raw memory. */
  readonly raw?: boolean;
  /** RAM block that a raw file is compared with. */
  readonly block?: string;
  readonly plugins?: readonly string[];
}

/** What came out. */
export interface Diffed {
  /** The value of `--json`. */
  readonly report: { readonly equal: boolean };
  /** Lines for people; "" when nothing differs. */
  text(): string;
}

/** Compares two files. */
export type Diff = (a: string, b: string, request: DiffRequest, work: FileWork) => Promise<Diffed>;

const DETAILS = `
The files may be of different formats; how a guest travels is no difference. Exit status 0: equal, 1: not.

ELF cores are compared as guest-physical memory, with the processors' registers. A file that is nothing known is taken for raw
memory where it has the size of one RAM block of the other, or of all its memory; --block names the block, --raw takes two such
files for memory.

--ignore PATTERN leaves out, with * and ? as in file names:
  timers                 clocks, time stamps, timers; of the CMOS its clock alone
  e1000                  a device; 0000:00:03.0/e1000 for one of several
  cpu:env.xmm_regs*      a field of a device; :env.tsc* of any
  ram:0000:00:02.0/*     RAM blocks
  machine                a line of the configuration

Examples:
  miglab diff before.sav after.sav
  miglab diff --ignore timers --ignore cpu vm.sav saved.img
  miglab diff vm.sav dump.elf
  miglab diff vm.sav main.bin --channel-b ch0.bin --channel-b ch1.bin
  miglab diff vm.qcow2 vm.qcow2 --snapshot-a monday --snapshot-b tuesday
  miglab diff --block pc.ram vm.sav ram.raw
  miglab diff --json a.sav b.sav | jq '.ram[] | {block, changedPages}'`;

/** Declares `diff`. */
export const diffCommand: CommandModule = (root, context) => {
  root.command("diff")
    .summary("what differs between two saved guests")
    .description("Print what differs between two saved guests: configuration, devices and their fields, pages of RAM.")
    .argument("<a>", "a saved guest")
    .argument("<b>", "another")
    .option("--ignore <pattern>", "what does not count; repeatable", repeatable)
    .option("--no-ram", "leave the content of RAM alone")
    .option("--raw", "files that are nothing known are raw memory")
    .option("--block <id>", "the RAM block a raw file is compared with")
    .option("--offset-a <bytes>", "where in A the stream begins", sizeArgument)
    .option("--offset-b <bytes>", "where in B the stream begins", sizeArgument)
    .option("--channel-a <file>", "a further channel of A's migration; repeatable", repeatable)
    .option("--channel-b <file>", "a further channel of B's migration; repeatable", repeatable)
    .option("--snapshot-a <name>", "internal snapshot of A, a qcow2 image, by name or id")
    .option("--snapshot-b <name>", "internal snapshot of B")
    .addHelpText("after", DETAILS)
    .action(async (a, b, options) => {
      await fileWork(root, context, "diff", a, async (work) => {
        const request = { ...options, plugins: context.options().plugin };
        const { report, text } = await context.tools.diff(a, b, request, work);
        work.hide();
        context.output.out(context.options().json ? JSON.stringify(report) + "\n" : text());
        if (!report.equal) context.finish(1, `${a} and ${b} differ`);
      });
    });
};
