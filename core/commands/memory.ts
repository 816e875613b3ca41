/**
 * Looking at guest memory and saving pieces of it. Source: QEMU monitor/hmp-cmds-target.c, system/cpus.c (qmp_memsave,
 * qmp_pmemsave), system/ram_addr (ram_block_format).
 * @module
 */
import fs from "node:fs";
import { readPhysical, readVirtual } from "../../guest/access.ts";
import type { RamBlock } from "../../guest/memory.ts";
import { CommandError } from "../../stream/errors.ts";
import type { HmpArgument, HmpValues } from "../arguments.ts";
import type { Command } from "../command.ts";
import { type DumpFormat, dumpMemory, printValue } from "../dump.ts";
import { errnoText } from "../errno.ts";
import { INT, object, STRING, UINT64 } from "../schema.ts";
import type { Session } from "../session.ts";

const FORMAT: HmpArgument = { name: "fmt", type: "format" };

const print: Command = {
  hmp: {
    name: "print",
    aliases: ["p"],
    params: "/fmt expr",
    help: "print expression value (use $reg for CPU register access)",
    args: [FORMAT, { name: "val", type: "long" }],
    format: (text: string) => text + "\n",
  },
  run: (_session, { fmt, val }) => printValue(val as bigint, (fmt as DumpFormat).format),
};

function dump(name: string, help: string, read: typeof readPhysical): Command {
  return {
    hmp: {
      name,
      params: "/fmt addr",
      help,
      args: [FORMAT, { name: "addr", type: "long" }],
      format: (text: string) => text,
    },
    run: ({ guest }, { fmt, addr }) =>
      dumpMemory(fmt as DumpFormat, addr as bigint, (address, target) => read(guest, address, target)),
  };
}

/** Bytes moved at a time, so that a large save needs little memory. */
const PIECE = 1 << 20;

/** Where no memory is, pmemsave writes what the bus answers. */
const NO_DEVICE = 0xff;

function createFile(path: string): number {
  try {
    return fs.openSync(path, "w", 0o666);
  } catch (error) {
    throw new CommandError(`Could not open '${path}': ${errnoText(error)}`);
  }
}

function save(
  path: string,
  address: bigint,
  size: bigint,
  fill: (at: bigint, target: Uint8Array) => void,
): void {
  const fd = createFile(path);
  try {
    const piece = new Uint8Array(Number(size < BigInt(PIECE) ? size : BigInt(PIECE)));
    for (let done = 0n; done < size; done += BigInt(piece.length)) {
      const left = size - done;
      const view = left < BigInt(piece.length) ? piece.subarray(0, Number(left)) : piece;
      fill(BigInt.asUintN(64, address + done), view);
      for (let written = 0; written < view.length;) written += fs.writeSync(fd, view, written);
    }
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw new CommandError(`writing memory to '${path}' failed`, [errnoText(error)]);
  } finally {
    fs.closeSync(fd);
  }
}

/** Never more than the guest's address space can hold, however large a size is asked for. */
function checkSize({ guest }: Session, size: bigint): void {
  const top = guest.physical?.at(-1);
  const limit = BigInt(top ? Math.max(top.base + top.length, 2 ** 32) : guest.memory.totalBytes);
  if (size > limit) {
    throw new CommandError(`Cannot save ${size} bytes: the guest has 0x${limit.toString(16)} of addresses`);
  }
}

const readAt = (read: typeof readPhysical, session: Session, at: bigint, target: Uint8Array): number =>
  at <= BigInt(Number.MAX_SAFE_INTEGER) ? read(session.guest, Number(at), target) : 0;

function saveCommand(name: "memsave" | "pmemsave", kind: string): Command {
  const virtual = name === "memsave";
  return {
    hmp: {
      name,
      params: "addr size file",
      help: `save to disk ${kind} memory dump starting at 'addr' of size 'size'`,
      args: [{ name: "val", type: "long" }, { name: "size", type: "int" }, { name: "filename", type: "string" }],
      toArguments: ({ val, size, filename }: HmpValues) => ({ val, size, filename }),
    },
    qmp: {
      name,
      arguments: object({ val: UINT64, size: UINT64, filename: STRING, ...(virtual ? { "*cpu-index": INT } : {}) }),
    },
    run(session, args) {
      const address = BigInt.asUintN(64, BigInt(args.val as bigint));
      const size = BigInt.asUintN(64, BigInt(args.size as bigint));
      if (args["cpu-index"] !== undefined && args["cpu-index"] !== 0) {
        throw new CommandError("Parameter 'cpu-index' expects a CPU number");
      }
      if (!virtual) checkSize(session, size);
      save(args.filename as string, address, size, (at, target) => {
        const landed = readAt(virtual ? readVirtual : readPhysical, session, at, target);
        if (landed === target.length) return;
        if (virtual) {
          const shown = address.toString(16).padStart(16, "0");
          throw new CommandError(`Invalid addr 0x${shown}/size ${size} specified`);
        }
        fillGaps(session, at, target, landed);
      });
    },
  };
}

/** Physical addresses without memory in between: page by page. */
function fillGaps(session: Session, at: bigint, target: Uint8Array, landed: number): void {
  for (let done = landed; done < target.length;) {
    const here = at + BigInt(done);
    const n = Math.min(target.length - done, 4096 - Number(here & 4095n));
    const view = target.subarray(done, done + n);
    if (readAt(readPhysical, session, here, view) < n) view.fill(NO_DEVICE);
    done += n;
  }
}

const hex16 = (value: number) => "0x" + value.toString(16).padStart(16, "0");

/** 4 KiB, 2 MiB. */
function pageSize(bytes: number): string {
  const power = bytes >= 2 ** 30 ? 3 : bytes >= 2 ** 20 ? 2 : bytes >= 1024 ? 1 : 0;
  return `${bytes / 1024 ** power} ${["B", "KiB", "MiB", "GiB"][power]}`;
}

function ramblockLine(block: RamBlock): string {
  // there is no host address to show: the memory is JavaScript's
  const sizes = [block.ramAddr, block.usedLength, block.maxLength, 0].map(hex16).join(" ");
  return `${block.idstr.padStart(24)} ${pageSize(block.pageSize).padStart(8)}  ${sizes} ${
    block.readonly ? " ro" : " rw"
  }\n`;
}

const ramblock: Command = {
  hmp: {
    name: "info ramblock",
    params: "",
    help: "Display system ramblock information",
    format: (value: { "human-readable-text": string }) => value["human-readable-text"],
  },
  qmp: { name: "x-query-ramblock" },
  run: ({ guest }) => ({
    "human-readable-text":
      `${"Block Name".padStart(24)} ${"PSize".padStart(8)}  ${"Offset".padStart(18)} ${"Used".padStart(18)} ` +
      `${"Total".padStart(18)} ${"HVA".padStart(18)}  RO\n` + guest.memory.blocks.map(ramblockLine).join(""),
  }),
};

/** Commands of this file. */
export const MEMORY_COMMANDS: readonly Command[] = [
  print,
  dump("x", "virtual memory dump starting at 'addr'", readVirtual),
  dump("xp", "physical memory dump starting at 'addr'", readPhysical),
  saveCommand("memsave", "virtual"),
  saveCommand("pmemsave", "physical"),
  ramblock,
];
