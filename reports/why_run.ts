/**
 * Let a QEMU load a file, stopped, and give back what it says: for `why --qemu BINARY -- ARGS`.
 *
 *     BINARY ARGS -S -display none -monitor none -serial none -qmp stdio -incoming defer
 *     capabilities of the file's configuration, then migrate-incoming file:PATH,offset=N
 *
 * The process ends with the load, or when the time is over.
 * @module
 */
import { spawn } from "node:child_process";
import { realpathSync } from "node:fs";
import { createInterface } from "node:readline";
import { openImage } from "../containers/image.ts";
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
  const child = spawn(program, [...options.args, ...own], { stdio: ["pipe", "pipe", "pipe"] });
  let said = "";
  child.stderr.on("data", (text) => said = (said + text).slice(0, SAID_LIMIT));
  child.stdin.on("error", () => {}); // it has ended: its exit says so
  const ended = new Promise<Error | undefined>((resolve) => {
    child.on("error", resolve);
    child.on("close", () => resolve(undefined));
  });
  const timeoutMs = options.timeoutMs ?? 60_000;
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill("SIGKILL");
  }, timeoutMs);
  const send = (execute: string, args?: object) =>
    child.stdin.write(JSON.stringify({ execute, ...(args ? { arguments: args } : {}) }) + "\n");
  send("qmp_capabilities");
  if (capabilities.length > 0) {
    send("migrate-set-capabilities", {
      capabilities: capabilities.map((capability) => ({ capability, state: true })),
    });
  }
  send("migrate-incoming", { uri });
  send("query-migrate");
  let loaded = false;
  let polling: ReturnType<typeof setTimeout> | undefined;
  const replies = createInterface({ input: child.stdout });
  replies.on("line", (line) => {
    const { error, return: value } = parse(line);
    if (error) {
      said += `${error.desc}\n`;
      send("quit");
    } else if (value?.status === "completed" || value?.status === "failed") {
      loaded = value.status === "completed";
      if (!loaded && value["error-desc"]) said += `${value["error-desc"]}\n`;
      send("quit");
    } else if (value?.status !== undefined) polling = setTimeout(() => send("query-migrate"), POLL_MS);
  });
  const failure = await ended;
  clearTimeout(timer);
  clearTimeout(polling);
  replies.close();
  if (failure) {
    const missing = (failure as NodeJS.ErrnoException).code === "ENOENT";
    throw new TransportError(`Cannot run '${program}': ${missing ? "No such file or directory" : failure.message}`);
  }
  if (late) said += `no end after ${timeoutMs / 1000} s\n`;
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
  if (path === "-" || path.includes(",")) {
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
