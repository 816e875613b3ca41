/**
 * Let a QEMU load a file, stopped, and give back what it says: for `why --qemu BINARY -- ARGS`.
 *
 *     BINARY ARGS -S -display none -monitor none -serial none -qmp stdio -incoming defer
 *     capabilities of the file's configuration, then migrate-incoming file:PATH,offset=N
 *
 * The process ends with the load, or when the time is over.
 * @module
 */
import { realpathSync, statSync } from "node:fs";
import { openImage } from "../containers/image.ts";
import { endProgram, linesOf, type Program, startProgram, textOf } from "../containers/program.ts";
import { StreamError, TransportError } from "../stream/errors.ts";

/** Bytes of its stderr that are kept. */
const SAID_LIMIT = 1 << 16;
const POLL_MS = 50;

/** How to let it load. */
export interface RunOptions {
  /** The machine, as the guest had it: the arguments of QEMU. */
  readonly args: readonly string[];
  /** Where the stream, or the libvirt header in front of it, begins in the file. */
  readonly offset?: number;
  /** Longest time, ms. Default 60 s. */
  readonly timeoutMs?: number;
}

/** What came of it. */
export interface RunResult {
  /** It was loaded to its end. */
  readonly loaded: boolean;
  /** What QEMU said: stderr, and QMP's error where there was one. */
  readonly said: string;
}

/**
 * Let a QEMU load a file.
 * @throws {TransportError} when the program cannot be started, or the stream cannot be given to it as a file
 */
export async function runIncoming(program: string, path: string, options: RunOptions): Promise<RunResult> {
  const { offset, capabilities } = await streamIn(path, options.offset ?? 0);
  const uri = `file:${realpathSync(path)}` + (offset > 0 ? `,offset=${offset}` : "");
  const own = "-S -display none -monitor none -serial none -qmp stdio -incoming defer".split(" ");
  const child = startProgram(program, [...options.args, ...own]);
  const timeoutMs = options.timeoutMs ?? 60_000;
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    endProgram(child, "SIGKILL");
  }, timeoutMs);
  try {
    const [complaints, { loaded, said }] = await Promise.all([
      textOf(child.stderr, SAID_LIMIT),
      converse(child, uri, capabilities),
      child.status,
    ]);
    return { loaded, said: complaints + said + (late ? `no end after ${timeoutMs / 1000} s\n` : "") };
  } finally {
    clearTimeout(timer);
  }
}

/** Have it load, look how that goes, and have it quit. `said`: QMP's errors, a line each. */
async function converse(program: Program, uri: string, capabilities: readonly string[]): Promise<RunResult> {
  const writer = program.stdin.getWriter();
  const send = (execute: string, args?: object) => {
    const text = JSON.stringify({ execute, ...(args ? { arguments: args } : {}) }) + "\n";
    writer.write(new TextEncoder().encode(text)).catch(() => {}); // it has ended: its exit says so
  };
  send("qmp_capabilities");
  if (capabilities.length > 0) {
    send("migrate-set-capabilities", {
      capabilities: capabilities.map((capability) => ({ capability, state: true })),
    });
  }
  send("migrate-incoming", { uri });
  send("query-migrate");
  let loaded = false;
  let said = "";
  let polling: ReturnType<typeof setTimeout> | undefined;
  for await (const line of linesOf(program.stdout, SAID_LIMIT)) {
    const { error, return: value } = parse(line);
    if (error) {
      said = (said + `${error.desc}\n`).slice(0, SAID_LIMIT);
      send("quit");
    } else if (value?.status === "completed" || value?.status === "failed") {
      loaded = value.status === "completed";
      if (!loaded && value["error-desc"]) said += `${value["error-desc"]}\n`;
      send("quit");
    } else if (value?.status !== undefined) polling = setTimeout(() => send("query-migrate"), POLL_MS);
  }
  clearTimeout(polling);
  await writer.close().catch(() => {});
  return { loaded, said };
}

interface Reply {
  readonly error?: { readonly desc: string };
  readonly return?: { readonly status?: string; readonly "error-desc"?: string };
}

function parse(line: string): Reply {
  try {
    return JSON.parse(line) as Reply;
  } catch {
    return {};
  }
}

/** Where QEVM stands in the file, and what has to be on. A file that is broken in front is given as it is. */
async function streamIn(path: string, start: number): Promise<{ offset: number; capabilities: readonly string[] }> {
  const there = path === "-" ? undefined : statSync(path, { throwIfNoEntry: false });
  if (path === "-" || path.includes(",") || (there && !there.isFile())) {
    throw new TransportError(`Cannot give '${path}' to QEMU: it has to be a file, without a comma in its name`);
  }
  try {
    await using image = await openImage(path, { offset: start });
    if (image.compressions.length > 0 || image.format === "qcow2") {
      throw new TransportError(`Cannot give '${path}' to QEMU: unpack it first (miglab convert)`);
    }
    return { offset: image.streamOffset, capabilities: image.stream.capabilities };
  } catch (error) {
    if (error instanceof StreamError) return { offset: start, capabilities: [] };
    throw error;
  }
}
